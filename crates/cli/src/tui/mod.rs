//! The full-screen view of a run (`--tui`).
//!
//! A thread of its own draws on stderr, at most ten times a second, and reads the keys. The run sends it events through a
//! channel and never waits for it.

mod draw;
mod guard;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use trainer::{Event, EventSink};

use crate::interrupt::Interrupt;
use crate::terminal::Terminal;
use guard::Guard;
pub(crate) use guard::restore;
use view::View;

/// The pause between two pictures.
const PAUSE: Duration = Duration::from_millis(100);

/// The error of `--tui` without a terminal.
#[derive(Debug)]
pub(crate) struct NoTerminal;

impl std::fmt::Display for NoTerminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "--tui draws on the terminal of stderr, but stderr is not a terminal; leave --tui out, or use --json-log",
        )
    }
}

impl std::error::Error for NoTerminal {}

enum Message {
    Event(Box<Event>),
    Line(String),
}

/// A full-screen view while it is shown. Dropped, it gives the terminal back and prints the lines that it has shown.
pub(crate) struct Tui<'a> {
    terminal: &'a Terminal,
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<Vec<String>>>,
    save: Arc<AtomicBool>,
}

impl<'a> Tui<'a> {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be switched to its full-screen mode.
    pub(crate) fn start(
        terminal: &'a Terminal,
        interrupt: &Interrupt,
        can_save: bool,
    ) -> anyhow::Result<Self> {
        let guard = Guard::take()?;
        let (sender, receiver) = channel();
        let save = Arc::new(AtomicBool::new(false));
        let keys = Keys {
            interrupt: interrupt.clone(),
            terminal: terminal.clone(),
            save: can_save.then(|| Arc::clone(&save)),
        };
        let lines = sender.clone();
        terminal.send_lines_to(Some(Box::new(move |line| {
            // After the end of the view nobody receives.
            let _ = lines.send(Message::Line(line));
        })));
        let thread = std::thread::Builder::new().name("screen".to_owned());
        let thread = thread.spawn(move || show(guard, &receiver, &keys))?;
        Ok(Self {
            terminal,
            sender: Some(sender),
            thread: Some(thread),
            save,
        })
    }
}

impl EventSink for Tui<'_> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        if let Some(sender) = &self.sender {
            // A view that has ended, because its terminal was closed, does not end the run.
            let _ = sender.send(Message::Event(Box::new(event.clone())));
        }
        Ok(())
    }

    fn takes_save_request(&mut self) -> bool {
        self.save.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Tui<'_> {
    fn drop(&mut self) {
        // Both senders must go, so that the thread ends.
        self.terminal.send_lines_to(None);
        self.sender = None;
        let lines = self.thread.take().map(JoinHandle::join);
        restore();
        for line in lines.and_then(Result::ok).unwrap_or_default() {
            self.terminal.line(&line);
        }
    }
}

/// What the keys do.
struct Keys {
    interrupt: Interrupt,
    terminal: Terminal,
    /// The request for a save; `None` if the run saves no states.
    save: Option<Arc<AtomicBool>>,
}

impl Keys {
    fn press(&self, code: KeyCode, modifiers: KeyModifiers, view: &mut View) {
        let is_control = modifiers.contains(KeyModifiers::CONTROL);
        match code {
            KeyCode::Char('c') if is_control => self.stop(view),
            KeyCode::Char('q') => self.stop(view),
            KeyCode::Char('s') => match &self.save {
                Some(save) => {
                    save.store(true, Ordering::Relaxed);
                    view.line("the state is saved after this step".to_owned());
                }
                None => view
                    .line("no state can be saved, because train.save_every is \"none\"".to_owned()),
            },
            KeyCode::Char('?' | 'h') => view.shows_help = !view.shows_help,
            KeyCode::Esc => view.shows_help = false,
            _ => {}
        }
    }

    fn stop(&self, view: &mut View) {
        view.is_stopping = true;
        self.interrupt.signal(&self.terminal);
    }
}

/// Shows the run until its end. Returns the lines that were shown.
fn show(mut guard: Guard, receiver: &Receiver<Message>, keys: &Keys) -> Vec<String> {
    let mut view = View::new();
    let start = Instant::now();
    loop {
        let is_open = receive(receiver, &mut view, start);
        while let Ok(true) = event::poll(Duration::ZERO) {
            if let Ok(Input::Key(key)) = event::read()
                && key.kind == KeyEventKind::Press
            {
                keys.press(key.code, key.modifiers, &mut view);
            }
        }
        let now = start.elapsed().as_secs_f64();
        view.measure_memory();
        guard.draw(|frame| draw::draw(frame, &view, now));
        if !is_open {
            return view.into_lines();
        }
    }
}

/// Receives messages until it is time to draw. False after the last one.
fn receive(receiver: &Receiver<Message>, view: &mut View, start: Instant) -> bool {
    let until = Instant::now() + PAUSE;
    loop {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(event)) => view.handle(&event, start.elapsed().as_secs_f64()),
            Ok(Message::Line(line)) => view.line(line),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}
