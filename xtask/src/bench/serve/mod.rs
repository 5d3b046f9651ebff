//! Measures the server under load, from this process over loopback: requests per second, times and memory, beside
//! FastAPI with onnxruntime. All servers of a case run at once, and get their load in turns.

mod load;
mod metrics;
mod plan;
mod sides;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Options;
use super::case::{Case, Unit, Work};
use super::kind::Benchmark;
use super::report::{Figure, Row};
use super::runner::Runner;
use super::statistics::{median, percentile};
use crate::programs::{classify_and_example, ours};
use crate::server::{Memory, Server};
use load::{Answers, Load};
use metrics::Totals;
use plan::{Kind, PLANS, Plan};
use sides::{Files, Side};

/// Time of each load before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Seconds of a load, by default.
pub(super) const SECONDS: u64 = 10;
/// The settings of the server above its capacity.
const QUEUE: usize = 64;
const MAX_BATCH: usize = 32;
const MAX_WAIT_MS: f64 = 2.0;

#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(super) options: Options,
    /// Seconds of load for each server in each round
    #[arg(long, default_value_t = SECONDS)]
    pub(super) seconds: u64,
}

pub(super) fn benchmark(options: &Options, seconds: u64) -> Result<Benchmark<'_>> {
    ensure!(seconds > 0, "--seconds must be at least 1");
    let (classify, step) = classify_and_example("trainer", "infer_step")?;
    let bench = Bench {
        classify,
        step,
        python: options.python.as_deref(),
        threads: options.threads,
        rounds: options.rounds,
        duration: Duration::from_secs(seconds),
    };
    let case = |plan: &Plan| {
        let work = Work::new("small", plan.images.size(), MAX_BATCH);
        Case::new(plan.name, Unit::RequestsPerSecond, work, |_| Ok(Vec::new()))
    };
    let rows = move |case: &Case| {
        let plan = PLANS.iter().find(|plan| plan.name == case.name);
        bench.rows(case, plan.context("a case without a plan")?)
    };
    Ok(Benchmark {
        cases: PLANS.iter().map(case).collect(),
        rows: Box::new(rows),
    })
}

/// The programs and settings of a run.
struct Bench<'a> {
    classify: PathBuf,
    /// The runner of the bare forward pass.
    step: PathBuf,
    python: Option<&'a Path>,
    threads: usize,
    rounds: usize,
    duration: Duration,
}

/// A server and its results.
struct Contestant {
    name: String,
    server: Server,
    rounds: Vec<Answers>,
}

impl Contestant {
    /// The median over the rounds of a figure of each.
    fn median(&self, figure: impl Fn(&Answers) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(figure).collect())
    }
}

impl Bench<'_> {
    fn rows(&self, case: &Case, plan: &Plan) -> Result<Vec<Row>> {
        let files = Files::make(&self.classify, plan.images, self.python)?;
        let requests = files.requests(plan.form);
        match plan.kind {
            Kind::Peer | Kind::Fast | Kind::Batching => {
                let sides = self.sides(plan);
                let mut contestants = self.start(&sides, &files, &requests)?;
                self.rounds(&mut contestants, &requests, plan.connections)?;
                load_rows(case, &contestants)
            }
            Kind::Overhead => self.overhead(case, plan, &files, &requests),
            Kind::Overload => self.overload(case, plan, &files, &requests),
            Kind::Start => self.starts(case, plan, &files, &requests),
        }
    }

    fn sides(&self, plan: &Plan) -> Vec<Side> {
        let ours = Side::ours("ours", &[]);
        let peer = self.python.map(Side::peer);
        match plan.kind {
            Kind::Batching => {
                let single = Side::ours("ours_max_batch_1", &["--max-batch", "1"]);
                vec![ours, single]
            }
            Kind::Fast => {
                let fast = Side::ours("ours_fast", &["--decode", "fast"]);
                std::iter::once(fast).chain(peer).collect()
            }
            _ => std::iter::once(ours).chain(peer).collect(),
        }
    }

    fn start(
        &self,
        sides: &[Side],
        files: &Files,
        requests: &[Vec<u8>],
    ) -> Result<Vec<Contestant>> {
        let mut started = Vec::new();
        for side in sides {
            match side.start(&self.classify, files, &requests[0], self.threads) {
                Ok((server, _)) => started.push(Contestant {
                    name: side.name.clone(),
                    server,
                    rounds: Vec::new(),
                }),
                Err(error) if side.is_ours() => return Err(error),
                Err(error) => eprintln!("{} is skipped: {error:#}", side.name),
            }
        }
        Ok(started)
    }

    fn rounds(
        &self,
        contestants: &mut [Contestant],
        requests: &[Vec<u8>],
        connections: usize,
    ) -> Result<()> {
        for _ in 0..self.rounds {
            for contestant in &mut *contestants {
                let load = Load {
                    address: contestant.server.address,
                    requests,
                    connections,
                    warm_up: WARM_UP,
                    duration: self.duration,
                    limit: usize::MAX,
                };
                let answers = load.run()?;
                if let Some(failure) = answers.failures.first() {
                    let count = answers.failures.len();
                    anyhow::bail!("{}: {count} failures; {failure}", contestant.name);
                }
                contestant.rounds.push(answers);
            }
        }
        Ok(())
    }

    /// One client's time, beside the bare forward pass of one image.
    fn overhead(
        &self,
        case: &Case,
        plan: &Plan,
        files: &Files,
        requests: &[Vec<u8>],
    ) -> Result<Vec<Row>> {
        let sides = self.sides(plan);
        let mut contestants = self.start(&sides, files, requests)?;
        let work = Work::new("small", plan.images.size(), 1);
        let command = work.describe_with_precision(ours(&self.step, self.threads), self.threads);
        let mut runner = Runner::start(command)?;
        let mut bare = Vec::new();
        for _ in 0..self.rounds {
            let steps = 2000;
            bare.push(1e3 * runner.steps(steps)? / steps as f64);
        }
        runner.quit()?;
        self.rounds(&mut contestants, requests, 1)?;
        let mut figures = vec![Figure::of("forward_pass", median(bare))];
        for one in &contestants {
            figures.push(Figure::of(
                &one.name,
                one.median(|all| percentile(&all.times, 50.0)),
            ));
        }
        Ok(vec![Row::plain(case, Unit::MedianMilliseconds, figures)])
    }

    /// More clients than the queue has places. Clients wait as long as `Retry-After` says.
    fn overload(
        &self,
        case: &Case,
        plan: &Plan,
        files: &Files,
        requests: &[Vec<u8>],
    ) -> Result<Vec<Row>> {
        let queue = QUEUE.to_string();
        let side = Side::ours("ours", &["--queue", &queue]);
        let mut contestants = self.start(&[side], files, requests)?;
        let before = Totals::of(contestants[0].server.address)?;
        self.rounds(&mut contestants, requests, plan.connections)?;
        let one = &contestants[0];
        let totals = Totals::of(one.server.address)?.since(&before);
        let memory = one.server.memory()?;
        let rate =
            |times: fn(&Answers) -> usize| one.median(|all| Some(times(all) as f64 / all.seconds));
        let share = |all: &Answers| percentile(&all.times, 99.0);
        let limit = limit(&totals, self.threads);
        Ok(vec![
            Row::plain(
                case,
                Unit::RequestsPerSecond,
                vec![
                    Figure::of("answered", rate(|all| all.times.len())),
                    Figure::of("refused", rate(|all| all.refused.len())),
                ],
            ),
            Row::compared(
                case,
                Unit::SlowMilliseconds,
                vec![
                    Figure::of("answered", one.median(share)),
                    Figure::of("limit", limit),
                ],
            ),
            Row::plain(
                case,
                Unit::Megabytes,
                vec![Figure::of("peak", Some(memory.peak))],
            ),
        ])
    }

    /// Starts each server again and again.
    fn starts(
        &self,
        case: &Case,
        plan: &Plan,
        files: &Files,
        requests: &[Vec<u8>],
    ) -> Result<Vec<Row>> {
        let sides = self.sides(plan);
        let mut times = vec![Vec::new(); sides.len()];
        for _ in 0..self.rounds {
            for (side, times) in sides.iter().zip(&mut times) {
                match side.start(&self.classify, files, &requests[0], self.threads) {
                    Ok((_, time)) => times.push(time.as_secs_f64()),
                    Err(error) if side.is_ours() => return Err(error),
                    Err(error) => eprintln!("{} is skipped: {error:#}", side.name),
                }
            }
        }
        let figure = |(side, times): (&Side, Vec<f64>)| Figure::of(&side.name, median(times));
        let figures = sides.iter().zip(times).map(figure).collect();
        Ok(vec![Row::compared(case, Unit::Seconds, figures)])
    }
}

/// The longest time for 99 of 100 answers above capacity, in milliseconds: all batches of a full queue and two more, the
/// wait for others, and decoding the images of the queue.
fn limit(totals: &Totals, decoders: usize) -> Option<f64> {
    let batch = 1e3 * totals.network_seconds / totals.batched_images * MAX_BATCH as f64;
    let decode = 1e3 * totals.decode_seconds / totals.decoded_images;
    let batches = (QUEUE / MAX_BATCH + 2) as f64;
    let limit = batches * batch + MAX_WAIT_MS + decode * QUEUE as f64 / decoders as f64;
    limit.is_finite().then_some(limit)
}

/// Rows of requests per second, times and memory.
fn load_rows(case: &Case, contestants: &[Contestant]) -> Result<Vec<Row>> {
    let memories = contestants.iter().map(|one| one.server.memory());
    let memories: Vec<Memory> = memories.collect::<Result<_>>()?;
    let row = |unit, figure: &dyn Fn(&Contestant, &Memory) -> Option<f64>| {
        let sides = contestants.iter().zip(&memories);
        let figures = sides.map(|(one, memory)| Figure::of(&one.name, figure(one, memory)));
        Row::compared(case, unit, figures.collect())
    };
    let rate = |all: &Answers| Some(all.times.len() as f64 / all.seconds);
    Ok(vec![
        row(Unit::RequestsPerSecond, &|one, _| one.median(rate)),
        row(Unit::MedianMilliseconds, &|one, _| {
            one.median(|all| percentile(&all.times, 50.0))
        }),
        row(Unit::SlowMilliseconds, &|one, _| {
            one.median(|all| percentile(&all.times, 99.0))
        }),
        row(Unit::Megabytes, &|_, memory| Some(memory.peak)),
        row(Unit::ProportionalMegabytes, &|_, memory| {
            Some(memory.proportional)
        }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_batches_the_wait_and_decoding() {
        let totals = Totals {
            decode_seconds: 20.0,
            decoded_images: 1000.0,
            network_seconds: 10.0,
            batched_images: 3200.0,
        };
        // A batch takes 100 ms, an image 20 ms to decode.
        let expected = 4.0 * 100.0 + 2.0 + 20.0 * 64.0 / 2.0;
        let found = limit(&totals, 2).unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}");
        assert_eq!(limit(&Totals::default(), 2), None);
    }
}
