//! `cargo xtask bench`: compares this project's programs with other programs. They run in turns, so
//! that other load on the machine affects all of them equally. Each result is a median over rounds.
//! Only ratios are meaningful.

mod case;
mod contention;
mod data;
mod explain;
mod gemm;
mod infer;
mod measure;
mod report;
mod runner;
mod scaling;
mod serve;
mod startup;
mod statistics;
mod train;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use case::{Case, select};
use report::{Report, Row, Table};

#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Whole training steps, against PyTorch eager and compiled
    Train(Options),
    /// Inference, against onnxruntime, OpenVINO, PyTorch, tract and rten
    Infer(Options),
    /// Reading and decoding images, against torchvision's DataLoader; training from disk
    Data(Options),
    /// A new process up to its first prediction, against Python with onnxruntime
    Startup(Options),
    /// The server under load, against FastAPI with onnxruntime; above capacity; its start
    Serve(serve::Serve),
    /// Training steps while another process keeps a core busy
    Contention(Options),
    /// Training steps relative to the machine's own matrix product
    Gemm(Options),
    /// Growth of time and memory with batch, image size, width and threads
    Scaling(Options),
    /// Whether explanations point at digits that lie somewhere on a larger canvas
    Explain(explain::Options),
    /// Print files written by --json as lines of a Markdown table
    Report {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A Python with packages to compare with: torch, torchvision, onnx, onnxscript, onnxruntime,
    /// openvino, fastapi with uvicorn and pillow; missing ones are skipped
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Write the results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the case of this name, or all cases with names that contain it
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// CPU threads of each side
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Number of rounds; results are medians
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

impl Options {
    fn validate(&self) -> Result<()> {
        ensure!(self.rounds > 0, "--rounds must be at least 1");
        ensure!(self.threads > 0, "--threads must be at least 1");
        Ok(())
    }

    /// The command with which others can repeat the measurement.
    fn command(&self, bench: &str) -> String {
        let mut words = format!("cargo xtask bench {bench}");
        if self.python.is_some() {
            words += " --python PYTHON";
        }
        if let Some(case) = &self.case {
            words += &format!(" --case {case}");
        }
        words + &format!(" --threads {} --rounds {}", self.threads, self.rounds)
    }
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Train(options) => compare("train", options, train::cases(options)?),
        Bench::Infer(options) => compare("infer", options, infer::cases(options)?),
        Bench::Data(options) => compare("data", options, data::cases(options)?),
        Bench::Startup(options) => compare("startup", options, startup::cases(options)?),
        Bench::Serve(options) => serve::run(options),
        Bench::Contention(options) => compare("contention", options, contention::cases(options)?),
        Bench::Gemm(options) => compare("gemm", options, gemm::cases(options)?),
        Bench::Scaling(options) => scaling::run(options),
        Bench::Explain(options) => explain::measure(options),
        Bench::Report { files } => report::print(files),
    }
}

/// Measures the chosen cases in order.
fn compare(bench: &str, options: &Options, cases: Vec<Case>) -> Result<()> {
    let rows = |case: &Case| {
        Ok(vec![measure::measure(
            case,
            options.threads,
            options.rounds,
        )?])
    };
    each(bench, options, cases, rows)
}

/// Measures the selected cases. Prints each row at once, and writes all rows to the file.
fn each(
    bench: &str,
    options: &Options,
    cases: Vec<Case>,
    rows: impl Fn(&Case) -> Result<Vec<Row>>,
) -> Result<()> {
    options.validate()?;
    let mut report = Report {
        bench: bench.to_owned(),
        command: options.command(bench),
        machine: report::machine(),
        threads: options.threads,
        rounds: options.rounds,
        results: Vec::new(),
    };
    let mut table = Table::default();
    for case in select(cases, options.case.as_deref())? {
        for row in rows(&case)? {
            println!("{}", table.lines(&row));
            report.results.push(row);
        }
        // If a later case fails, the results so far are kept.
        if let Some(path) = &options.json {
            report.write(path)?;
        }
    }
    println!(
        "medians of {} rounds, {} threads; {}",
        options.rounds, options.threads, report.machine
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            python: Some("/somewhere/python".into()),
            json: None,
            case: Some("large-32".to_owned()),
            threads: 2,
            rounds: 3,
        }
    }

    #[test]
    fn the_command_omits_machine_specific_options() {
        assert_eq!(
            options().command("train"),
            "cargo xtask bench train --python PYTHON --case large-32 --threads 2 --rounds 3"
        );
    }

    #[test]
    fn threads_and_rounds_must_be_at_least_one() {
        for (threads, rounds) in [(0, 1), (1, 0)] {
            let options = Options {
                threads,
                rounds,
                ..options()
            };
            assert!(compare("x", &options, vec![]).is_err());
        }
    }
}
