//! The benchmarks whose results are rows of a table.

use anyhow::Result;

use super::case::Case;
use super::report::Row;
use super::{Options, contention, data, gemm, infer, measure, scaling, serve, startup, train};

/// Measures a case.
type Rows<'a> = Box<dyn Fn(&Case) -> Result<Vec<Row>> + 'a>;

/// A benchmark whose programs are built.
pub(super) struct Benchmark<'a> {
    pub(super) cases: Vec<Case<'a>>,
    pub(super) rows: Rows<'a>,
}

impl<'a> Benchmark<'a> {
    /// A benchmark whose cases are one row each: the sides run in turns.
    fn compared(options: &'a Options, cases: Vec<Case<'a>>) -> Self {
        let rows = |case: &Case| {
            let row = measure::measure(case, options.threads, options.rounds)?;
            Ok(vec![row])
        };
        Self {
            cases,
            rows: Box::new(rows),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Train,
    Infer,
    Data,
    Startup,
    Contention,
    Gemm,
    Scaling,
    Serve,
}

impl Kind {
    pub(super) const ALL: [Kind; 8] = [
        Kind::Train,
        Kind::Infer,
        Kind::Data,
        Kind::Startup,
        Kind::Contention,
        Kind::Gemm,
        Kind::Scaling,
        Kind::Serve,
    ];

    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Train => "train",
            Kind::Infer => "infer",
            Kind::Data => "data",
            Kind::Startup => "startup",
            Kind::Contention => "contention",
            Kind::Gemm => "gemm",
            Kind::Scaling => "scaling",
            Kind::Serve => "serve",
        }
    }

    /// Builds the programs. `seconds` is the time of a server's load in each round.
    pub(super) fn prepare(self, options: &Options, seconds: u64) -> Result<Benchmark<'_>> {
        let cases = match self {
            Kind::Train => train::cases(options)?,
            Kind::Infer => infer::cases(options)?,
            Kind::Data => data::cases(options)?,
            Kind::Startup => startup::cases(options)?,
            Kind::Contention => contention::cases(options)?,
            Kind::Gemm => gemm::cases(options)?,
            Kind::Scaling => return scaling::benchmark(options),
            Kind::Serve => return serve::benchmark(options, seconds),
        };
        Ok(Benchmark::compared(options, cases))
    }

    /// The command that repeats a row.
    pub(super) fn command(self, options: &Options, case: &str, seconds: u64) -> String {
        let command = options.command(self.name(), case);
        match self {
            Kind::Serve => format!("{command} --seconds {seconds}"),
            _ => command,
        }
    }

    /// About how many seconds a case takes with all peers on two cores, builds and downloads aside.
    pub(super) fn estimate(self, rounds: usize, seconds: u64) -> f64 {
        let (start, round) = match self {
            // torch.compile takes most of the start. A round has at least as many steps as threads, and a step of
            // ResNet-50 takes three seconds.
            Kind::Train => (35.0, 3.5),
            Kind::Infer => (12.0, 4.0),
            Kind::Data => (20.0, 2.6),
            Kind::Startup => (5.0, 0.4),
            Kind::Contention => (6.0, 2.2),
            Kind::Gemm => (4.0, 2.2),
            Kind::Scaling => (10.0, 8.0),
            Kind::Serve => (10.0, 2.0 * (0.5 + seconds as f64)),
        };
        start + round * rounds as f64
    }
}
