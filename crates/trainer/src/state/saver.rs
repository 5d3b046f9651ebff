//! Saves states in the background, often enough and not too often.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::StateFolder;
use super::writing::Unwritten;
use crate::config::SaveEvery;

/// Saving takes at most one in this many parts of the time.
const BUDGET: u32 = 100;
/// The speed of a first save, in bytes per second, until it is measured.
const SPEED: f64 = 5e8;

/// A moment at which the state can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Border {
    /// After an optimizer step.
    Step,
    /// After an epoch.
    Epoch,
}

/// Decides when to save, and writes one state at a time on another thread.
pub(crate) struct Saver {
    every: SaveEvery,
    /// The end of the last save, or the start of the run.
    last: Instant,
    /// The optimizer steps since the last save began.
    steps: u64,
    /// The processor time of a save.
    cost: Duration,
    path: PathBuf,
    /// The folder and memory for the next state; `None` while they are on the other thread.
    tools: Option<Tools>,
    writing: Option<JoinHandle<Written>>,
}

struct Tools {
    folder: StateFolder,
    spare: Vec<u8>,
}

struct Written {
    tools: Tools,
    outcome: io::Result<Duration>,
}

impl Saver {
    /// `bytes` is the approximate size of a state.
    pub(crate) fn new(every: SaveEvery, folder: StateFolder, bytes: usize) -> Self {
        Self {
            every,
            last: Instant::now(),
            steps: 0,
            cost: Duration::from_secs_f64(bytes as f64 / SPEED),
            path: folder.path().to_owned(),
            tools: Some(Tools {
                folder,
                spare: Vec::new(),
            }),
            writing: None,
        }
    }

    /// Whether states are saved at all.
    pub(crate) fn is_on(&self) -> bool {
        self.every != SaveEvery::Never
    }

    /// The folder of the states.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Counts an optimizer step.
    pub(crate) fn stepped(&mut self) {
        self.steps += 1;
    }

    /// Whether a state should be saved now. Never while another one is being written.
    pub(crate) fn is_due(&self, border: Border) -> bool {
        let passed = self.last.elapsed();
        self.is_free() && is_due(self.every, border, self.steps, passed, self.cost)
    }

    /// Whether no state is being written.
    pub(crate) fn is_free(&self) -> bool {
        self.writing.is_none()
    }

    /// Memory for the copy of a state.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        let tools = self.tools.as_mut();
        tools.map_or_else(Vec::new, |tools| std::mem::take(&mut tools.spare))
    }

    /// Writes a state on another thread. `copied` is the time that the copy took. The outcome comes from
    /// [`poll`](Self::poll) or [`wait`](Self::wait). No other state may be on its way.
    pub(crate) fn start(&mut self, mut state: Unwritten, copied: Duration) {
        let mut tools = self.tools.take().unwrap_or_else(|| Tools {
            folder: StateFolder::new(self.path.clone()),
            spare: Vec::new(),
        });
        self.steps = 0;
        let work = move || {
            let outcome = tools.folder.write(&mut state).map(|busy| busy + copied);
            tools.spare = state.into_spare();
            Written { tools, outcome }
        };
        let thread = thread::Builder::new().name("state".to_owned()).spawn(work);
        self.writing = thread.ok();
        // If no thread could be started, the next save point tries again.
        self.last = Instant::now();
    }

    /// The outcome of a save on the other thread, once it is over.
    pub(crate) fn poll(&mut self) -> Option<io::Result<()>> {
        match &self.writing {
            Some(thread) if thread.is_finished() => self.wait(),
            _ => None,
        }
    }

    /// Waits for the save on the other thread, and returns its outcome.
    pub(crate) fn wait(&mut self) -> Option<io::Result<()>> {
        let written = self.writing.take()?.join();
        self.last = Instant::now();
        let written = written.map(|Written { tools, outcome }| {
            self.tools = Some(tools);
            outcome
        });
        let panicked = |_| Err(io::Error::other("the thread that saves the state panicked"));
        let outcome = written.unwrap_or_else(panicked);
        Some(outcome.map(|cost| self.cost = cost))
    }

    /// Writes a state and waits for it.
    pub(crate) fn save(&mut self, state: Unwritten) -> io::Result<()> {
        self.start(state, Duration::ZERO);
        let no_thread = || {
            Err(io::Error::other(
                "no thread could be started to save the state",
            ))
        };
        self.wait().unwrap_or_else(no_thread)
    }

    /// Removes all states but the newest, after the end of a run.
    pub(crate) fn keep_newest(&mut self) {
        if let Some(tools) = &mut self.tools {
            tools.folder.keep_newest();
        }
    }
}

fn is_due(every: SaveEvery, border: Border, steps: u64, passed: Duration, cost: Duration) -> bool {
    match (every, border) {
        (SaveEvery::Never, _) => false,
        (SaveEvery::Steps(_), Border::Epoch) => true,
        (SaveEvery::Steps(most), Border::Step) => steps >= most,
        (SaveEvery::Time(_), Border::Epoch) => passed >= BUDGET * cost,
        (SaveEvery::Time(most), Border::Step) => passed >= most && passed >= BUDGET * cost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_due_often_enough_and_not_too_often() {
        let seconds = Duration::from_secs;
        let due = |every: &str, border, steps, passed, cost| {
            is_due(every.parse().unwrap(), border, steps, passed, cost)
        };
        for (every, border, steps, passed, cost, expected) in [
            ("30s", Border::Step, 9, seconds(29), seconds(0), false),
            ("30s", Border::Step, 9, seconds(30), seconds(0), true),
            // A save of a second may happen every 100 seconds.
            ("30s", Border::Step, 9, seconds(99), seconds(1), false),
            ("30s", Border::Step, 9, seconds(100), seconds(1), true),
            ("30s", Border::Epoch, 9, seconds(99), seconds(1), false),
            ("30s", Border::Epoch, 9, seconds(1), seconds(0), true),
            ("3 steps", Border::Step, 2, seconds(9), seconds(0), false),
            ("3 steps", Border::Step, 3, seconds(0), seconds(9), true),
            ("3 steps", Border::Epoch, 0, seconds(0), seconds(9), true),
            ("none", Border::Epoch, 9, seconds(999), seconds(0), false),
            ("none", Border::Step, 9, seconds(999), seconds(0), false),
        ] {
            let found = due(every, border, steps, passed, cost);
            assert_eq!(
                found, expected,
                "{every} {border:?} {steps} {passed:?} {cost:?}"
            );
        }
    }
}
