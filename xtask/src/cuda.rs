//! What is done for NVIDIA GPUs without one: clippy, what the compiled kernels use, and the embedded kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::check::EVERYTHING;
use crate::clients;
use crate::nvcc;
use crate::programs::executable;
use crate::shell::{cargo, root, run, target_dir};

/// NVIDIA's compiler of CUDA C++ as a library, the version of the driver's interface that we use.
const NVRTC: &str = "nvidia-cuda-nvrtc-cu12==12.8.93";
/// The oldest version that we support. A driver takes PTX of compilers that are not newer than itself.
const OLDEST_NVRTC: &str = "nvidia-cuda-nvrtc-cu12==12.0.140";
/// The kernels that are part of the crate `gpu`.
const EMBEDDED: &str = "crates/gpu/ptx/kernels.bin";

/// The kinds of GPUs that we compile for.
const ARCHITECTURES: [&str; 6] = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"];

#[derive(clap::Args)]
pub(crate) struct CheckCuda {
    /// Compile the kernels for all types of activations, not for bf16 only
    #[arg(long)]
    all: bool,
    /// Check the feature `candle-cuda` instead, with nvcc from PyPI, which takes a quarter of an hour
    #[arg(long)]
    candle: bool,
}

#[derive(clap::Args)]
pub(crate) struct Roofline {
    /// h200, h100, a100, 4090 or 3090
    #[arg(long, value_name = "NAME", default_value = "h200")]
    gpu: String,
    /// Network, such as resnet50; may be repeated; without it, a few that differ
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Images of a batch
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch: usize,
    /// Rows and columns of an image
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    size: usize,
    /// Type of activations: f32, bf16 or f16
    #[arg(long, value_name = "TYPE", default_value = "bf16")]
    storage: String,
}

/// `cargo xtask check-cuda`
pub(crate) fn check(options: &CheckCuda) -> Result<()> {
    if options.candle {
        return nvcc::check();
    }
    let library = library("nvrtc", NVRTC)?;
    // Programs and most tests have no code of their own for the feature.
    let mut clippy = cargo(&["clippy", "--lib", "--example", "bandwidth"])?;
    clippy.args(["--example", "kernels", "--test", "device", "--test", "gpu"]);
    clippy.args(EVERYTHING).args(["--features", "cuda"]);
    run(clippy.args(["--", "-D", "warnings"]))?;
    let mut kernels = Command::new(example("kernels", "cuda")?);
    kernels.env("LD_LIBRARY_PATH", library);
    let storages = match options.all {
        true => "f32,bf16,f16",
        false => "bf16",
    };
    kernels.args(["--storage", storages]).args(ARCHITECTURES);
    run(&mut kernels)
}

/// `cargo xtask kernels`
pub(crate) fn kernels() -> Result<()> {
    let library = library("nvrtc-oldest", OLDEST_NVRTC)?;
    let mut kernels = Command::new(example("kernels", "cuda")?);
    kernels.env("LD_LIBRARY_PATH", library);
    run(kernels.arg("--embed").arg(root()?.join(EMBEDDED)))
}

/// `cargo xtask roofline`
pub(crate) fn roofline(options: &Roofline) -> Result<()> {
    let mut roofline = Command::new(example("roofline", "mobilenet/gpu")?);
    roofline.args(["--gpu", &options.gpu, "--storage", &options.storage]);
    roofline.args(["--batch", &options.batch.to_string()]);
    roofline.args(["--size", &options.size.to_string()]);
    for model in &options.model {
        roofline.args(["--model", model]);
    }
    run(&mut roofline)
}

/// Builds an example as the tests are built, so that dependencies are shared, and returns its path.
fn example(name: &str, feature: &str) -> Result<PathBuf> {
    run(cargo(&["build", "--example", name])?
        .args(EVERYTHING)
        .args(["--features", feature]))?;
    let examples = target_dir()?.join("debug").join("examples");
    Ok(examples.join(executable(name)))
}

/// The folder of NVRTC. The package is installed once, in a folder of cargo's target folder.
fn library(folder: &str, package: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join(folder);
    if let Some(found) = installed(&dir) {
        return Ok(found);
    }
    let python = clients::python(&dir)
        .context("NVRTC comes from a Python package; install Python with Debian's python3-venv")?;
    run(Command::new(python).args(["-m", "pip", "install", "--quiet", package])).with_context(
        || format!("cannot install {package}; the first time needs pip and a connection"),
    )?;
    installed(&dir).with_context(|| format!("{package} has no libnvrtc.so.12"))
}

fn installed(dir: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(dir.join("venv/lib")).ok()?;
    versions
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/nvidia/cuda_nvrtc/lib"))
        .find(|folder| folder.join("libnvrtc.so.12").is_file())
}
