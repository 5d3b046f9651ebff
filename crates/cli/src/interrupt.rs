//! Handling of Ctrl-C, and of the signals to terminate and to hang up. During training the first one ends the run after
//! the current step, and the state is saved. Before and after training nothing must be saved, so the process ends at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::terminal::Terminal;
use crate::tui;

/// Two flags shared by the signal handler's thread and the run.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    training: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C and for the signals to terminate and to hang up.
    pub(crate) fn listen(terminal: &Terminal) -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let (handler, terminal) = (interrupt.clone(), terminal.clone());
        ctrlc::set_handler(move || {
            handler.signal(&terminal);
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// Handles a signal, or a key that means the same: requests a stop, or ends the process.
    pub(crate) fn signal(&self, terminal: &Terminal) {
        if self.ends_at_once() {
            tui::restore();
            std::process::exit(130);
        }
        terminal.line("stopping after this step; once more to stop at once");
    }

    /// Runs the training, which checks the flag between batches.
    pub(crate) fn during<T>(&self, training: impl FnOnce(&AtomicBool) -> T) -> T {
        self.training.store(true, Ordering::SeqCst);
        let result = training(&self.asked);
        self.training.store(false, Ordering::SeqCst);
        result
    }

    /// Whether a stop was requested, even if training ended before it noticed.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Handles a signal. The first one during training requests a stop; any other ends the process.
    fn ends_at_once(&self) -> bool {
        self.asked.swap(true, Ordering::SeqCst) || !self.training.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_signal_in_training_is_a_request() {
        let interrupt = Interrupt::default();
        interrupt.during(|asked| {
            assert!(!interrupt.ends_at_once());
            assert!(asked.load(Ordering::SeqCst) && interrupt.was_asked());
            assert!(interrupt.ends_at_once());
        });
        // Outside of training: while fetching, unpacking, and evaluating on the test split.
        let interrupt = Interrupt::default();
        interrupt.during(|_| ());
        assert!(!interrupt.was_asked());
        assert!(interrupt.ends_at_once());
    }
}
