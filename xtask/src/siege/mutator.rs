//! Malformed HTTP: valid requests with random changes.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::{PATIENCE, patient, request};
use super::picture;
use super::target::{Answers, MODEL, Target};
use crate::chance::Chance;

pub(super) const NAME: &str = "malformed HTTP";

/// Most of them wait for the end of an incomplete request.
const THREADS: u64 = 16;
/// The time in which a server usually answers.
const WAIT: Duration = Duration::from_millis(200);

/// Text that has a meaning in HTTP.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b" ",
    b"\t",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET ",
    b"POST ",
    b"content-length: 5\r\n",
    b"content-length: 18446744073709551615\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"expect: 100-continue\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"%00",
    b"\xff\xfe",
    b"host: \r\n",
];

/// Sends malformed requests for this time. Each must be answered as HTTP or lead to a closed connection, soon, and none
/// with status 500.
pub(super) fn attack(target: &Target, time: Duration, seed: u64) -> Result<Answers> {
    let until = Instant::now() + time;
    let seeds = valid();
    let found: Vec<Answers> = std::thread::scope(|scope| {
        let seeds = &seeds;
        let client = |thread| {
            scope.spawn(move || {
                let mut chance = Chance::new(seed.wrapping_mul(THREADS).wrapping_add(thread));
                let mut answers = Answers::default();
                while Instant::now() < until && answers.failures.len() < 10 {
                    let bytes = malformed(&mut chance, seeds);
                    judge(target, &bytes, &mut answers);
                }
                answers
            })
        };
        let threads: Vec<_> = (0..THREADS).map(client).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut answers = Answers::default();
    found.into_iter().for_each(|found| answers.add(found));
    Ok(answers)
}

fn judge(target: &Target, bytes: &[u8], answers: &mut Answers) {
    let reply = target
        .connect()
        .and_then(|stream| patient(stream, bytes, Some(WAIT)));
    let problem = match &reply {
        Err(error) => Some(error.to_string()),
        Ok(reply) if reply.time >= PATIENCE => Some("no end".to_owned()),
        Ok(reply) if reply.bytes.is_empty() => None,
        Ok(reply) => match reply.status() {
            None => Some("no HTTP".to_owned()),
            Some(status @ (500 | 501)) => Some(format!("status {status}")),
            Some(_) => None,
        },
    };
    answers.count(reply.map_or_else(|error| error.kind().to_string(), |reply| reply.outcome()));
    if let Some(problem) = problem {
        let shown = bytes.iter().take(2000).flat_map(|byte| byte.escape_ascii());
        let shown: String = shown.map(char::from).collect();
        answers.failures.push(format!("{problem} after {shown}"));
    }
}

/// Requests of all protocols.
fn valid() -> Vec<Vec<u8>> {
    let png = picture::digit();
    let json = "content-type: application/json\r\n";
    let form = [
        b"--b\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n"
            .to_vec(),
        png.clone(),
        b"\r\n--b--\r\n".to_vec(),
    ];
    let infer = br#"{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["AAAA"]}]}"#;
    let binary = br#"{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8}}]}"#;
    let length = format!("inference-header-content-length: {}\r\n", binary.len());
    let mut chunked =
        b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for piece in png.chunks(20) {
        chunked.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let infer_path = format!("/v2/models/{MODEL}/infer");
    let get = |path: &str| request("GET", path, "", b"");
    vec![
        request(
            "POST",
            "/v1/predict?top_k=3&probabilities=true",
            "content-type: image/png\r\n",
            &png,
        ),
        request(
            "POST",
            "/v1/predict",
            "content-type: multipart/form-data; boundary=b\r\n",
            &form.concat(),
        ),
        request("POST", "/v1/explain?class=1", "", &png),
        request("POST", "/", "", &png),
        request(
            "POST",
            &format!("/v1/models/{MODEL}:predict"),
            json,
            br#"{"instances":[{"b64":"AAAA"}]}"#,
        ),
        request("POST", &infer_path, json, infer),
        request(
            "POST",
            &infer_path,
            &length,
            &[&binary[..], b"\x04\0\0\0AAAA"].concat(),
        ),
        chunked,
        [get("/v1/models"), get("/metrics")].concat(),
        get("/"),
        get("/openapi.json"),
        get(&format!("/v2/models/{MODEL}/ready")),
        request("HEAD", "/v2/health/ready", "", b""),
        request("OPTIONS", "*", "", b""),
        b"GET /v1/models HTTP/1.0\r\n\r\n".to_vec(),
    ]
}

/// A valid request with one to eight changes: of all its bytes, or of the body only, which then has the right length.
fn malformed(chance: &mut Chance, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = chance.one_of(seeds);
    let end = seed.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = seed.split_at(end.map_or(0, |end| end + 4));
    let head = String::from_utf8_lossy(head);
    let Some(length) = length(body) else {
        return changed(seed, chance, seeds);
    };
    if chance.index(2) == 0 || !head.contains(&length) {
        return changed(seed, chance, seeds);
    }
    let body = changed(body, chance, seeds);
    let head = head.replace(&length, &self::length(&body).unwrap_or_default());
    [head.as_bytes(), &body].concat()
}

/// The header of the length of a body, if there is one.
fn length(body: &[u8]) -> Option<String> {
    (!body.is_empty()).then(|| format!("content-length: {}\r\n", body.len()))
}

fn changed(bytes: &[u8], chance: &mut Chance, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=chance.index(8) {
        // Changes of heads are the more interesting ones.
        let end = match chance.index(4) {
            0 => bytes.len(),
            _ => bytes.len().min(200),
        };
        let at = chance.index(end);
        let length = 1 + chance.index(16);
        let piece = at..(at + length).min(bytes.len());
        match chance.index(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(piece)),
            2 => {
                let copy = bytes[piece].repeat(1 + chance.index(20));
                bytes.splice(at..at, copy);
            }
            3 => {
                let other = chance.one_of(seeds);
                let tail = other[chance.index(other.len())..].to_vec();
                bytes.truncate(at);
                bytes.extend(tail);
            }
            4 | 5 => {
                let word = chance.one_of(&WORDS).to_vec();
                bytes.splice(at..at, word);
            }
            6 => {
                let lines = b"x-a: b\r\n".repeat(chance.index(300));
                bytes.splice(at..at, lines);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(chance.index(256)).unwrap_or(0);
                }
            }
        }
    }
    bytes
}
