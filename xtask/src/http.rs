//! Answers of HTTP servers on connections that stay open.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

/// The most bytes of an answer's head.
const MAX_HEAD: usize = 16 << 10;

/// An answer, without its body.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the server closes the connection.
    pub(crate) closes: bool,
    pub(crate) retry_after: Option<Duration>,
    length: usize,
}

/// Reads an answer to its end.
pub(crate) fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut buffer = vec![0; 4 << 10];
    let mut filled = 0;
    loop {
        let read = match stream.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if let Some(end) = end_of_head(&buffer[..filled]) {
            let answer = head(&buffer[..end])
                .ok_or_else(|| io::Error::other("an answer without status or length"))?;
            let body = filled - end;
            let rest = answer.length.saturating_sub(body) as u64;
            let read = io::copy(&mut stream.take(rest), &mut io::sink())?;
            return match read == rest && body <= answer.length {
                true => Ok(answer),
                false => Err(io::Error::other(
                    "a body of another length than its head says",
                )),
            };
        }
        if filled == buffer.len() {
            if filled >= MAX_HEAD {
                return Err(io::Error::other("the head of an answer is too long"));
            }
            buffer.resize(2 * filled, 0);
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let found = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(found + 4)
}

fn head(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut closes, mut retry_after, mut length) = (false, None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            "content-length" => length = value.parse().ok(),
            "retry-after" => retry_after = value.parse().ok().map(Duration::from_secs),
            _ => {}
        }
    }
    Some(Answer {
        status,
        closes,
        retry_after,
        length: length?,
    })
}

/// A request with a body, for a connection that stays open.
pub(crate) fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read() {
        let text = b"HTTP/1.1 503 x\r\nRetry-After: 2\r\nContent-Length: 7\r\nConnection: Close\r\n\r\nabc";
        let end = end_of_head(text).unwrap();
        assert_eq!(text.len() - end, 3);
        let expected = Answer {
            status: 503,
            closes: true,
            retry_after: Some(Duration::from_secs(2)),
            length: 7,
        };
        assert_eq!(head(&text[..end]), Some(expected));
        assert_eq!(head(b"HTTP/1.1 200 x\r\n\r\n"), None);
        assert_eq!(head(b"\r\n\r\n"), None);
        assert_eq!(end_of_head(b"HTTP/1.1 200 x\r\n"), None);
    }
}
