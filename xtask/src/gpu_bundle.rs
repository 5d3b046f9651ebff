//! `cargo xtask gpu-bundle`: a folder that tests and measures this project on a machine with an NVIDIA GPU. That machine
//! needs neither Rust nor a connection, only the driver and, without kernels for its GPU in the programs, NVRTC.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::data;
use crate::shell::{cargo, output, root, target_dir};

/// The most bytes of a bundle.
const MAX_BYTES: u64 = 50_000_000;

/// Files that are copied from the workspace.
const COPIED: [&str; 4] = [
    "configs/mnist-fast.toml",
    "xtask/gpu/compare.py",
    "xtask/gpu/networks.py",
    "xtask/gpu/run.sh",
];

/// Programs of a bundle: the kind and the name of cargo's target, and the program's name there.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("bin", "classify", "classify"),
    ("test", "device", "device"),
    ("test", "gpu", "networks"),
    ("example", "bandwidth", "bandwidth"),
    ("example", "roofline", "roofline"),
    ("example", "train_step", "train_step"),
];

pub(crate) fn bundle(folder: Option<&Path>) -> Result<()> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => target_dir()?.join("gpu-bundle"),
    };
    let marker = folder.join("run.sh");
    if folder.exists() {
        ensure!(
            marker.is_file(),
            "{} exists and is no bundle; choose another folder",
            folder.display()
        );
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let [programs, idx] = ["programs", "data/mnist/idx"].map(|name| folder.join(name));
    for folder in [&programs, &idx] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for path in COPIED {
        copy(&root()?.join(path), &folder)?;
    }
    let built = build()?;
    for ((_, _, name), program) in PROGRAMS.iter().zip(&built) {
        compress(program, &programs, name)?;
    }
    data::fetch_by(&built[0], &["mnist".to_owned()])?;
    for entry in fs::read_dir(data::idx_dir("mnist")?)? {
        let file = entry?.path();
        let name = file.file_name().context("a file has no name")?;
        compress(&file, &idx, name)?;
    }
    let bytes = size(&folder)?;
    println!("{}: {bytes} bytes; run run.sh there", folder.display());
    ensure!(
        bytes <= MAX_BYTES,
        "the bundle has more than {MAX_BYTES} bytes"
    );
    Ok(())
}

/// Builds the programs with one command, so that dependencies are built once.
fn build() -> Result<Vec<PathBuf>> {
    let mut build = cargo(&["build", "--release", "--locked", "--features", "cuda"])?;
    build.arg("--message-format=json-render-diagnostics");
    for package in ["cli", "gpu", "mobilenet", "trainer"] {
        build.args(["-p", package]);
    }
    for (kind, name, _) in PROGRAMS {
        build.args([&format!("--{kind}"), name]);
    }
    let messages = output(&mut build)?;
    let programs = PROGRAMS.iter();
    programs
        .map(|(kind, name, _)| executable_of(&messages, kind, name))
        .collect()
}

/// The program of a target, from cargo's messages.
fn executable_of(messages: &str, kind: &str, name: &str) -> Result<PathBuf> {
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo wrote no JSON")?;
        let target = &message["target"];
        let is_kind = |found: &Vec<Value>| found.iter().any(|found| found == kind);
        if target["name"] == name
            && target["kind"].as_array().is_some_and(is_kind)
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo built no {kind} {name}")
}

/// Copies a file into a folder, with its permissions.
fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("a file has no name")?;
    fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// Writes a file as `folder/name.gz`.
fn compress(file: &Path, folder: &Path, name: impl AsRef<Path>) -> Result<()> {
    let target = folder.join(name).with_added_extension("gz");
    let mut input = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut gzip = GzEncoder::new(File::create(target)?, Compression::best());
    io::copy(&mut input, &mut gzip)?;
    gzip.finish()?;
    Ok(())
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"device"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"device"},"executable":"/t/device-1"}
{"reason":"build-finished","success":true}"#;
        let found = executable_of(messages, "test", "device").unwrap();
        assert_eq!(found, Path::new("/t/device-1"));
        assert!(executable_of(messages, "bin", "classify").is_err());
    }

    /// `timeout SECONDS`, and the steps, which have a name before their seconds.
    #[test]
    fn the_limits_of_all_steps_are_less_than_8_minutes() {
        let script = fs::read_to_string(root().unwrap().join("xtask/gpu/run.sh")).unwrap();
        let words: Vec<&str> = script.split_whitespace().collect();
        let mut limits = Vec::new();
        for words in words.windows(3) {
            let seconds = match words {
                ["step" | "trained" | "measured", _, seconds] => seconds,
                [timeout, seconds, _] if timeout.ends_with("timeout") => seconds,
                _ => continue,
            };
            limits.extend(seconds.parse::<u64>().ok());
        }
        assert!(limits.len() > 10, "{limits:?}");
        assert!(limits.iter().sum::<u64>() < 480, "{limits:?}");
    }

    #[test]
    fn copied_files_exist() {
        for path in COPIED {
            assert!(root().unwrap().join(path).is_file(), "{path}");
        }
    }
}
