//! Bodies that are too large, or that become so.

use std::io::Write;

use anyhow::Result;

use super::client::{Reply, exchange, request};
use super::picture;
use super::target::{Answers, Target};

type Attack = (&'static str, fn(&Target) -> Result<Answers>);

pub(super) const ATTACKS: [Attack; 4] = [
    ("1 GB bodies with a length", with_length),
    ("1 GB bodies in chunks", in_chunks),
    ("100 bodies of 15 MB at once", many),
    ("decompression bombs", bombs),
];

const GIGABYTE: usize = 1 << 30;
const PIECE: usize = 1 << 20;

fn with_length(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    let head = format!(
        "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {GIGABYTE}\r\n\r\n"
    );
    let reply = flooded(target, &head, &vec![0; PIECE])?;
    answers.expect("a declared length of 1 GB", &reply, &[413]);
    for (length, expected) in [
        ("18446744073709551616", 400),
        ("-1", 400),
        ("1, 2", 400),
        ("99999999999999", 413),
    ] {
        let head = format!(
            "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
        );
        let reply = target.exchange(head.as_bytes())?;
        answers.expect(&format!("Content-Length: {length}"), &reply, &[expected]);
    }
    Ok(answers)
}

fn in_chunks(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    for kind in [
        "image/png",
        "application/json",
        "multipart/form-data; boundary=a",
    ] {
        let head = format!(
            "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut chunk = format!("{PIECE:x}\r\n").into_bytes();
        chunk.resize(chunk.len() + PIECE, b'a');
        chunk.extend(b"\r\n");
        let reply = flooded(target, &head, &chunk)?;
        // A form's first bytes are no boundary, and JSON is no image.
        answers.expect(kind, &reply, &[413, 400, 415]);
    }
    Ok(answers)
}

/// Sends a head and a gigabyte of these pieces, unless the server closes the connection before.
fn flooded(target: &Target, head: &str, piece: &[u8]) -> Result<Reply> {
    let mut stream = target.connect()?;
    stream.write_all(head.as_bytes())?;
    for _ in 0..GIGABYTE / PIECE {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    Ok(exchange(stream, b"")?)
}

/// Bodies just below the limit, of many clients.
fn many(target: &Target) -> Result<Answers> {
    let bytes = request("POST", "/v1/predict", "", &vec![0; 15 << 20]);
    let replies: Vec<_> = std::thread::scope(|scope| {
        let start = |_| scope.spawn(|| target.exchange(&bytes));
        let threads: Vec<_> = (0..100).map(start).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut answers = Answers::default();
    for reply in replies {
        // No image, or no room for it.
        answers.expect("15 MB of zeros", &reply?, &[400, 503]);
    }
    Ok(answers)
}

fn bombs(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    for (name, file) in picture::bombs() {
        let reply = target.exchange(&request("POST", "/v1/predict", "", &file))?;
        // A profile is no pixel, so its image may be answered.
        let expected: &[u16] = match name.contains("profile") {
            true => &[200, 400],
            false => &[400],
        };
        answers.expect(name, &reply, expected);
    }
    Ok(answers)
}
