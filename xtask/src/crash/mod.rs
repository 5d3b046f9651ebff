//! `cargo xtask crash`: kills training runs at any moment, resumes them, and compares their ends with those of runs
//! that nobody killed. The idea is SQLite's: a run that was killed with SIGKILL anywhere, as often as one likes, must
//! end with the same bytes.

mod aim;
mod folder;
mod full_disk;
mod lab;
mod scenario;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::chance::Chance;
use crate::programs::classify;
use crate::shell::target_dir;
use lab::Lab;
use scenario::{Scenario, has_bf16, scenarios};
use table::Table;

/// The fewest kills of a scenario.
const FEWEST: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of kills, divided among the optimizers and precisions; at least 10 for each of them
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Use this program instead of building `classify` in release mode
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Chooses the moments of the kills
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only the scenarios with names that contain this, such as adam-bf16
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Train on a full disk instead: a tmpfs of 8 MB, which needs root on Linux
    #[arg(long)]
    full_disk: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        cfg!(unix),
        "the crash test needs a Unix system: it sends SIGKILL"
    );
    if options.full_disk {
        full_disk::check_root()?;
    }
    let program = match &options.binary {
        Some(path) => path.canonicalize(),
        None => Ok(classify()?),
    };
    let program = program.context("cannot find the program of --binary")?;
    let dir = target_dir()?.join("crash");
    let lab = Lab::new(&dir, &program)?;
    let failures = match options.full_disk {
        true => full_disk::run(&lab)?,
        false => kill(options, &lab)?,
    };
    if failures.is_empty() {
        return lab.remove();
    }
    for failure in &failures {
        eprintln!("{failure}\n");
    }
    bail!(
        "{} failures; the runs' folders are in {}",
        failures.len(),
        dir.display()
    );
}

/// Runs every scenario and prints the table. Returns the failures.
fn kill(options: &Options, lab: &Lab) -> Result<Vec<String>> {
    let chosen = |scenario: &Scenario| {
        let case = options.case.as_deref();
        case.is_none_or(|case| scenario.name().contains(case))
    };
    let chosen: Vec<Scenario> = scenarios().filter(chosen).collect();
    ensure!(
        !chosen.is_empty(),
        "no scenario has a name that contains --case"
    );
    let kills = options.kills.div_ceil(chosen.len()).max(FEWEST);
    let mut chance = Chance::new(options.seed);
    let (mut table, mut failures) = (Table::default(), Vec::new());
    for scenario in chosen {
        if scenario.needs_bf16() && !has_bf16() {
            table.not_run(&scenario, "this processor lacks AVX-512 BF16");
            continue;
        }
        let (tally, failed) = scenario.run(lab, kills, &mut chance)?;
        table.add(&scenario, tally);
        failures.extend(failed);
    }
    print!("{}", table.text());
    Ok(failures)
}
