//! Takes the terminal, and gives it back on every way out.

use std::io::{self, BufWriter, IsTerminal, Stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

use super::NoTerminal;

/// Whether the terminal is taken. The handlers of signals and panics read it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, if it is taken. Also called before the process ends in a signal, and on a panic.
pub(crate) fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A closed terminal needs nothing back.
        let _ = disable_raw_mode();
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    }
}

/// A terminal in full-screen mode.
pub(super) struct Guard(Terminal<CrosstermBackend<BufWriter<Stderr>>>);

impl Guard {
    /// Switches the terminal of stderr to its other screen, and its keyboard to single keys.
    pub(super) fn take() -> anyhow::Result<Self> {
        if !io::stderr().is_terminal() {
            return Err(NoTerminal.into());
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let problem = "cannot use the terminal for --tui";
        enable_raw_mode().context(problem)?;
        TAKEN.store(true, Ordering::SeqCst);
        let entered = execute!(io::stderr(), EnterAlternateScreen);
        let backend = CrosstermBackend::new(BufWriter::new(io::stderr()));
        let terminal = entered.and_then(|()| Terminal::new(backend));
        let terminal = terminal.context(problem).inspect_err(|_| restore())?;
        Ok(Self(terminal))
    }

    /// Draws, unless the terminal was given back.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame)) {
        if TAKEN.load(Ordering::SeqCst) {
            // A closed terminal shows nothing, which is no error.
            let _ = self.0.draw(draw);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}
