//! The servers to compare, and the requests that they get.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::load::ask;
use crate::bench::startup;
use crate::http::post;
use crate::programs::{python_peer, scratch};
use crate::server::{Server, free_address};
use crate::shell::run;

/// The name of the model in requests.
const MODEL: &str = "m";
/// A server that does not answer by then is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// The images that requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Images {
    /// Images of digits: 28 pixels, PNG, some hundred bytes.
    Digits,
    /// Photos of 1920 × 1280 pixels: JPEG, about 393 kB.
    Photos,
}

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The file as the body, to `/v1/predict`.
    Raw,
    /// Base64 in JSON, to `/v1/models/{m}:predict`.
    Json,
}

impl Images {
    /// Height and width that the network sees.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Digits => 32,
            Self::Photos => 224,
        }
    }
}

/// Files of a benchmark, made when they are missing.
pub(super) struct Files {
    pub(super) weights: PathBuf,
    onnx: PathBuf,
    size: String,
    images: Vec<Vec<u8>>,
}

impl Files {
    /// Trains a network, exports it, and makes the images. Photos need Python with Pillow.
    pub(super) fn make(classify: &Path, images: Images, python: Option<&Path>) -> Result<Self> {
        let size = images.size();
        let dir = scratch("serve")?.join(size.to_string());
        fs::create_dir_all(&dir)?;
        let weights = startup::weights(classify, &dir, size)?;
        let onnx = dir.join("model.onnx");
        if !onnx.exists() {
            let mut export = Command::new(classify);
            export.args(["export", "--to", "onnx", "--preprocess", "--weights"]);
            run(export.arg(&weights).arg("--out").arg(&onnx))?;
        }
        let images = match images {
            Images::Digits => startup::images(&dir)?,
            Images::Photos => photos(&dir.join("photos"), python)?,
        };
        let read = |path: &PathBuf| fs::read(path).with_context(|| path.display().to_string());
        Ok(Self {
            weights,
            onnx,
            size: size.to_string(),
            images: images.iter().map(read).collect::<Result<_>>()?,
        })
    }

    pub(super) fn requests(&self, form: Form) -> Vec<Vec<u8>> {
        let request = |image: &Vec<u8>| match form {
            Form::Raw => post("/v1/predict", "application/octet-stream", image),
            Form::Json => {
                let path = format!("/v1/models/{MODEL}:predict");
                let body = format!("{{\"instances\":[{{\"b64\":\"{}\"}}]}}", base64(image));
                post(&path, "application/json", body.as_bytes())
            }
        };
        self.images.iter().map(request).collect()
    }
}

/// Eight photos, drawn by a committed generator.
fn photos(dir: &Path, python: Option<&Path>) -> Result<Vec<PathBuf>> {
    let paths: Vec<_> = (0..8).map(|seed| dir.join(format!("{seed}.jpg"))).collect();
    if !paths.iter().all(|path| path.exists()) {
        let python = python.context("photos are made with Python; give --python")?;
        fs::create_dir_all(dir)?;
        run(python_peer(python, "photos.py")?.args(&paths))?;
    }
    Ok(paths)
}

/// A server of one side.
pub(super) struct Side {
    pub(super) name: String,
    command: Start,
}

enum Start {
    Ours(Vec<String>),
    Peer(PathBuf),
}

impl Side {
    /// Our server with these arguments besides the weights.
    pub(super) fn ours(name: &str, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            command: Start::Ours(arguments.iter().map(|&one| one.to_owned()).collect()),
        }
    }

    /// FastAPI with onnxruntime.
    pub(super) fn peer(python: &Path) -> Self {
        Self {
            name: "onnxruntime_fastapi".to_owned(),
            command: Start::Peer(python.to_path_buf()),
        }
    }

    /// Whether the benchmark fails without this server. A peer that is not installed is skipped.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.command, Start::Ours(_))
    }

    /// Starts the server and waits for its first answer. Returns the server and the time that this took.
    pub(super) fn start(
        &self,
        classify: &Path,
        files: &Files,
        request: &[u8],
        threads: usize,
    ) -> Result<(Server, Duration)> {
        let address = free_address()?;
        let port = address.port().to_string();
        let threads = threads.to_string();
        let mut command = match &self.command {
            Start::Ours(arguments) => {
                let mut command = Command::new(classify);
                command.args(["serve", "--port", &port, "--threads", &threads]);
                command.arg("--weights");
                command.arg(format!("{MODEL}={}", files.weights.display()));
                command.args(arguments);
                command
            }
            Start::Peer(python) => {
                let mut command = python_peer(python, "onnxruntime_serve.py")?;
                command.args(["--port", &port, "--workers", &threads, "--onnx"]);
                command.arg(&files.onnx).args(["--size", &files.size]);
                command
            }
        };
        command.env("RUST_LOG", "error");
        let begun = Instant::now();
        let mut server = Server::start_at(command, address)?;
        loop {
            // Before it listens, the connection is refused.
            match ask(&mut None, address, request) {
                Ok(answer) => {
                    let status = answer.status;
                    ensure!(status == 200, "{}: status {status}", self.name);
                    return Ok((server, begun.elapsed()));
                }
                Err(_) => server.still_runs().context(self.name.clone())?,
            }
            ensure!(begun.elapsed() < PATIENCE, "{} does not answer", self.name);
            thread::sleep(Duration::from_micros(500));
        }
    }
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index > three.len() {
                '='
            } else {
                digit.into()
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
