//! `cargo xtask bench all`: every benchmark, into one file. Rows that the file has from the same
//! commit, machine, settings and peers are not measured again.

use anyhow::{Result, bail};

use super::case::{Case, chosen};
use super::kind::{Benchmark, Kind};
use super::machine::Machine;
use super::page::FOLDER;
use super::provenance::Run;
use super::record::Record;
use super::report::{Row, Table};
use super::session::{Session, measured};
use super::{Options, serve};
use crate::shell::root;

#[derive(clap::Args)]
pub(crate) struct All {
    /// The default of --json is docs/performance/PROCESSOR.json. A case's name is BENCHMARK/CASE
    #[command(flatten)]
    options: Options,
    /// Seconds of load for each server in each round
    #[arg(long, default_value_t = serve::SECONDS)]
    seconds: u64,
    /// Measure rows again that the file has already
    #[arg(long)]
    again: bool,
}

/// A benchmark and the name of its case.
type Key = (Kind, String);

pub(super) fn run(all: &All) -> Result<()> {
    let options = &all.options;
    options.validate()?;
    let machine = Machine::detect();
    let path = match &options.json {
        Some(path) => path.clone(),
        None => (root()?.join(FOLDER)).join(machine.short_name() + ".json"),
    };
    println!("machine: {machine}\nfile: {}", path.display());
    let mut session = Session::open(path, machine, options)?;
    println!("{}\n{}", session.run.origin(), peers(&session.run, options));
    if options.python.is_none() && !all.again && session.record.has_ratios() {
        bail!(
            "the file has rows with peers; give --python for new ones, or --again to replace them"
        );
    }

    let mut benchmarks = Vec::new();
    for kind in Kind::ALL {
        benchmarks.push((kind, kind.prepare(options, all.seconds)?));
    }
    let keys = keys(&benchmarks);
    session.record.sort(&keys);
    let unknown = session.record.without_case(&keys);
    if !unknown.is_empty() {
        println!(
            "rows of cases that no longer exist, to be removed by hand: {}",
            unknown.join(", ")
        );
    }
    let names: Vec<_> = keys.iter().map(name).collect();
    let chosen = chosen(&names, options.case.as_deref())?;
    let mut due = match all.again {
        true => keys
            .into_iter()
            .filter(|key| chosen.contains(&name(key)))
            .collect(),
        false => all.due(&keys, &chosen, &session.record, &session.run),
    };
    println!(
        "cases to measure: {} of {}, about {} minutes; --again measures those in the file too",
        due.len(),
        chosen.len(),
        all.minutes(&due)
    );
    let mut table = Table::default();
    let mut outcome = Outcome::default();
    for (kind, benchmark) in &benchmarks {
        for case in &benchmark.cases {
            let key = (*kind, case.name.clone());
            if !due.contains(&key) {
                continue;
            }
            let (count, minutes) = (due.len(), all.minutes(&due));
            println!(
                "{}; cases left: {count}, about {minutes} minutes",
                name(&key)
            );
            due.retain(|other| *other != key);
            let command = all.command(&key);
            let rows = measured(benchmark, case, &mut table);
            let kept = rows.and_then(|rows| {
                let sides = rows.iter().flat_map(Row::absent);
                let sides = sides.map(ToOwned::to_owned).collect();
                session.keep(*kind, rows, &command)?;
                Ok(sides)
            });
            outcome.add(&name(&key), kept);
        }
    }
    outcome.end()
}

impl All {
    /// About how many minutes these cases take.
    fn minutes(&self, due: &[Key]) -> u64 {
        let seconds = |(kind, _): &Key| kind.estimate(self.options.rounds, self.seconds);
        (due.iter().map(seconds).sum::<f64>() / 60.0).ceil() as u64
    }

    /// The command that measures a case.
    fn command(&self, (kind, case): &Key) -> String {
        kind.command(&self.options, case, self.seconds)
    }

    /// The chosen cases that the file lacks.
    fn due(&self, keys: &[Key], chosen: &[String], record: &Record, run: &Run) -> Vec<Key> {
        let is_due = |key: &&Key| {
            let command = self.command(key);
            chosen.contains(&name(key)) && !record.has(run, key.0, &key.1, &command)
        };
        keys.iter().filter(is_due).cloned().collect()
    }
}

/// Which peers there are.
fn peers(run: &Run, options: &Options) -> String {
    let missing = run.missing();
    match (&options.python, missing.as_slice()) {
        (None, _) => {
            "without --python, no peer in Python and no ONNX file: most rows have no ratio"
                .to_owned()
        }
        (Some(_), []) => "all peers are installed".to_owned(),
        (Some(python), missing) => format!(
            "not installed for {}: {}; their sides are not run",
            python.display(),
            missing.join(", ")
        ),
    }
}

fn name((kind, case): &Key) -> String {
    format!("{}/{case}", kind.name())
}

fn keys(benchmarks: &[(Kind, Benchmark)]) -> Vec<Key> {
    let of = |(kind, benchmark): &(Kind, Benchmark)| -> Vec<Key> {
        let key = |case: &Case| (*kind, case.name.clone());
        benchmark.cases.iter().map(key).collect()
    };
    benchmarks.iter().flat_map(of).collect()
}

/// What did not run.
#[derive(Default)]
struct Outcome {
    absent: Vec<String>,
    failures: Vec<String>,
}

impl Outcome {
    /// A case that fails does not end the run, which takes hours.
    fn add(&mut self, name: &str, sides: Result<Vec<String>>) {
        match sides {
            Ok(sides) => self
                .absent
                .extend(sides.iter().map(|side| format!("{name}: {side}"))),
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                self.failures.push(name.to_owned());
            }
        }
    }

    fn end(&self) -> Result<()> {
        if !self.absent.is_empty() {
            println!("not run:\n  {}", self.absent.join("\n  "));
        }
        if !self.failures.is_empty() {
            bail!(
                "failed: {}; run the command again for them",
                self.failures.join(", ")
            );
        }
        println!("`cargo xtask bench report --update` writes the tables of docs/performance.md");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tables::tests::FILE;

    #[test]
    fn rows_in_the_file_are_not_due_again() {
        let record = Record::parse(FILE).unwrap();
        let all = All {
            options: Options {
                python: None,
                json: None,
                case: None,
                threads: 2,
                rounds: 9,
            },
            seconds: serve::SECONDS,
            again: false,
        };
        let keys = [
            (Kind::Train, "large-224"),
            (Kind::Startup, "small-32"),
            (Kind::Scaling, "threads"),
            (Kind::Scaling, "width"),
        ]
        .map(|(kind, case)| (kind, case.to_owned()));
        let names: Vec<_> = keys.iter().map(name).collect();
        // The row of train is of an unknown commit.
        let found = all.due(&keys, &names, &record, &record.runs[1]);
        assert_eq!(found, [keys[0].clone(), keys[3].clone()]);
        let newer = Run {
            commit: Some("def".to_owned()),
            ..record.runs[1].clone()
        };
        assert_eq!(all.due(&keys, &names, &record, &newer), keys);
        let chosen = chosen(&names, Some("scaling/")).unwrap();
        assert_eq!(
            all.due(&keys, &chosen, &record, &record.runs[1]),
            [keys[3].clone()]
        );
    }

    #[test]
    fn a_failed_case_is_reported_at_the_end() {
        let mut outcome = Outcome::default();
        outcome.add("train/a", Ok(vec!["torch".to_owned()]));
        assert!(outcome.end().is_ok());
        outcome.add("train/b", Err(anyhow::anyhow!("broken")));
        outcome.add("train/c", Ok(vec![]));
        assert_eq!(outcome.absent, ["train/a: torch"]);
        let error = outcome.end().unwrap_err().to_string();
        assert!(
            error.contains("train/b") && !error.contains("train/c"),
            "{error}"
        );
    }
}
