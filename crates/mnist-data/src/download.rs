//! Downloads one file over HTTP, and resumes interrupted downloads.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::http::Response;
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};

use crate::checksum::pump;
use crate::error::{Error, with_causes};
use crate::progress::{Progress, Unit};

/// Time limit for connecting to a host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A transfer that receives nothing for this long has stalled.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes by which a compressed file may exceed its raw contents.
const OVERHEAD: u64 = 1 << 20;

/// The failure of a transfer.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whether the host does not answer, so that requests for other files would fail too.
    pub(crate) unreachable: bool,
    /// The reason of the failure, for the list of attempts.
    pub(crate) reason: String,
    /// Whether the transfer was interrupted and can be resumed.
    cut_off: bool,
}

impl Failure {
    pub(crate) fn new(reason: impl Display) -> Self {
        Self {
            unreachable: false,
            reason: reason.to_string(),
            cut_off: false,
        }
    }
}

/// The settings of every transfer. The environment may set a proxy.
pub(crate) fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(STALL_TIMEOUT))
        .timeout_per_read(Some(STALL_TIMEOUT))
        .http_status_as_error(false)
        .user_agent(concat!("mnist-data/", env!("CARGO_PKG_VERSION")))
}

/// Downloads `url` to the file `part`, resuming after its present contents. An interrupted transfer
/// is resumed as long as each attempt makes progress. `raw_bytes` is the length of the raw
/// contents; an answer with an impossible length is refused.
pub(crate) fn download(
    agent: &Agent,
    url: &str,
    part: &Path,
    raw_bytes: u64,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let mut furthest = length(part);
    loop {
        match attempt(agent, url, part, raw_bytes + OVERHEAD, progress) {
            Err(failure) if failure.cut_off && length(part) > furthest => {
                furthest = length(part);
                progress.note(&format!(
                    "{url}: {}; going on from byte {furthest}",
                    failure.reason
                ));
            }
            outcome => return outcome,
        }
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn attempt(
    agent: &Agent,
    url: &str,
    part: &Path,
    limit: u64,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let have = length(part);
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| Failure {
        unreachable: true,
        ..Failure::new(error)
    })?;
    match response.status().as_u16() {
        200 => receive(response, part, 0, limit, progress),
        206 if content_range(&response).starts_with(&format!("bytes {have}-")) => {
            receive(response, part, have, limit, progress)
        }
        // The server has no more bytes than `part`, so the file is complete.
        416 if content_range(&response) == format!("bytes */{have}") => Ok(()),
        206 | 416 if have > 0 => {
            fs::remove_file(part)
                .map_err(|error| Failure::new(with_causes(&Error::io("remove", part)(error))))?;
            attempt(agent, url, part, limit, progress)
        }
        status => Err(Failure::new(format!("HTTP status {status}"))),
    }
}

fn content_range(response: &Response<Body>) -> &str {
    let value = response.headers().get("Content-Range");
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Appends the answer's body to the first `have` bytes of `part`.
fn receive(
    response: Response<Body>,
    part: &Path,
    have: u64,
    limit: u64,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let expected = response
        .body()
        .content_length()
        .map(|rest| have.saturating_add(rest));
    if expected.is_some_and(|expected| expected > limit) {
        return Err(Failure::new(format!(
            "the answer is longer than the {limit} bytes there can be"
        )));
    }
    let mut file = open(part, have)
        .map_err(|error| Failure::new(with_causes(&Error::io("open", part)(error))))?;
    let what = part.file_stem().unwrap_or_default().to_string_lossy();
    progress.start(&what, expected, Unit::Bytes);
    progress.advance(have);
    let body = response.into_body().into_reader();
    let received = pump(body, limit + 1 - have.min(limit), part, |bytes| {
        progress.advance(bytes.len() as u64);
        file.write_all(bytes)
    });
    progress.finish();
    let end = length(part);
    if end > limit {
        let _ = fs::remove_file(part);
        return Err(Failure::new(format!(
            "the answer is longer than the {limit} bytes there can be"
        )));
    }
    let cut_off = |reason: String| Failure {
        cut_off: true,
        ..Failure::new(reason)
    };
    match (received, expected) {
        (Err(error), _) => Err(cut_off(error.to_string())),
        (Ok(()), Some(expected)) if end < expected => Err(cut_off(format!(
            "the connection closed after {end} of {expected} bytes"
        ))),
        _ => Ok(()),
    }
}

/// Truncates `part` to its first `have` bytes and opens it for appending.
fn open(part: &Path, have: u64) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(part)?;
    file.set_len(have)?;
    Ok(file)
}
