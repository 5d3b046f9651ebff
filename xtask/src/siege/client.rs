//! A small HTTP client that can also be rude.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{Answer, read_answer};

/// An honest server answers within this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that a server has sent.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    pub(super) time: Duration,
    /// The error that ended it instead of the server's end of the connection.
    pub(super) error: Option<ErrorKind>,
}

impl Reply {
    /// The status of the first answer.
    pub(super) fn status(&self) -> Option<u16> {
        status(&self.bytes)
    }

    /// The status, or another end, for the table.
    pub(super) fn outcome(&self) -> String {
        match (self.status(), self.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => format!("{error}"),
            (None, None) => "closed".to_owned(),
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

pub(super) fn status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// Sends bytes, then reads until the server closes the connection. Errors of writing are no errors, since a server may
/// answer and close before it has read everything.
pub(super) fn exchange(stream: TcpStream, bytes: &[u8]) -> io::Result<Reply> {
    patient(stream, bytes, None)
}

/// As [`exchange`], but the client says that it sends nothing more if the server waits for this long. At once it would
/// seem to have gone.
pub(super) fn patient(
    mut stream: TcpStream,
    bytes: &[u8],
    wait: Option<Duration>,
) -> io::Result<Reply> {
    let start = Instant::now();
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let _ = stream.write_all(bytes);
    let mut reply = Reply::default();
    for timeout in wait.into_iter().chain([PATIENCE]) {
        stream.set_read_timeout(Some(timeout))?;
        let read = stream.read_to_end(&mut reply.bytes);
        reply.error = read.err().map(|error| error.kind());
        if reply.error != Some(ErrorKind::WouldBlock) {
            break;
        }
        let _ = stream.shutdown(Shutdown::Write);
    }
    reply.time = start.elapsed();
    Ok(reply)
}

/// A request for the connection's only answer.
pub(super) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n").into_bytes();
    if !headers.to_ascii_lowercase().contains("host:") {
        bytes.extend_from_slice(b"host: localhost\r\n");
    }
    let length = format!("content-length: {}\r\n{headers}\r\n", body.len());
    bytes.extend_from_slice(length.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A connection that stays open.
pub(super) struct Open(TcpStream);

impl Open {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Reads one answer.
    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        read_answer(&mut self.0)
    }
}
