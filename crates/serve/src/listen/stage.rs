//! The stages of a connection. The stream, the bodies and the service report them; the watchdog compares them with the
//! limits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// The time that a client has to send one more request after the server has begun to end. It is for requests that are
/// on their way.
const LAST_REQUEST: Duration = Duration::from_millis(500);
/// The longest time in which the rest of a refused request is read.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for the first byte of a request.
    Waiting,
    /// The head of a request arrives.
    Head,
    /// The body of a request arrives.
    Body,
    /// The whole request is here, and its answer is being made.
    Working,
    /// The answer is being sent.
    Answering,
    /// The answer was sent before the whole request was here. The rest is read, since otherwise the system would reset
    /// the connection and the client might lose the answer.
    Lingering,
}

/// A connection's stage.
pub(super) struct Watched {
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    /// The start of the stage. For `Body` it is the start of the request.
    since: Instant,
    /// Whether a request was answered before.
    has_served: bool,
    /// Whether the body of the last request may have unread bytes.
    is_body_open: bool,
    /// Whether the whole answer was handed over.
    is_answer_given: bool,
    /// Whether the request takes too long to arrive.
    is_late: bool,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                stage: Stage::Waiting,
                since: Instant::now(),
                has_served: false,
                is_body_open: false,
                is_answer_given: false,
                is_late: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stage(&self) -> Stage {
        self.state().stage
    }

    /// Bytes have arrived.
    pub(super) fn bytes(&self) {
        let mut state = self.state();
        if state.stage == Stage::Waiting {
            state.enter(Stage::Head);
            state.is_body_open = false;
        }
    }

    /// The head of a request is complete.
    pub(super) fn request(&self, has_body: bool) {
        let mut state = self.state();
        // The request may have arrived with the one before.
        if state.stage != Stage::Head {
            state.since = Instant::now();
        }
        state.stage = match has_body {
            true => Stage::Body,
            false => Stage::Working,
        };
        state.is_body_open = has_body;
        state.is_answer_given = false;
        state.is_late = false;
    }

    /// The body of the request is complete.
    pub(super) fn received(&self) {
        let mut state = self.state();
        state.is_body_open = false;
        if state.stage == Stage::Body {
            state.enter(Stage::Working);
        }
    }

    /// The request takes too long to arrive.
    pub(super) fn late(&self) {
        self.state().is_late = true;
    }

    pub(super) fn is_late(&self) -> bool {
        self.state().is_late
    }

    /// There is an answer.
    pub(super) fn answer(&self) {
        self.state().enter(Stage::Answering);
    }

    /// The whole answer was handed over.
    pub(super) fn answer_given(&self) {
        self.state().is_answer_given = true;
    }

    /// All bytes that were handed over were sent.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        if state.stage == Stage::Answering && state.is_answer_given {
            state.has_served = true;
            state.enter(Stage::Waiting);
        }
    }

    /// The connection will send nothing more. Returns whether unread bytes of a request may still arrive.
    pub(super) fn finished(&self) -> bool {
        let mut state = self.state();
        let is_unread = state.is_body_open || state.stage == Stage::Head;
        if is_unread {
            state.enter(Stage::Lingering);
        }
        is_unread
    }

    /// The end of the time for this stage. `ending` is the time when the server began to end.
    pub(super) fn deadline(&self, limits: &Limits, ending: Option<Instant>) -> Option<Instant> {
        let state = self.state();
        let limit = match state.stage {
            Stage::Waiting if state.has_served => limits.idle_timeout,
            Stage::Waiting | Stage::Head => limits.head_timeout,
            Stage::Body => limits.receive_timeout,
            Stage::Working => return None,
            Stage::Answering => limits.answer_timeout,
            Stage::Lingering => LINGER,
        };
        let deadline = state.since + limit;
        Some(match ending {
            Some(ending) if state.stage == Stage::Waiting => {
                deadline.min(ending.max(state.since) + LAST_REQUEST)
            }
            _ => deadline,
        })
    }

    /// The rank of this connection among those that may be closed for a new one: connections without a request first,
    /// then requests whose bytes take long to arrive; each the longest first. `None` while it is at work.
    pub(super) fn idleness(&self, now: Instant) -> Option<(Idle, Duration)> {
        let state = self.state();
        let time = now.duration_since(state.since);
        let idle = match state.stage {
            Stage::Waiting if state.has_served => Idle::Waiting,
            Stage::Waiting if time >= SILENT => Idle::Silent,
            Stage::Head | Stage::Body if time >= SLOW => Idle::Slow,
            Stage::Lingering => Idle::Waiting,
            Stage::Waiting | Stage::Head | Stage::Body | Stage::Working | Stage::Answering => {
                return None;
            }
        };
        Some((idle, time))
    }

    /// Whether a request would be lost if the connection ended now.
    pub(super) fn is_busy(&self) -> bool {
        let busy = [Stage::Head, Stage::Body, Stage::Working, Stage::Answering];
        busy.contains(&self.stage())
    }
}

/// A new connection has this long to send something before it gives way to others, as the first of all.
const SILENT: Duration = Duration::from_millis(250);
/// A request that takes this long to arrive gives way last.
const SLOW: Duration = Duration::from_secs(5);

/// How little is lost if a connection is closed. The greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Idle {
    /// A request arrives slowly.
    Slow,
    /// No request.
    Waiting,
    /// There never was a request.
    Silent,
}

impl State {
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
    }
}
