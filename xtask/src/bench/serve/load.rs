//! A load generator: connections that each send a request, wait for its answer, and send the next.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http::{Answer, read_answer};

/// An answer that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(60);
/// Each connection needs little memory of its own.
const STACK: usize = 128 << 10;

/// Requests that are sent again and again.
pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    /// Each connection goes through all requests, each from another one on.
    pub(super) requests: &'a [Vec<u8>],
    pub(super) connections: usize,
    /// Time before the measurement.
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    /// The most requests of a connection.
    pub(super) limit: usize,
}

/// The answers to a load.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Times of the answers with status 200, in milliseconds, in ascending order.
    pub(super) times: Vec<f64>,
    /// Times of the answers with status 503.
    pub(super) refused: Vec<f64>,
    /// Answers with another status, and broken connections.
    pub(super) failures: Vec<String>,
    /// The measured time in seconds.
    pub(super) seconds: f64,
}

impl Load<'_> {
    /// Sends requests for the duration.
    pub(super) fn run(&self) -> Result<Answers> {
        ensure!(!self.requests.is_empty(), "there is no request to send");
        let parts = thread::scope(|scope| {
            let start = |first| {
                let client = move || self.client(first);
                let thread = thread::Builder::new().stack_size(STACK);
                thread.spawn_scoped(scope, client)
            };
            let threads: io::Result<Vec<_>> = (0..self.connections).map(start).collect();
            let threads = threads.context("cannot start a thread for each connection")?;
            let ended = threads.into_iter().map(|thread| thread.join());
            Ok::<_, anyhow::Error>(ended.flatten().collect::<Vec<_>>())
        })?;
        ensure!(parts.len() == self.connections, "a connection panicked");
        let mut all = Answers {
            seconds: self.duration.as_secs_f64(),
            ..Answers::default()
        };
        for part in parts {
            all.times.extend(part.times);
            all.refused.extend(part.refused);
            all.failures.extend(part.failures);
        }
        all.times.sort_by(f64::total_cmp);
        all.refused.sort_by(f64::total_cmp);
        Ok(all)
    }

    /// One connection. It is opened again if the server closes it.
    fn client(&self, first: usize) -> Answers {
        let mut answers = Answers::default();
        let mut connection = None;
        let from = Instant::now() + self.warm_up;
        let until = from + self.duration;
        let start = first % self.requests.len();
        let requests = self.requests.iter().cycle().skip(start);
        for request in requests.take(self.limit) {
            if Instant::now() >= until {
                break;
            }
            let begun = Instant::now();
            let answer = match ask(&mut connection, self.address, request) {
                Ok(answer) => answer,
                Err(error) => {
                    connection = None;
                    answers.failures.push(error.to_string());
                    // A server that is gone is not asked a million times.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                }
            };
            let ended = Instant::now();
            let milliseconds = 1e3 * (ended - begun).as_secs_f64();
            if answer.closes {
                connection = None;
            }
            if ended >= from && ended < until {
                match answer.status {
                    200 => answers.times.push(milliseconds),
                    503 => answers.refused.push(milliseconds),
                    status => answers.failures.push(format!("status {status}")),
                }
            }
            if let Some(pause) = answer.retry_after {
                thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
            }
        }
        answers
    }
}

/// Sends a request and reads the answer to its end.
pub(super) fn ask(
    connection: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
) -> io::Result<Answer> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            connection.insert(stream)
        }
    };
    stream.write_all(request)?;
    read_answer(stream)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Read};
    use std::net::TcpListener;

    use super::*;
    use crate::http::post;

    /// Answers the requests of each connection, in turns with these texts, until the client goes.
    fn server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move |stream: TcpStream| -> io::Result<()> {
            let mut reader = io::BufReader::new(stream.try_clone()?);
            for answer in answers.iter().cycle() {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                }
                reader.read_exact(&mut [0; 3])?;
                (&stream).write_all(answer.as_bytes())?;
                if answer.contains("close") {
                    return Ok(());
                }
            }
            Ok(())
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        address
    }

    fn answers(texts: &'static [&'static str]) -> Answers {
        let load = Load {
            address: server(texts),
            requests: &[post("/", "image/png", b"abc")],
            connections: 3,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(3600),
            limit: 3,
        };
        load.run().unwrap()
    }

    #[test]
    fn answers_are_counted_by_status() {
        let found = answers(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 503 Full\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
        ]);
        assert_eq!((found.times.len(), found.refused.len()), (6, 3));
        assert!(found.failures.is_empty(), "{:?}", found.failures);
        assert!(found.times.is_sorted());
        let found = answers(&["HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"]);
        assert!(found.times.is_empty() && found.failures[0].contains("400"));
        let found = answers(&["HTTP/1.1 200 OK\r\n\r\n"]);
        assert!(found.times.is_empty() && !found.failures.is_empty());
    }
}
