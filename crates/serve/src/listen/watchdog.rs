//! The timer of a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::stage::{Stage, Watched};

/// Finds out that a stage takes too long.
pub(super) struct Watchdog<'c> {
    watched: &'c Watched,
    limits: &'c Limits,
    /// Set to the earliest deadline. If a stage ends in time, its timer is not set anew: this would cost more than the
    /// rare timer that finds no late stage.
    timer: Pin<Box<Sleep>>,
}

impl<'c> Watchdog<'c> {
    pub(super) fn new(watched: &'c Watched, limits: &'c Limits) -> Self {
        Self {
            watched,
            limits,
            timer: Box::pin(sleep_until(Instant::now() + limits.head_timeout)),
        }
    }

    /// The stage that takes too long.
    pub(super) fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        ending: Option<Instant>,
    ) -> Poll<Stage> {
        loop {
            let deadline = self.watched.deadline(self.limits, ending);
            let timer = self.timer.as_mut();
            match deadline {
                Some(deadline) if deadline < timer.deadline() => timer.reset(deadline),
                _ => {}
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match deadline {
                Some(deadline) if deadline <= now => return Poll::Ready(self.watched.stage()),
                Some(deadline) => self.timer.as_mut().reset(deadline),
                None => self.timer.as_mut().reset(now + self.limits.receive_timeout),
            }
        }
    }
}
