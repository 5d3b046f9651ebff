//! `cargo xtask bench`: compares this project's programs with other programs. They run in turns, so
//! that other load on the machine affects all of them equally. Each result is a median over rounds.
//! Only ratios are meaningful.

mod all;
mod bars;
mod case;
mod contention;
mod data;
mod explain;
mod gemm;
mod infer;
mod kind;
mod machine;
mod measure;
mod page;
mod provenance;
mod record;
mod report;
mod runner;
mod scaling;
mod serve;
mod session;
mod startup;
mod statistics;
mod tables;
mod train;
mod variants;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use kind::Kind;
pub(crate) use page::{PAGE, violations, without_tables};

#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Every benchmark below but explain, into one file: docs/performance/PROCESSOR.json
    All(all::All),
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
    /// Whether explanations point at digits that lie somewhere on a larger canvas. It has no peer and no rows
    Explain(explain::Options),
    /// Print files written by --json as Markdown tables, or write the tables of docs/performance.md
    Report {
        #[arg(required_unless_present = "update", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Write the tables of docs/performance.md from the files in docs/performance/
        #[arg(long, conflicts_with = "files")]
        update: bool,
    },
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A Python with packages to compare with: torch, torchvision, onnx, onnxscript, onnxruntime,
    /// openvino, fastapi with uvicorn and pillow; missing ones are said, and not run
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Write the results to this file. Rows of other cases stay in it
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

    /// The command that repeats a row on another machine.
    fn command(&self, bench: &str, case: &str) -> String {
        let python = match self.python {
            Some(_) => " --python PYTHON",
            None => "",
        };
        format!(
            "cargo xtask bench {bench}{python} --case {case} --threads {} --rounds {}",
            self.threads, self.rounds
        )
    }
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::All(options) => all::run(options),
        Bench::Train(options) => session::alone(Kind::Train, options, 0),
        Bench::Infer(options) => session::alone(Kind::Infer, options, 0),
        Bench::Data(options) => session::alone(Kind::Data, options, 0),
        Bench::Startup(options) => session::alone(Kind::Startup, options, 0),
        Bench::Serve(serve) => session::alone(Kind::Serve, &serve.options, serve.seconds),
        Bench::Contention(options) => session::alone(Kind::Contention, options, 0),
        Bench::Gemm(options) => session::alone(Kind::Gemm, options, 0),
        Bench::Scaling(options) => session::alone(Kind::Scaling, options, 0),
        Bench::Explain(options) => explain::measure(options),
        Bench::Report { update: true, .. } => page::update(),
        Bench::Report { files, .. } => tables::print(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_omits_machine_specific_options() {
        let options = Options {
            python: Some("/somewhere/python".into()),
            json: Some("/somewhere/file".into()),
            case: Some("large".to_owned()),
            threads: 2,
            rounds: 3,
        };
        assert_eq!(
            options.command("train", "large-32"),
            "cargo xtask bench train --python PYTHON --case large-32 --threads 2 --rounds 3"
        );
        for (threads, rounds) in [(0, 1), (1, 0)] {
            let options = Options {
                threads,
                rounds,
                ..without_peers()
            };
            assert!(options.validate().is_err());
        }
        assert!(options.validate().is_ok());
    }

    fn without_peers() -> Options {
        Options {
            python: None,
            json: None,
            case: None,
            threads: 1,
            rounds: 1,
        }
    }
}
