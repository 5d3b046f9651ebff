//! The project's tasks, as `cargo xtask <command>`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its user"
)]

mod bench;
mod build_cost;
mod chance;
mod check;
mod clients;
mod consumers;
mod crash;
mod cuda;
mod data;
mod fuzz;
mod golden;
mod gpu_bundle;
mod http;
mod nvcc;
mod programs;
mod release;
mod server;
mod shell;
mod siege;
mod strokes;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch data sets for development into data/NAME/idx
    Fetch {
        /// Names of the data sets
        #[arg(default_values = ["mnist", "fashion-mnist"])]
        names: Vec<String>,
    },
    /// Make the embedded sample data/sample from MNIST, which is fetched first
    Sample,
    /// Trace MNIST test digits into xtask/clients/strokes.json, which the check of the server's page draws
    Strokes,
    /// Draw a small folder of images to try fine-tuning on
    Photos {
        /// Target folder
        #[arg(default_value = "photos")]
        dir: PathBuf,
    },
    /// Run every committed golden-data generator
    Golden {
        /// A Python with the packages that tests/golden/README.md names
        #[arg(long, value_name = "PYTHON")]
        python: PathBuf,
    },
    /// Compare every network with its own project's, by the committed golden data; takes minutes
    GoldenCheck {
        /// The name of one network or family; without it, all
        family: Option<String>,
    },
    /// Formatting, tidy, clippy and docs, with warnings denied
    Check,
    /// clippy for the feature `cuda`, then compile the kernels for GPUs and check what they use; needs no GPU
    CheckCuda(cuda::CheckCuda),
    /// Compile the kernels that are part of the crate gpu, for GPUs without NVRTC; needs no GPU
    Kernels,
    /// Predict the speed of training on a GPU from the bytes that its kernels move; needs no GPU
    Roofline(cuda::Roofline),
    /// Make a folder that tests and measures this project on a machine with an NVIDIA GPU
    GpuBundle {
        /// Target folder [default: gpu-bundle in cargo's target folder]
        folder: Option<PathBuf>,
    },
    /// Every test of the workspace, then the consumers
    Test,
    /// Check a run: its report and the server's page in a browser with axe-core, its event files with TensorBoard,
    /// --tui in tmux
    Clients,
    /// Build and run the libraries' README examples outside the workspace
    Consumers,
    /// Run libFuzzer on the readers of files, or measure them on mutated files
    Fuzz(fuzz::Fuzz),
    /// Measure the cost of a build from scratch, then run the README's first command on the sample
    BuildCost,
    /// Run benchmarks, compared with other programs if they are installed
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Kill training runs at any moment, resume them, and compare their ends with those of undisturbed runs
    Crash(crash::Options),
    /// Attack a server, and send it signals under load
    Siege(siege::Options),
    /// Pack a release into target/dist; nothing is uploaded
    Release,
}

fn main() -> ExitCode {
    match build_cost::as_rustc_wrapper() {
        Some(Ok(code)) => return code,
        Some(Err(error)) => return failed(&error),
        None => {}
    }
    let done = match Arguments::parse().command {
        Command::Fetch { names } => data::fetch(&names),
        Command::Sample => data::sample(),
        Command::Strokes => strokes::write(),
        Command::Photos { dir } => data::photos(&dir),
        Command::Golden { python } => golden::generate(&python),
        Command::GoldenCheck { family } => golden::check(family.as_deref()),
        Command::Check => check::check(),
        Command::CheckCuda(options) => cuda::check(&options),
        Command::Kernels => cuda::kernels(),
        Command::Roofline(options) => cuda::roofline(&options),
        Command::GpuBundle { folder } => gpu_bundle::bundle(folder.as_deref()),
        Command::Test => check::test(),
        Command::Clients => clients::check(),
        Command::Consumers => consumers::run_all(),
        Command::Fuzz(options) => fuzz::fuzz(&options),
        Command::BuildCost => build_cost::measure(),
        Command::Bench(bench) => bench::run(&bench),
        Command::Crash(options) => crash::run(&options),
        Command::Siege(options) => siege::run(&options),
        Command::Release => release::release(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
