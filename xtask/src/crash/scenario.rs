//! One optimizer and precision: an uninterrupted run, and runs that are killed and resumed until they end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::aim::{Aim, End, shoot, signal, wait};
use super::folder::{self, Temporary};
use super::lab::Lab;
use super::table::Tally;
use crate::chance::Chance;

const OPTIMIZERS: [&str; 7] = [
    "sgd",
    "adam",
    "adamw",
    "rmsprop",
    "adabelief",
    "ranger",
    "lion",
];
const PRECISIONS: [&str; 2] = ["f32", "bf16"];

/// How often the state is saved, for one run after the other. The results do not depend on it. In five minutes the
/// whole run is over, so its states are those of epochs.
const SAVE_EVERY: [&str; 6] = ["1 step", "3 steps", "1 step", "5m", "1 step", "3 steps"];

const EPOCHS: usize = 4;
/// The batches of an epoch: 320 images, 16 at a time.
const BATCHES: usize = 20;

/// Everything that a state must preserve: averages, accumulated gradients, random changes of images, dropout, a
/// schedule with a memory, a backbone that is frozen at first.
const SETTINGS: [&str; 20] = [
    "data.image_size=32",
    "data.limit=320",
    "data.val_limit=64",
    "data.validation.stratified=true",
    "data.batch_size=16",
    "data.workers=1",
    "model.width=0.25",
    "train.epochs=4",
    "train.device=cpu",
    "train.freeze_epochs=1",
    "train.accumulate_batches=2",
    "train.clip_gradient_norm=1.0",
    "train.learning_rate=0.001",
    "ema={ decay = 0.9 }",
    "augment.preset=digits",
    "mix.mixup_alpha=0.4",
    "mix.cutmix_alpha=1.0",
    "schedule.type=plateau",
    "schedule.patience=0",
    "schedule.factor=0.5",
];

/// The most signals to one run.
const MOST: u64 = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    optimizer: &'static str,
    precision: &'static str,
    threads: usize,
}

/// All scenarios. Half of them have two threads.
pub(super) fn scenarios() -> impl Iterator<Item = Scenario> {
    let all = PRECISIONS
        .into_iter()
        .flat_map(|precision| OPTIMIZERS.map(|optimizer| (precision, optimizer)));
    all.enumerate()
        .map(|(index, (precision, optimizer))| Scenario {
            optimizer,
            precision,
            threads: 1 + index % 2,
        })
}

/// Whether this processor has the instructions for training in bf16.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn has_bf16() -> bool {
    false
}

/// The end of a run without signals.
struct Reference {
    results: BTreeMap<String, Vec<u8>>,
    time: Duration,
}

impl Scenario {
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.optimizer, self.precision)
    }

    pub(super) fn needs_bf16(&self) -> bool {
        self.precision == "bf16"
    }

    fn settings(&self, lab: &Lab, save_every: &str) -> Result<Vec<String>> {
        let own = [
            format!("optimizer.type={}", self.optimizer),
            format!("train.precision={}", self.precision),
            format!("train.threads={}", self.threads),
            format!("train.save_every={save_every}"),
        ];
        let shared = SETTINGS.map(str::to_owned);
        Ok(lab.digits()?.into_iter().chain(shared).chain(own).collect())
    }

    /// Kills until there were enough kills. Returns the counts and the failures.
    pub(super) fn run(
        &self,
        lab: &Lab,
        kills: usize,
        chance: &mut Chance,
    ) -> Result<(Tally, Vec<String>)> {
        let reference = self.reference(lab)?;
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        let mut save_every = SAVE_EVERY.iter().cycle();
        while tally.kills < kills {
            ensure!(
                tally.runs < 10 * kills,
                "{}: most runs end before they are killed",
                self.name()
            );
            let save_every = save_every.next().copied().unwrap_or_default();
            let most = chance.within(2..MOST + 1).min((kills - tally.kills) as u64);
            if save_every != "1 step" {
                lab.forget_decoded();
            }
            let attempt = Attempt {
                lab,
                dir: lab.path(&format!("{}-{}", self.name(), tally.runs)),
                settings: self.settings(lab, save_every)?,
                reference: &reference,
            };
            tally.runs += 1;
            match attempt.run(most, chance, &mut tally) {
                Ok(()) => {
                    tally.equal += 1;
                    fs::remove_dir_all(&attempt.dir)?;
                }
                Err(error) => failures.push(format!(
                    "{}: {error:#}\nthe last lines of its output:\n{}",
                    attempt.dir.display(),
                    lab.last_words()
                )),
            }
            ensure!(
                failures.len() < 3,
                "too many failures:\n{}",
                failures.join("\n\n")
            );
        }
        eprintln!(
            "{}: {} kills, {} of {} runs equal",
            self.name(),
            tally.kills,
            tally.equal,
            tally.runs
        );
        Ok((tally, failures))
    }

    /// The end of a run without signals, which also unpacks the images.
    fn reference(&self, lab: &Lab) -> Result<Reference> {
        let run = lab.path("reference");
        let settings = self.settings(lab, SAVE_EVERY[0])?;
        let mut time = Duration::ZERO;
        for _ in 0..2 {
            // The second run finds the images unpacked, so its time is that of later runs.
            if run.exists() {
                fs::remove_dir_all(&run)?;
            }
            let start = Instant::now();
            let status = wait(lab.start(&run, &settings)?)?;
            time = start.elapsed();
            ensure!(
                status.success(),
                "{}: {status}\n{}",
                self.name(),
                lab.last_words()
            );
        }
        let results = folder::results(&run)?;
        let weights = results
            .keys()
            .filter(|name| !name.contains('/') && name.ends_with(".safetensors"));
        ensure!(
            weights.count() == 2,
            "expected weights and their average among {:?}",
            results.keys()
        );
        fs::remove_dir_all(&run)?;
        Ok(Reference { results, time })
    }
}

/// A run that gets signals.
struct Attempt<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    settings: Vec<String>,
    reference: &'a Reference,
}

impl Attempt<'_> {
    /// Sends up to `most` signals, then none until the run ends. Fails if it does not end as the reference did.
    fn run(&self, most: u64, chance: &mut Chance, tally: &mut Tally) -> Result<()> {
        let dir = self.dir.as_path();
        let mut checked = BTreeSet::new();
        for _ in 0..most {
            let before = folder::temporaries(dir);
            let aim = Aim::choose(chance, rest(dir, self.reference.time));
            let end = shoot(self.start()?, &aim, dir)?;
            check_output(self.lab)?;
            for (_, state) in folder::states(dir) {
                if checked.insert(state.clone()) {
                    folder::check_state(&state)?;
                    tally.states += 1;
                }
            }
            match end {
                End::Killed => {
                    tally.kills += 1;
                    classify(dir, &before, tally);
                }
                // SIGTERM came before the program listened for it, or was obeyed.
                End::Exited(status) if aim.is_gentle && was_asked(status) => tally.gentle += 1,
                End::Exited(status) => return self.compare(status),
            }
        }
        let status = wait(self.start()?)?;
        check_output(self.lab)?;
        self.compare(status)
    }

    fn start(&self) -> Result<Child> {
        self.lab.start(&self.dir, &self.settings)
    }

    fn compare(&self, status: ExitStatus) -> Result<()> {
        ensure!(status.success(), "it failed on its own: {status}");
        folder::compare(&folder::results(&self.dir)?, &self.reference.results)
    }
}

/// Whether a process ended because of SIGTERM.
fn was_asked(status: ExitStatus) -> bool {
    const SIGTERM: i32 = 15;
    status.code() == Some(130) || signal(status) == Some(SIGTERM)
}

/// The time that a run still needs, from its newest state.
fn rest(run: &Path, whole: Duration) -> Duration {
    let states = folder::states(run);
    let done = states
        .last()
        .map_or(0, |((epoch, batch), _)| (epoch - 1) * BATCHES + batch);
    let all = EPOCHS * BATCHES;
    // A fifth of the time is the program's start and end.
    whole.mul_f64(0.2 + 0.8 * all.saturating_sub(done) as f64 / all as f64)
}

/// Fails if a process said that a state is damaged, or panicked.
fn check_output(lab: &Lab) -> Result<()> {
    let text = lab.stderr();
    for sign in ["cannot be used", "panicked", "damaged"] {
        if text.contains(sign) {
            bail!("a process wrote {sign:?}");
        }
    }
    Ok(())
}

/// Counts a kill by the files that it left.
fn classify(run: &Path, before: &[(String, Temporary)], tally: &mut Tally) {
    let left = folder::temporaries(run);
    // Those of a process before this one stay until the next start removes them.
    let fresh = left.iter().filter(|temporary| !before.contains(temporary));
    let kinds: Vec<Temporary> = fresh.map(|(_, kind)| *kind).collect();
    let has_state = !folder::states(run).is_empty();
    match (kinds.contains(&Temporary::State), has_state) {
        (true, _) => tally.inside += 1,
        (false, true) => tally.after += 1,
        (false, false) => tally.before += 1,
    }
    tally.with_state += usize::from(has_state);
    tally.weights += usize::from(kinds.contains(&Temporary::Weights));
}
