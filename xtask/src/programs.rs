//! Programs that the tasks run: this project's programs, built when needed, and the programs that
//! benchmarks compare with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{cargo, root, run, target_dir};

/// Builds an example of this project in release mode and returns its path.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    let (_, example) = classify_and_example(package, name)?;
    Ok(example)
}

/// Builds `classify` and an example in release mode and returns their paths.
pub(crate) fn classify_and_example(package: &str, name: &str) -> Result<(PathBuf, PathBuf)> {
    build(&["-p", package, "--example", name])?;
    let release = target_dir()?.join("release");
    let example = release.join("examples").join(executable(name));
    Ok((release.join(executable("classify")), example))
}

/// Builds `classify` in release mode and returns its path.
pub(crate) fn classify() -> Result<PathBuf> {
    build(&[])?;
    Ok(target_dir()?.join("release").join(executable("classify")))
}

/// Builds `classify` and the requested targets with one command. With separate commands, cargo
/// would choose other features of the dependencies for each, and would rebuild them.
fn build(targets: &[&str]) -> Result<()> {
    let classify = [
        "build",
        "--release",
        "--locked",
        "-p",
        "cli",
        "--bin",
        "classify",
    ];
    run(cargo(&classify)?.args(targets))
}

/// Builds a Rust program that benchmarks compare with. These programs are a separate workspace, so
/// that the main workspace does not build them.
pub(crate) fn rust_peer(name: &str) -> Result<PathBuf> {
    let peers = root()?.join("xtask/peers");
    // A separate target folder: otherwise the two workspaces would rebuild each other's crates.
    let target = target_dir()?.join("peers");
    let mut build = cargo(&["build", "--release", "--locked", "-p", name])?;
    build.current_dir(&peers).env("CARGO_TARGET_DIR", &target);
    run(&mut build)?;
    Ok(target.join("release").join(executable(name)))
}

/// The file name of a program on this system.
pub(crate) fn executable(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// Command for a program of this project with this many threads. candle's thread pool reads the
/// environment variable.
pub(crate) fn ours(program: &Path, threads: usize) -> Command {
    let mut command = Command::new(program);
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command
}

/// Command for a script in `xtask/peers`. Python must not write byte code, because it would be next
/// to the committed files.
pub(crate) fn python_peer(python: &Path, script: &str) -> Result<Command> {
    let path = root()?.join("xtask/peers").join(script);
    ensure!(path.is_file(), "no peer {}", path.display());
    let mut command = Command::new(python);
    command.arg("-B").arg(path);
    Ok(command)
}

/// A folder for the files of a benchmark.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join("bench").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
