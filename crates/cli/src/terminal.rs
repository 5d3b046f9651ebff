//! Progress output on stderr: bars on a terminal, plain lines in a pipe or a file.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mnist_data::{Progress, Unit};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::escape::{escaped, escaped_except};
use crate::screen::Screen;

/// How often bars are drawn per second.
const REFRESH_RATE: u8 = 20;

/// Receives the lines instead of stderr.
type LineReceiver = Box<dyn Fn(String) + Send>;

/// The output to stderr.
#[derive(Clone)]
pub(crate) struct Terminal {
    /// The progress bars; they draw only if stderr is a terminal.
    bars: MultiProgress,
    pub(crate) is_terminal: bool,
    /// The full-screen view, while there is one.
    receiver: Arc<Mutex<Option<LineReceiver>>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let target = match is_terminal {
            true => ProgressDrawTarget::term_like_with_hz(Box::new(Screen::stderr()), REFRESH_RATE),
            false => ProgressDrawTarget::hidden(),
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            is_terminal,
            receiver: Arc::default(),
        }
    }

    /// Sends the libraries' log lines to stderr, above the progress bars.
    pub(crate) fn install_logs(&self, verbose: u8) {
        let level = match verbose {
            0 => Level::INFO,
            1 => Level::DEBUG,
            _ => Level::TRACE,
        };
        let default = Targets::new().with_default(level);
        let (filter, problem) = match std::env::var("RUST_LOG") {
            Ok(text) if !text.is_empty() => match text.parse() {
                Ok(filter) => (filter, None),
                Err(error) => (
                    default,
                    Some(format!("RUST_LOG={text:?} is ignored: {error}")),
                ),
            },
            _ => (default, None),
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(self.is_terminal && std::env::var_os("NO_COLOR").is_none())
            .without_time()
            .with_target(false)
            .with_writer(self.clone());
        tracing_subscriber::registry()
            .with(lines)
            .with(filter)
            .init();
        if let Some(problem) = problem {
            tracing::warn!("{problem}");
        }
    }

    /// Prints a line to stderr.
    pub(crate) fn line(&self, text: &str) {
        let text = escaped_except(text, |c| c == '\n');
        if self.send(&text) {
            return;
        }
        // If stderr is closed, the line is lost, which is no error.
        let _ = self.bars.suspend(|| writeln!(io::stderr(), "{text}"));
    }

    /// Sends all further lines to a receiver, or to stderr again. Progress bars are not shown meanwhile.
    pub(crate) fn send_lines_to(&self, receiver: Option<LineReceiver>) {
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = receiver;
    }

    /// Whether bars can be drawn: on a terminal without a full-screen view.
    pub(crate) fn has_bars(&self) -> bool {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_terminal && receiver.is_none()
    }

    /// Sends a line to the receiver; false if there is none.
    fn send(&self, line: &str) -> bool {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        match &*receiver {
            Some(receiver) => {
                receiver(line.to_owned());
                true
            }
            None => false,
        }
    }

    /// Prints an error with its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.line(&format!("error: {error:#}"));
    }

    pub(crate) fn bar(&self, total: Option<u64>, unit: Unit) -> ProgressBar {
        let template = match (total, unit) {
            (Some(_), Unit::Bytes) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}",
            (Some(_), Unit::Items) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
            (None, Unit::Bytes) => "{msg} {spinner} {bytes}",
            (None, Unit::Items) => "{msg} {spinner} {human_pos}",
        };
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        self.bars.add(bar)
    }
}

impl Terminal {
    /// The length of the bar of a whole run.
    pub(crate) const RUN_BAR: u64 = 1000;

    /// A bar for the share of a whole run; its message has speed and remaining time.
    pub(crate) fn run_bar(&self) -> ProgressBar {
        let bar = ProgressBar::new(Self::RUN_BAR);
        if let Ok(style) = ProgressStyle::with_template("run {wide_bar} {percent} % {msg}") {
            bar.set_style(style);
        }
        self.bars.add(bar)
    }
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter(self.clone())
    }
}

/// Writes log lines above the bars.
pub(crate) struct LogWriter(Terminal);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        // Escape characters here are only the subscriber's own colours: it has escaped those in messages.
        let line = escaped_except(&line, |c| matches!(c, '\n' | '\x1b'));
        // If stderr is closed, the line is lost, which is no error. The subscriber would report one on stderr, and panic.
        if self.0.send(&console::strip_ansi_codes(&line)) {
            return Ok(bytes.len());
        }
        let write = || io::stderr().write_all(line.as_bytes());
        let _ = self.0.bars.suspend(write);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows one operation at a time: fetching, unpacking or evaluating.
pub(crate) struct Work<'a> {
    terminal: &'a Terminal,
    bar: Mutex<Option<ProgressBar>>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            bar: Mutex::new(None),
        }
    }

    fn with_bar<T>(&self, f: impl FnOnce(&mut Option<ProgressBar>) -> T) -> T {
        f(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Work<'_> {
    fn start(&self, what: &str, total: Option<u64>, unit: Unit) {
        if !self.terminal.is_terminal {
            let size = match (total, unit) {
                (Some(total), Unit::Items) => format!(" ({total})"),
                (Some(total), Unit::Bytes) => format!(" ({total} bytes)"),
                (None, _) => String::new(),
            };
            self.terminal.line(&format!("{what}{size}"));
            return;
        }
        let what = escaped(what).into_owned();
        let bar = self.terminal.bar(total, unit).with_message(what);
        self.with_bar(|slot| *slot = Some(bar));
    }

    fn advance(&self, by: u64) {
        self.with_bar(|slot| {
            if let Some(bar) = slot {
                bar.inc(by);
            }
        });
    }

    fn note(&self, message: &str) {
        self.terminal.line(message);
    }

    fn finish(&self) {
        if let Some(bar) = self.with_bar(Option::take) {
            bar.finish_and_clear();
        }
    }
}
