//! Runs the sides of a case in turns, so that other load on the machine affects all sides equally.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::case::{Amount, Case, Side, Task, Unit};
use super::report::{Figure, Row};
use super::runner::Runner;
use super::statistics::median;

/// Approximate time that a side runs in one round.
const ROUND_SECONDS: f64 = 1.0;
const MAX_STEPS: f64 = 500.0;

/// A side that has been started.
enum Contestant {
    Stepping {
        runner: Runner,
        steps: usize,
        /// The amount of work in a step, in the unit of the case.
        amount: f64,
        neighbour: bool,
    },
    Process(Command),
}

impl Contestant {
    fn new(task: Task, threads: usize) -> Result<Self> {
        Ok(match task {
            Task::Process(mut command) => {
                // The first run loads files into the page cache and is not measured.
                launch(&mut command)?;
                Contestant::Process(command)
            }
            Task::Steps {
                command,
                amount,
                neighbour,
            } => {
                let mut runner = Runner::start(command)?;
                let amount = match amount {
                    Amount::Known(amount) => amount,
                    Amount::Asked(question, times) => runner.ask(question)? * times,
                };
                // The first step allocates memory and selects kernels. The time of the second step determines how many
                // steps a round has.
                runner.steps(1)?;
                let steps = ROUND_SECONDS / runner.steps(1)?;
                let steps = steps.clamp(1.0, MAX_STEPS) as usize;
                Contestant::Stepping {
                    runner,
                    // A multiple of the number of threads, for programs that run one batch per thread.
                    steps: steps.next_multiple_of(threads),
                    amount,
                    neighbour,
                }
            }
        })
    }

    /// Runs one round of this side and returns the result.
    fn turn(&mut self, unit: Unit) -> Result<f64> {
        match self {
            Contestant::Process(command) => launch(command),
            Contestant::Stepping {
                runner,
                steps,
                amount,
                neighbour,
            } => {
                let seconds = match neighbour {
                    true => beside_a_busy_thread(|| runner.steps(*steps)),
                    false => runner.steps(*steps),
                }?;
                Ok(match unit {
                    Unit::ImagesPerSecond | Unit::GigaflopsPerSecond => {
                        *amount * *steps as f64 / seconds
                    }
                    Unit::Milliseconds => 1e3 * seconds / *steps as f64,
                    Unit::Seconds => seconds,
                    Unit::Megabytes => runner.peak_megabytes()?,
                    Unit::RequestsPerSecond
                    | Unit::MedianMilliseconds
                    | Unit::SlowMilliseconds
                    | Unit::ProportionalMegabytes => {
                        bail!("{} is a figure of servers, not of steps", unit.name())
                    }
                })
            }
        }
    }

    /// Ends the side. Returns its peak memory if the system reports it.
    fn finish(self) -> Result<Option<f64>> {
        match self {
            Contestant::Process(_) => Ok(None),
            Contestant::Stepping { runner, .. } => {
                let peak = runner.peak_megabytes().ok();
                runner.quit()?;
                Ok(peak)
            }
        }
    }
}

/// Runs all sides of a case in turns, for `rounds` rounds. Returns the medians.
pub(super) fn measure(case: &Case, threads: usize, rounds: usize) -> Result<Row> {
    // Peak memory does not change from round to round.
    let rounds = if case.unit == Unit::Megabytes {
        1
    } else {
        rounds
    };
    let mut sides = Vec::new();
    for Side {
        name,
        task,
        required,
    } in (case.sides)(&case.work)?
    {
        let contestant = match Contestant::new(task, threads) {
            Ok(contestant) => Some(contestant),
            Err(error) if required => return Err(error.context(format!("{}: {name}", case.name))),
            Err(error) => {
                eprintln!("{}: {name} is skipped: {error:#}", case.name);
                None
            }
        };
        sides.push((name, contestant, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, contestant, figures) in &mut sides {
            if let Some(contestant) = contestant {
                figures.push(contestant.turn(case.unit)?);
            }
        }
    }
    let mut figures = Vec::new();
    for (side, contestant, values) in sides {
        figures.push(Figure {
            side,
            value: median(values),
            peak_megabytes: contestant.map(Contestant::finish).transpose()?.flatten(),
        });
    }
    Ok(Row::new(case, figures))
}

/// Runs a process to its end and returns the time in seconds.
fn launch(command: &mut Command) -> Result<f64> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(seconds)
}

/// Runs `work` while a thread of this process computes without a pause.
fn beside_a_busy_thread<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::bench::case::Work;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A runner that reports this many seconds for any number of steps, and answers `cost` with 100.
    fn fake(seconds: &str) -> Command {
        sh(&format!(
            "echo ready; while read word steps; do case $word in run) echo {seconds};; cost) echo 100;; *) exit 0;; esac; done"
        ))
    }

    fn case<'a>(unit: Unit, sides: impl Fn(&Work) -> Result<Vec<Side>> + 'a) -> Case<'a> {
        Case::new("a", unit, Work::new("small", 32, 128), sides)
    }

    #[test]
    fn sides_take_turns_and_the_ratio_is_the_first_over_the_best_other() {
        let case = case(Unit::ImagesPerSecond, |_| {
            Ok(vec![
                Side::steps("ours", fake("0.5"), 128.0).required(),
                Side::steps("torch", fake("0.25"), 128.0),
                Side::steps("torch_compile", fake("0.5"), 128.0),
                Side::steps("absent", sh("exit 1"), 128.0),
            ])
        });
        // In a round of one second, one runner takes 2 steps and the other takes 4.
        let row = measure(&case, 2, 3).unwrap();
        let values: Vec<_> = row.figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, [Some(512.0), Some(2048.0), Some(512.0), None]);
        assert_eq!(row.ratio, Some(0.25));
        // With 4 threads, each runner takes a multiple of 4 steps.
        let row = measure(&case, 4, 1).unwrap();
        assert_eq!(row.figures[0].value, Some(1024.0));
    }

    #[test]
    fn a_runner_may_know_the_amount_itself() {
        let case = case(Unit::GigaflopsPerSecond, |_| {
            let task = |neighbour| Task::Steps {
                command: fake("0.5"),
                amount: Amount::Asked("cost", 3.0),
                neighbour,
            };
            let side = |name: &str, neighbour| Side {
                name: name.to_owned(),
                task: task(neighbour),
                required: true,
            };
            Ok(vec![side("idle", false), side("busy", true)])
        });
        let row = measure(&case, 1, 1).unwrap();
        assert_eq!(row.figures[0].value, Some(1200.0));
        assert_eq!(row.ratio, Some(1.0));
    }

    #[test]
    fn less_is_better_for_times() {
        let case = case(Unit::Milliseconds, |_| {
            Ok(vec![
                Side::steps("ours", fake("0.5"), 1.0),
                Side::steps("a", fake("1"), 1.0),
                Side::steps("b", fake("2"), 1.0),
            ])
        });
        let row = measure(&case, 1, 1).unwrap();
        assert_eq!(row.figures[0].value, Some(250.0));
        assert_eq!(row.ratio, Some(0.25));
    }

    #[test]
    fn whole_processes_are_timed_and_must_succeed() {
        let side = |script: &str| Side {
            name: "ours".to_owned(),
            task: Task::Process(sh(script)),
            required: true,
        };
        let row = measure(&case(Unit::Seconds, |_| Ok(vec![side("exit 0")])), 1, 1).unwrap();
        assert!(row.figures[0].value.unwrap() > 0.0);
        assert_eq!((row.ratio, row.figures[0].peak_megabytes), (None, None));
        let failed = measure(&case(Unit::Seconds, |_| Ok(vec![side("exit 3")])), 1, 1);
        let error = format!("{:#}", failed.err().unwrap());
        assert!(error.contains("a: ours") && error.contains('3'), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_the_systems_figure() {
        let case = case(Unit::Megabytes, |_| {
            Ok(vec![Side::steps("ours", fake("0.5"), 1.0)])
        });
        let row = measure(&case, 1, 9).unwrap();
        let (value, peak) = (row.figures[0].value.unwrap(), row.figures[0].peak_megabytes);
        assert!(value > 0.1 && value < 1000.0, "{value}");
        assert!(peak.unwrap() >= value);
    }
}
