//! Measures the time of a whole process until its first prediction.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Options;
use super::case::{Case, Side, Task, Unit, Work};
use super::infer::onnx;
use crate::programs::{classify, python_peer, scratch};
use crate::shell::{root, run};

pub(super) fn cases(options: &Options) -> Result<Vec<Case<'_>>> {
    let program = classify()?;
    let sides = move |work: &Work| {
        let dir = scratch("startup")?;
        let (weights, image) = (weights(&program, &dir, work.image_size)?, image(&dir)?);
        let threads = options.threads.to_string();
        let mut ours = Command::new(&program);
        ours.args(["predict", "--threads", &threads, "--weights"]);
        ours.arg(weights).arg("--out").arg(dir.join("ours"));
        let mut sides = vec![process("ours", ours, &image).required()];
        if let Some(python) = &options.python {
            let mut peer = python_peer(python, "onnxruntime_predict.py")?;
            peer.args(["--threads", &threads, "--onnx"]);
            peer.arg(onnx(python, work)?).arg("--out");
            peer.arg(dir.join("onnxruntime"));
            sides.push(process("onnxruntime", peer, &image));
        }
        Ok(sides)
    };
    let work = Work::new("small", 32, 1);
    Ok(vec![Case::new("small-32", Unit::Seconds, work, sides)])
}

fn process(name: &str, mut command: Command, image: &Path) -> Side {
    // `classify` logs its progress. This is suppressed, because there are a hundred runs.
    command.arg(image).env("RUST_LOG", "error");
    Side {
        name: name.to_owned(),
        task: Task::Process(command),
        required: false,
    }
}

/// Trains briefly on the sample digits to get weights of the small network for images of this size.
pub(super) fn weights(classify: &Path, dir: &Path, image_size: usize) -> Result<PathBuf> {
    let run_dir = dir.join("run");
    if let Some(found) = first_with_extension(&run_dir, "safetensors")? {
        return Ok(found);
    }
    let mut command = Command::new(classify);
    command.current_dir(root()?);
    command.args(["train", "--config", "configs/smoke.toml", "--run-dir"]);
    command.arg(&run_dir);
    for setting in [
        format!("data.root={}", digits(dir).display()),
        format!("data.image_size={image_size}"),
        "model.width=1.0".to_owned(),
        "train.epochs=1".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    run(&mut command)?;
    first_with_extension(&run_dir, "safetensors")?
        .with_context(|| format!("no weights in {}", run_dir.display()))
}

/// An image of a digit that the training has unpacked.
fn image(dir: &Path) -> Result<PathBuf> {
    let class = digits(dir).join("test/7");
    first_with_extension(&class, "png")?.with_context(|| format!("no image in {}", class.display()))
}

/// The images of the test digits that the training has unpacked.
pub(super) fn images(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for class in 0..10 {
        let class = digits(dir).join("test").join(class.to_string());
        found.extend(with_extension(&class, "png")?);
    }
    Ok(found)
}

fn digits(dir: &Path) -> PathBuf {
    dir.join("digits")
}

/// The first file by name in a folder that has this extension; `None` if the folder is missing.
fn first_with_extension(dir: &Path, extension: &str) -> Result<Option<PathBuf>> {
    match dir.is_dir() {
        true => Ok(with_extension(dir, extension)?.into_iter().next()),
        false => Ok(None),
    }
}

/// The files in a folder that have this extension, by name.
fn with_extension(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_of_a_kind_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let find = |dir: &Path| first_with_extension(dir, "png").unwrap();
        assert_eq!(find(&dir.path().join("absent")), None);
        assert_eq!(find(dir.path()), None);
        for name in ["b.png", "a.txt", "c.png"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(find(dir.path()), Some(dir.path().join("b.png")));
    }
}
