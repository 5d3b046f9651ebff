//! `cargo xtask gpu-bundle`: a folder that tests and measures this project on a machine with an NVIDIA GPU. That machine
//! needs neither Rust nor a connection, only the driver and NVRTC.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::data;
use crate::programs::executable;
use crate::shell::{cargo, output, root, target_dir};

/// The most bytes of a bundle.
const MAX_BYTES: u64 = 50_000_000;

/// Files that are copied from the workspace.
const COPIED: [&str; 3] = [
    "configs/mnist.toml",
    "xtask/gpu/compare.py",
    "xtask/gpu/run.sh",
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
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for path in COPIED {
        copy(&root()?.join(path), &folder)?;
    }
    let [classify, device] = build()?;
    copy(&classify, &folder)?;
    // The path of a test ends with a hash.
    let target = folder.join(executable("device"));
    fs::copy(&device, &target).with_context(|| format!("cannot copy {}", device.display()))?;
    data::fetch_by(&classify, &["mnist".to_owned()])?;
    let idx = folder.join("data/mnist/idx");
    fs::create_dir_all(&idx)?;
    for entry in fs::read_dir(data::idx_dir("mnist")?)? {
        compress(&entry?.path(), &idx)?;
    }
    let bytes = size(&folder)?;
    println!("{}: {bytes} bytes; run run.sh there", folder.display());
    ensure!(
        bytes <= MAX_BYTES,
        "the bundle has more than {MAX_BYTES} bytes"
    );
    Ok(())
}

/// Builds `classify` and the tests for GPUs with one command, so that dependencies are built once.
fn build() -> Result<[PathBuf; 2]> {
    let build = [
        "build",
        "--release",
        "--locked",
        "-p",
        "cli",
        "-p",
        "gpu",
        "--features",
        "cuda",
        "--bin",
        "classify",
        "--test",
        "device",
        "--message-format=json-render-diagnostics",
    ];
    let messages = output(&mut cargo(&build)?)?;
    Ok([
        executable_of(&messages, "bin", "classify")?,
        executable_of(&messages, "test", "device")?,
    ])
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

fn compress(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("a file has no name")?;
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

    #[test]
    fn copied_files_exist() {
        for path in COPIED {
            assert!(root().unwrap().join(path).is_file(), "{path}");
        }
    }
}
