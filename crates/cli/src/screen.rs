//! The terminal behind the progress bars.

use std::io;

use console::Term;
use indicatif::TermLike;

/// A terminal that may be closed at any time: what cannot be drawn is lost, which is no error. The bars' own target
/// would panic.
#[derive(Debug)]
pub(crate) struct Screen(Term);

impl Screen {
    /// The terminal of stderr.
    pub(crate) fn stderr() -> Self {
        Self(Term::stderr())
    }
}

/// Ignores an error of a closed terminal.
fn shown(_: io::Result<()>) -> io::Result<()> {
    Ok(())
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        shown(self.0.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        shown(self.0.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        shown(self.0.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        shown(self.0.move_cursor_left(n))
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        shown(self.0.write_line(s))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        shown(self.0.write_str(s))
    }

    fn clear_line(&self) -> io::Result<()> {
        shown(self.0.clear_line())
    }

    fn flush(&self) -> io::Result<()> {
        shown(self.0.flush())
    }
}
