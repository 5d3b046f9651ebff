//! Programs for the tasks: ours, built on demand, and the peers of benchmarks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{cargo, root, run, target_dir};

/// The path of a release build of one of our examples.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    build(&["-p", package, "--example", name])?;
    Ok(target_dir()?
        .join("release/examples")
        .join(executable(name)))
}

/// The path of a release build of `classify`.
pub(crate) fn classify() -> Result<PathBuf> {
    build(&[])?;
    Ok(target_dir()?.join("release").join(executable("classify")))
}

/// Builds `classify` and the requested targets with one command. cargo chooses the features of
/// dependencies by the packages in a command, and rebuilds a crate for other features.
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

/// A Rust peer. Peers have their own workspace, so that the main one need not build them.
pub(crate) fn rust_peer(name: &str) -> Result<PathBuf> {
    let peers = root()?.join("xtask/peers");
    // Separate from our own builds: the two would invalidate each other.
    let target = target_dir()?.join("peers");
    let mut build = cargo(&["build", "--release", "--locked", "-p", name])?;
    build.current_dir(&peers).env("CARGO_TARGET_DIR", &target);
    run(&mut build)?;
    Ok(target.join("release").join(executable(name)))
}

/// A program's file name on this system.
pub(crate) fn executable(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// A program of ours with this many threads: candle's own pool reads the variable.
pub(crate) fn ours(program: &Path, threads: usize) -> Command {
    let mut command = Command::new(program);
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command
}

/// A script of `xtask/peers`, without byte code, which would end up among the committed files.
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
