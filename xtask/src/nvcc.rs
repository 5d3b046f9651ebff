//! `cargo xtask check-cuda --candle`: clippy for the feature `candle-cuda`, with NVIDIA's compiler nvcc from PyPI.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::check::EVERYTHING;
use crate::clients;
use crate::shell::{cargo, run, target_dir};

/// nvcc, its parts, and the headers of candle's kernels. Packages for CUDA 12 lack nvcc itself.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

/// The oldest architecture that `cuda` has too.
const ARCHITECTURE: &str = "80";

pub(crate) fn check() -> Result<()> {
    let toolkit = toolkit(&target_dir()?.join("candle-cuda"))?;
    let mut paths = vec![toolkit.join("bin")];
    paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut clippy = cargo(&["clippy", "--lib"])?;
    clippy
        .args(EVERYTHING)
        .args(["--features", "candle-cuda", "--", "-D", "warnings"])
        .env("PATH", env::join_paths(paths)?)
        .env("CUDA_HOME", toolkit)
        .env("CUDA_COMPUTE_CAP", ARCHITECTURE);
    run(&mut clippy)
}

/// The folder of NVIDIA's toolkit. It is installed under `dir` once.
fn toolkit(dir: &Path) -> Result<PathBuf> {
    if let Some(found) = installed(dir) {
        return Ok(found);
    }
    let python = clients::python(dir)?;
    let mut install = Command::new(python);
    install.args(["-m", "pip", "install", "--quiet"]);
    run(install.args(PACKAGES)).context("the first check needs pip and a connection")?;
    installed(dir).context("NVIDIA's packages have no nvcc")
}

fn installed(dir: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(dir.join("venv/lib")).ok()?;
    versions
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/nvidia/cu13"))
        .find(|folder| folder.join("bin/nvcc").is_file())
}
