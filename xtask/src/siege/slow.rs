//! Clients that send or read slowly.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::status;
use super::target::{Answers, Target};

type Attack = (&'static str, fn(&Target) -> Result<Answers>);

pub(super) const ATTACKS: [Attack; 3] = [
    ("200 heads that arrive byte by byte", loris),
    ("20 bodies that arrive byte by byte", trickle),
    ("20 clients that read no answer", deaf),
];

/// The pause between two bytes.
const TICK: Duration = Duration::from_millis(500);
/// How much later than its limit a connection may be closed: the tick, the rest of a refused request that the server
/// still reads, and busy processors.
const TOLERANCE: Duration = Duration::from_secs(7);

/// A slow connection.
struct Slow {
    stream: TcpStream,
    received: Vec<u8>,
    ended: Option<Duration>,
}

/// Slow-loris: heads that never end. The limit is 10 seconds.
fn loris(target: &Target) -> Result<Answers> {
    let head = b"GET / HTTP/1.1\r\nhost: localhost\r\n";
    let bytes = |tick: usize| {
        let trickle = b"x: y\r\n";
        trickle[tick % trickle.len()..][..1].to_vec()
    };
    torment(target, 200, head, bytes, Duration::from_secs(10), true)
}

/// A body that takes too long. The limit is 30 seconds.
fn trickle(target: &Target) -> Result<Answers> {
    let head = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n";
    torment(target, 20, head, |_| vec![0], Duration::from_secs(30), true)
}

/// Requests without end, and nobody who reads the answers. The limit is 30 seconds for an answer.
fn deaf(target: &Target) -> Result<Answers> {
    let many = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(5000);
    torment(
        target,
        20,
        b"",
        |_| many.clone(),
        Duration::from_secs(30),
        false,
    )
}

/// Opens connections and sends each some bytes a tick, until the server has closed all of them.
fn torment(
    target: &Target,
    count: usize,
    head: &[u8],
    bytes: impl Fn(usize) -> Vec<u8>,
    limit: Duration,
    reads: bool,
) -> Result<Answers> {
    let start = Instant::now();
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = target.connect()?;
        stream.write_all(head)?;
        stream.set_nonblocking(true)?;
        all.push(Slow {
            stream,
            received: Vec::new(),
            ended: None,
        });
    }
    let mut tick = 0;
    while all.iter().any(|slow| slow.ended.is_none()) && start.elapsed() < limit + 2 * TOLERANCE {
        sleep(TICK);
        let bytes = bytes(tick);
        tick += 1;
        for slow in all.iter_mut().filter(|slow| slow.ended.is_none()) {
            if slow.step(&bytes, reads) {
                slow.ended = Some(start.elapsed());
            }
        }
    }
    let mut answers = Answers::default();
    for slow in all {
        match (slow.ended, status(&slow.received)) {
            (Some(time), Some(408)) if reads && time <= limit + TOLERANCE => answers.count("408"),
            (Some(time), _) if !reads && time <= limit + TOLERANCE => answers.count("closed"),
            (time, status) => {
                answers.count("wrong");
                answers
                    .failures
                    .push(format!("ended after {time:?} with status {status:?}"));
            }
        }
    }
    Ok(answers)
}

impl Slow {
    /// Sends and reads a little. Returns whether the connection has ended.
    fn step(&mut self, bytes: &[u8], reads: bool) -> bool {
        let is_over = |error: &std::io::Error| error.kind() != ErrorKind::WouldBlock;
        let ended = self.stream.write(bytes).is_err_and(|error| is_over(&error));
        let mut space = [0; 1024];
        // A deaf client leaves its answers where they are.
        if !reads {
            return ended;
        }
        loop {
            match self.stream.read(&mut space) {
                Ok(0) => return true,
                Ok(read) => self.received.extend_from_slice(&space[..read]),
                Err(error) => return ended || is_over(&error),
            }
        }
    }
}
