//! The attacked server, and an honest client that uses it all the time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::client::{PATIENCE, Reply, exchange, request};
use super::{MEMORY, picture};
use crate::server::Server;

/// The name of the model.
pub(super) const MODEL: &str = "digits";
/// The pause between honest requests.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest time of an honest request during an attack.
const ACCEPTABLE: Duration = Duration::from_secs(5);

pub(super) struct Target {
    server: Server,
    log: PathBuf,
    /// The number of connections, for the next one's address.
    connections: AtomicUsize,
    /// An honest request, and its one answer.
    honest: Vec<u8>,
}

impl Target {
    /// Starts a server that may open `files` files.
    pub(super) fn start(program: &Path, weights: &Path, dir: &Path, files: usize) -> Result<Self> {
        let log = dir.join("server.log");
        let errors =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        // Every address of this machine, since a pair of addresses has only 28,000 connections a minute.
        command
            .arg(program)
            .args(["serve", "--host", "0.0.0.0", "--port", "0"]);
        let weights = format!("{MODEL}={}", weights.display());
        command.args(["--weights", &weights]).stderr(errors);
        Ok(Self {
            server: Server::start(command)?,
            log,
            connections: AtomicUsize::new(0),
            honest: request("POST", "/v1/predict", "", &picture::digit()),
        })
    }

    /// A new connection, to the next of many addresses.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) % 250;
        let last = u8::try_from(number + 1).unwrap_or(1);
        let address =
            SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), self.server.address.port()));
        TcpStream::connect_timeout(&address, PATIENCE)
    }

    /// Sends bytes on a new connection and reads everything.
    pub(super) fn exchange(&self, bytes: &[u8]) -> io::Result<Reply> {
        exchange(self.connect()?, bytes)
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Runs an attack, with honest requests meanwhile and one afterwards.
    pub(super) fn attacked(
        &self,
        name: &'static str,
        attack: impl FnOnce() -> Result<Answers>,
    ) -> Result<Report> {
        let is_over = AtomicBool::new(false);
        let (answers, mut honest) = std::thread::scope(|scope| {
            let honest = scope.spawn(|| {
                let mut honest = Honest::default();
                while !is_over.load(Ordering::Relaxed) {
                    honest.ask(self);
                    sleep(PAUSE);
                }
                honest
            });
            let answers = attack();
            is_over.store(true, Ordering::Relaxed);
            (answers, honest.join())
        });
        let answers = answers.with_context(|| format!("the attack {name:?} failed"))?;
        if let Ok(honest) = &mut honest {
            honest.ask(self);
        }
        let honest = honest.map_err(|_| anyhow::anyhow!("the honest client panicked"))?;
        let peak = self.server.memory()?.peak;
        Ok(Report {
            name,
            answers,
            honest,
            peak,
        })
    }

    /// Ends the server, which must have had no panic.
    pub(super) fn end(self) -> Result<()> {
        self.server.signal("TERM")?;
        self.ended()
    }

    /// Waits for the end of the server, which has got a signal.
    pub(super) fn ended(self) -> Result<()> {
        self.server.ended()?;
        let log = fs::read_to_string(&self.log)?;
        ensure!(!log.contains("panicked"), "the server panicked:\n{log}");
        Ok(())
    }
}

/// The answers to an attack, counted by status.
#[derive(Debug, Default)]
pub(super) struct Answers {
    counts: BTreeMap<String, usize>,
    pub(super) failures: Vec<String>,
}

impl Answers {
    pub(super) fn count(&mut self, answer: impl Into<String>) {
        *self.counts.entry(answer.into()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (answer, count) in other.counts {
            *self.counts.entry(answer).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    /// Counts a reply, which must have one of these statuses.
    pub(super) fn expect(&mut self, what: &str, reply: &Reply, expected: &[u16]) {
        self.count(reply.outcome());
        if !reply
            .status()
            .is_some_and(|status| expected.contains(&status))
        {
            let text: String = reply.text().chars().take(300).collect();
            self.failures.push(format!(
                "{what}: {} after {:?}, expected one of {expected:?}: {text:?}",
                reply.outcome(),
                reply.time
            ));
        }
    }
}

/// Requests of a client that has nothing to do with an attack.
#[derive(Debug, Default)]
struct Honest {
    answered: usize,
    /// Answers with status 503.
    refused: usize,
    slowest: Duration,
    failures: Vec<String>,
}

impl Honest {
    fn ask(&mut self, target: &Target) {
        let start = Instant::now();
        match target.exchange(&target.honest) {
            Ok(reply) if reply.status() == Some(200) => self.answered += 1,
            Ok(reply) if reply.status() == Some(503) => self.refused += 1,
            Ok(reply) => self
                .failures
                .push(format!("an honest request: {}", reply.outcome())),
            Err(error) => self.failures.push(format!("an honest request: {error}")),
        }
        self.slowest = self.slowest.max(start.elapsed());
    }
}

/// The result of an attack.
pub(super) struct Report {
    name: &'static str,
    answers: Answers,
    honest: Honest,
    /// The highest resident memory until now, in megabytes.
    peak: f64,
}

impl Report {
    /// A report without honest requests.
    pub(super) fn of(name: &'static str, answers: Answers, peak: f64) -> Self {
        Self {
            name,
            answers,
            honest: Honest::default(),
            peak,
        }
    }

    pub(super) fn row(&self) -> String {
        let answers = self.answers.counts.iter();
        let answers: Vec<String> = answers
            .map(|(answer, count)| format!("{count} × {answer}"))
            .collect();
        let honest = match (self.honest.answered, self.honest.refused) {
            (0, 0) => String::new(),
            (answered, 0) => format!("{answered} × 200"),
            (answered, refused) => format!("{answered} × 200, {refused} × 503"),
        };
        format!(
            "| {} | {} | {honest} | {:.0} ms | {:.0} MB |\n",
            self.name,
            answers.join(", "),
            1e3 * self.honest.slowest.as_secs_f64(),
            self.peak
        )
    }

    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = self.honest.failures.clone();
        failures.extend(self.answers.failures.iter().cloned());
        if self.honest.slowest > ACCEPTABLE {
            failures.push(format!("an honest request took {:?}", self.honest.slowest));
        }
        if self.honest.answered == 0 && self.honest.refused > 0 {
            failures.push("no honest request was answered".to_owned());
        }
        if self.peak > MEMORY {
            failures.push(format!(
                "{:.0} MB of memory, at most {MEMORY} expected",
                self.peak
            ));
        }
        let name = |failure| format!("{}: {failure}", self.name);
        failures.truncate(10);
        failures.into_iter().map(name).collect()
    }
}
