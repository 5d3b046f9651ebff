//! Signals to a server under load.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::client::Open;
use super::picture;
use super::target::{Answers, Report, Target};
use crate::http::Answer;

pub(super) const TERM: &str = "SIGTERM under load";
pub(super) const HUP: &str = "SIGHUP under load";

const CLIENTS: usize = 16;
const ROUNDS: usize = 5;

/// How clients use their connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Again,
    Once,
}

/// Ends servers while clients send requests without pause. Every request that the server has accepted must be answered.
pub(super) fn ended_under_load(program: &Path, weights: &Path, dir: &Path) -> Result<Report> {
    let (mut answers, mut peak) = (Answers::default(), 0.0_f64);
    for _ in 0..ROUNDS {
        let target = Target::start(program, weights, dir, 1024)?;
        let found = under_load(&target, |_| {
            sleep(Duration::from_millis(500));
            peak = peak.max(target.server().memory()?.peak);
            target.server().signal("TERM")
        });
        answers.add(found?);
        target.ended()?;
    }
    Ok(Report::of(TERM, answers, peak))
}

/// Reloads the weights again and again while clients send requests.
pub(super) fn reloaded_under_load(target: &Target) -> Result<Report> {
    let answers = under_load(target, |over| {
        for _ in 0..20 {
            sleep(Duration::from_millis(100));
            target.server().signal("HUP")?;
        }
        sleep(Duration::from_millis(100));
        over.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    Ok(Report::of(HUP, answers, target.server().memory()?.peak))
}

/// Sends signals while clients send requests, until the server accepts none or the flag is set.
fn under_load(target: &Target, signal: impl FnOnce(&AtomicBool) -> Result<()>) -> Result<Answers> {
    let over = &AtomicBool::new(false);
    scope(|scope| {
        let client = |client| scope.spawn(move || load(target, usage(client), over));
        let threads: Vec<_> = (0..CLIENTS).map(client).collect();
        let signalled = signal(over);
        // After an error the clients must end too.
        over.fetch_or(signalled.is_err(), Ordering::Relaxed);
        let mut answers = Answers::default();
        for thread in threads {
            let found = thread.join().map_err(|_| anyhow!("a client panicked"))?;
            answers.add(found);
        }
        signalled?;
        Ok(answers)
    })
}

/// Every fourth client makes a connection for each request.
fn usage(client: usize) -> Use {
    match client % 4 {
        0 => Use::Once,
        _ => Use::Again,
    }
}

/// Sends requests until the server accepts no connections, or `over`.
fn load(target: &Target, usage: Use, over: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    let image = picture::digit();
    let head = format!(
        "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        image.len()
    );
    let request = [head.as_bytes(), &image].concat();
    let mut open: Option<Open> = None;
    while !over.load(Ordering::Relaxed) {
        let is_new = open.is_none();
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => match target.connect().and_then(Open::new) {
                Ok(connection) => connection,
                Err(error) => {
                    answers.count(format!("not accepted ({})", error.kind()));
                    if error.kind() != ErrorKind::ConnectionRefused {
                        answers.failures.push(format!("no connection: {error}"));
                    }
                    return answers;
                }
            },
        };
        if let Err(error) = connection.send(&request) {
            // The server has not got the whole request.
            answers.count(format!("not sent ({})", error.kind()));
            continue;
        }
        match connection.answer() {
            Ok(Answer {
                status: 200,
                closes,
                ..
            }) => {
                answers.count("200");
                open = (!closes && usage == Use::Again).then_some(connection);
            }
            Ok(Answer { status, .. }) => {
                answers.count(status.to_string());
                answers.failures.push(format!("status {status}"));
            }
            Err(error) if is_new && error.kind() == ErrorKind::ConnectionReset => {
                // The system had made the connection when the server stopped to accept.
                answers.count("not accepted (reset)");
            }
            Err(error) => {
                answers.count("lost");
                answers
                    .failures
                    .push(format!("a request was lost: {error}"));
            }
        }
    }
    answers
}
