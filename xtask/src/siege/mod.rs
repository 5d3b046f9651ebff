//! `cargo xtask siege`: attacks a server as strangers would, and sends it signals under load. After each attack the
//! server must live, answer an honest request, and have used little memory.

mod bodies;
mod client;
mod idle;
mod mutator;
mod picture;
mod signals;
mod slow;
mod strange;
mod target;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::programs::classify;
use crate::shell::target_dir;
use target::{Report, Target};

/// The most resident memory in megabytes: the network, the bodies of all requests, and one image for each thread.
const MEMORY: f64 = 700.0;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Weights of a network for digits
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Attack this program instead of building `classify` in release mode
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Minutes of malformed HTTP, such as 5
    #[arg(long, value_name = "N", default_value_t = 0.1)]
    minutes: f64,
    /// Chooses the malformed requests
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only the attacks with names that contain this, such as idle
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "the siege needs Linux: it reads /proc and uses all addresses of 127.0.0.0/8"
    );
    let program = match &options.binary {
        Some(path) => path.clone(),
        None => classify()?,
    };
    let time = Duration::try_from_secs_f64(60.0 * options.minutes);
    let time = time.context("--minutes must not be negative")?;
    let case = options.case.as_deref().unwrap_or_default();
    besiege(&program, &options.weights, time, options.seed, case)
}

/// All attacks in less than a minute.
pub(crate) fn short(program: &Path, weights: &Path) -> Result<()> {
    besiege(program, weights, Duration::from_secs(6), 0, "")
}

fn besiege(program: &Path, weights: &Path, time: Duration, seed: u64, case: &str) -> Result<()> {
    let dir = target_dir()?.join("siege");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut reports = Vec::new();
    let started = Target::start(program, weights, &dir, 1024)?;
    let target = &started;
    let is_chosen = |name: &&str| name.contains(case);
    std::thread::scope(|scope| -> Result<()> {
        // These wait most of the time, so the others go on meanwhile.
        let slow: Vec<_> = slow::ATTACKS
            .into_iter()
            .filter(|(name, _)| is_chosen(name))
            .map(|(name, attack)| scope.spawn(move || target.attacked(name, || attack(target))))
            .collect();
        let others = bodies::ATTACKS.into_iter().chain(strange::ATTACKS);
        for (name, attack) in others.filter(|(name, _)| is_chosen(name)) {
            reports.push(target.attacked(name, || attack(target))?);
        }
        if is_chosen(&mutator::NAME) {
            let attack = || mutator::attack(target, time, seed);
            reports.push(target.attacked(mutator::NAME, attack)?);
        }
        for slow in slow {
            let report = slow.join();
            reports.push(report.map_err(|_| anyhow::anyhow!("an attack panicked"))??);
        }
        Ok(())
    })?;
    if is_chosen(&idle::NAME) {
        reports.push(target.attacked(idle::NAME, || idle::attack(target, idle::MANY))?);
    }
    started.end()?;
    if is_chosen(&idle::FEW_FILES) {
        let target = Target::start(program, weights, &dir, 64)?;
        reports.push(target.attacked(idle::FEW_FILES, || idle::attack(&target, 400))?);
        target.end()?;
    }
    if is_chosen(&signals::TERM) {
        reports.push(signals::ended_under_load(program, weights, &dir)?);
    }
    if is_chosen(&signals::HUP) {
        let target = Target::start(program, weights, &dir, 1024)?;
        reports.push(signals::reloaded_under_load(&target)?);
        target.end()?;
    }
    ensure!(
        !reports.is_empty(),
        "no attack has a name that contains {case:?}"
    );
    print!("{}", table(&reports));
    let failures: Vec<String> = reports.iter().flat_map(Report::failures).collect();
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("the server failed:\n{}", failures.join("\n")),
    }
}

fn table(reports: &[Report]) -> String {
    let mut text = String::from(
        "| attack | answers | honest requests meanwhile | the slowest | peak memory |\n|---|---|---|---|---|\n",
    );
    for report in reports {
        text += &report.row();
    }
    text
}
