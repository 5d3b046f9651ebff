//! The programs that chores run: ours, built when they are needed, and the peers' of benchmarks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{cargo, root, run, target_dir};

/// A release build of one of our examples; its path.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    build(&["-p", package, "--example", name])?;
    Ok(target_dir()?
        .join("release/examples")
        .join(executable(name)))
}

/// A release build of `classify`; its path.
pub(crate) fn classify() -> Result<PathBuf> {
    build(&[])?;
    Ok(target_dir()?.join("release").join(executable("classify")))
}

/// Builds `classify` and what else is asked for. One command for both, because cargo chooses the
/// features of dependencies by the packages that it is told to build, and builds a crate anew for
/// other features.
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

/// A Rust peer, which lies in a workspace of its own so that ours does not wait for it.
pub(crate) fn rust_peer(name: &str) -> Result<PathBuf> {
    let peers = root()?.join("xtask/peers");
    // Beside our own builds: the two would keep invalidating each other.
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

/// A program of ours that uses so many threads: candle's own pool reads the variable.
pub(crate) fn ours(program: &Path, threads: usize) -> Command {
    let mut command = Command::new(program);
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command
}

/// A script of `xtask/peers`, without byte code, which would lie among the committed files.
pub(crate) fn python_peer(python: &Path, script: &str) -> Result<Command> {
    let path = root()?.join("xtask/peers").join(script);
    ensure!(path.is_file(), "no peer {}", path.display());
    let mut command = Command::new(python);
    command.arg("-B").arg(path);
    Ok(command)
}

/// A folder for what a benchmark makes and reads.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join("bench").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
