//! Interrupted runs that go on with the same bits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use trainer::config::{CheckpointPolicy, Layer, SaveEvery};
use trainer::{
    CrossValidation, Ending, Event, EventSink, FoldsConfig, MetricsFile, Outcome, RunConfig,
    RunDir, Splits,
};

use crate::scene::Scene;

/// Sets the flag after a number of events, so the run is interrupted at any place.
struct After<'a> {
    events: usize,
    interrupt: &'a AtomicBool,
}

impl EventSink for After<'_> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        let counts = matches!(
            event,
            Event::BatchDone { .. } | Event::EpochFinished(_) | Event::EpochStarted { .. }
        );
        if counts {
            match self.events.checked_sub(1) {
                Some(left) => self.events = left,
                None => self.interrupt.store(true, Ordering::Relaxed),
            }
        }
        Ok(())
    }
}

/// Runs until the end or until `events` events have happened. Goes on from the folder's state, if there is one.
pub(crate) fn run(config: &RunConfig, dir: &Path, events: usize) -> trainer::Result<Outcome> {
    let run = match dir.join("config.toml").exists() {
        true => RunDir::reopen(dir)?,
        false => RunDir::create(dir)?,
    };
    let interrupt = AtomicBool::new(false);
    let after = After {
        events,
        interrupt: &interrupt,
    };
    let mut sink = (MetricsFile::append(&run.metrics())?, after);
    let splits = Splits::open(config)?;
    trainer::resume(config, &splits, &run, run.state()?, &mut sink, &interrupt)
}

/// The files of a run by name: all weights, and `metrics.jsonl` without times.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".safetensors") {
            found.insert(name, fs::read(&path).unwrap());
        } else if name == "metrics.jsonl" {
            let lines = fs::read_to_string(&path).unwrap();
            found.insert(
                name,
                lines
                    .lines()
                    .map(without_times)
                    .collect::<String>()
                    .into_bytes(),
            );
        }
    }
    found
}

fn without_times(line: &str) -> String {
    let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
    let fields = line.as_object_mut().unwrap();
    for field in ["images_per_second", "seconds", "times"] {
        fields.remove(field).unwrap();
    }
    format!("{line}\n")
}

pub(crate) fn states(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("state")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    paths.sort();
    paths
}

/// Compares a run that is interrupted after every `step` events with one that is not.
fn compare(scene: &Scene, settings: &str, step: usize) {
    let mut config = scene.config.clone();
    let text = toml::to_string(&config).unwrap();
    let layers = [("scene", text.as_str()), ("test", settings)]
        .map(|(name, text)| Layer::from_toml(text, name).unwrap());
    config = RunConfig::from_layers(&layers).unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| scene.dir.path().join(name));
    for dir in [&whole, &cut] {
        let _ = fs::remove_dir_all(dir);
    }
    let expected = run(&config, &whole, usize::MAX).unwrap();
    let mut processes = 0;
    let found = loop {
        processes += 1;
        let outcome = run(&config, &cut, step).unwrap();
        if outcome.ending != Ending::Interrupted {
            break outcome;
        }
        assert!(processes < 500, "{settings}: the run makes no progress");
    };
    assert!(processes > 2, "{settings}: it was never interrupted");
    assert_eq!(found.ending, expected.ending, "{settings}");
    let epoch = |outcome: &Outcome| outcome.best.as_ref().map(|best| best.epoch);
    assert_eq!(epoch(&found), epoch(&expected), "{settings}");
    let arena = |outcome: &Outcome| {
        outcome
            .network
            .parameters()
            .arena()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    assert!(arena(&found) == arena(&expected), "{settings}");
    let (expected, found) = (files(&whole), files(&cut));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{settings}");
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{settings}: {name} differs");
    }
    // After the end one state is left, from which the run could be made longer.
    assert_eq!(states(&cut).len(), 1);
}

const EVERYTHING: &str = "
    train = { epochs = 4, freeze_epochs = 1, patience = 3, accumulate_batches = 2, clip_gradient_norm = 1.0, checkpoints = 'every_epoch', monitor = 'val_loss' }
    ema = { decay = 0.9 }
    augment.preset = 'digits'
    mix = { mixup_alpha = 0.4, cutmix_alpha = 1.0 }
    schedule = { type = 'plateau', patience = 0, factor = 0.5 }
    loss.label_smoothing = 0.1
";

#[test]
fn a_run_that_is_interrupted_after_every_batch_ends_with_the_same_bits() {
    let scene = Scene::new();
    compare(&scene, EVERYTHING, 1);
    compare(&scene, EVERYTHING, 4);
}

#[test]
fn every_optimizer_and_schedule_goes_on() {
    let scene = Scene::new();
    for optimizer in [
        "sgd",
        "adam",
        "adamw",
        "rmsprop",
        "adabelief",
        "ranger",
        "lion",
    ] {
        compare(
            &scene,
            &format!("optimizer.type = '{optimizer}'\nema = true"),
            3,
        );
    }
    for schedule in [
        "'one_cycle'",
        "'cosine'",
        "'sgdr'\nschedule.t_0 = 2",
        "'step'\nschedule.step_size = 1",
    ] {
        compare(
            &scene,
            &format!("schedule.type = {schedule}\nwarmup = {{ steps = 2 }}"),
            3,
        );
    }
}

#[test]
fn frozen_features_early_stopping_and_half_batches_go_on() {
    let scene = Scene::new();
    compare(
        &scene,
        "train = { freeze_epochs = 2, drop_last = false }",
        2,
    );
    compare(
        &scene,
        "train = { epochs = 9, patience = 1, learning_rate = 1e-9 }",
        3,
    );
}

#[test]
fn unreadable_images_are_counted_on() {
    let scene = Scene::new();
    let image = fs::read_dir(scene.root().join("train/0"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::write(image.path(), "no image").unwrap();
    compare(
        &scene,
        "data.on_bad_image = 'skip'\ndata.bad_image_limit = 0.5",
        3,
    );
}

#[test]
fn a_finished_run_can_be_made_longer() {
    let scene = Scene::new();
    let mut long = scene.config.clone();
    long.train.epochs = 5;
    let [whole, dir] = ["whole", "run"].map(|name| scene.dir.path().join(name));
    run(&long, &whole, usize::MAX).unwrap();
    let first = run(&scene.config, &dir, usize::MAX).unwrap();
    // Going on with a finished run trains nothing.
    let again = run(&scene.config, &dir, usize::MAX).unwrap();
    assert_eq!(again.epochs, first.epochs);
    let later = run(&long, &dir, usize::MAX).unwrap();
    assert_eq!((later.ending, later.epochs.len()), (Ending::Completed, 5));
    assert_eq!(files(&dir), files(&whole));
}

#[test]
fn weights_that_are_written_again_are_replaced_later() {
    let scene = Scene::new();
    let mut config = scene.config.clone();
    config.train.save_every = SaveEvery::Steps(1);
    let [whole, dir] = ["whole", "run"].map(|name| scene.dir.path().join(name));
    run(&config, &whole, usize::MAX).unwrap();
    // A process that was killed right after a better epoch has removed the best weights of its last state.
    let first = run(&config, &dir, 10).unwrap();
    let best = first.best.unwrap();
    assert_eq!((best.epoch, first.ending), (1, Ending::Interrupted));
    fs::remove_file(&best.weights).unwrap();
    // The next one is interrupted before that epoch, and writes them again.
    assert_eq!(run(&config, &dir, 0).unwrap().ending, Ending::Interrupted);
    assert!(best.weights.is_file());
    let last = run(&config, &dir, usize::MAX).unwrap();
    assert!(last.best.unwrap().epoch > 1);
    assert_eq!(files(&dir), files(&whole));
}

#[test]
fn weights_of_an_epoch_that_is_trained_again_with_other_bits_are_replaced() {
    let scene = Scene::new();
    let mut config = scene.config.clone();
    config.train.checkpoints = CheckpointPolicy::EveryEpoch;
    let [whole, dir] = ["whole", "run"].map(|name| scene.dir.path().join(name));
    run(&config, &whole, usize::MAX).unwrap();
    run(&config, &dir, 9).unwrap();
    // Another processor was killed after it wrote the weights of epoch 2 and before it saved the state.
    fs::write(dir.join("mobilenet_v3_small_e2_0.12345.safetensors"), "").unwrap();
    let kept = dir.join("mobilenet_v3_small_e2_mine.safetensors");
    fs::write(&kept, "").unwrap();
    run(&config, &dir, usize::MAX).unwrap();
    fs::remove_file(kept).unwrap();
    assert_eq!(files(&dir), files(&whole));
}

#[test]
fn without_saves_there_is_no_state() {
    let scene = Scene::new();
    let mut config = scene.config.clone();
    config.train.save_every = SaveEvery::Never;
    let dir = scene.dir.path().join("run");
    assert_eq!(run(&config, &dir, 3).unwrap().ending, Ending::Interrupted);
    assert!(!dir.join("state").exists());
    // It had finished an epoch before it was killed, and begins again.
    fs::write(dir.join("metrics.jsonl"), "{\"epoch\":1}\n{\"epo").unwrap();
    let again = run(&config, &dir, usize::MAX).unwrap();
    assert_eq!(again.ending, Ending::Completed);
    let whole = scene.dir.path().join("whole");
    run(&config, &whole, usize::MAX).unwrap();
    assert_eq!(files(&dir), files(&whole));
}

#[test]
fn a_cross_validation_goes_on_with_the_unfinished_folds() {
    let scene = Scene::new();
    let splits = Splits::open(&scene.config).unwrap();
    let division = FoldsConfig { count: 3, seed: 7 };
    let validate = |dir: &Path, events: usize| {
        let run = match dir.exists() {
            true => RunDir::reopen(dir).unwrap(),
            false => RunDir::create(dir).unwrap(),
        };
        let interrupt = AtomicBool::new(false);
        let mut sink = After {
            events,
            interrupt: &interrupt,
        };
        let before = run
            .config()
            .exists()
            .then(|| CrossValidation::read(&run).unwrap());
        let (config, sink) = (&scene.config, &mut sink);
        trainer::cross_validate(config, &splits, &division, &run, before, sink, &interrupt).unwrap()
    };
    let [whole, cut] = ["whole", "cut"].map(|name| scene.dir.path().join(name));
    let expected = validate(&whole, usize::MAX).unwrap();
    let mut processes = 1;
    let found = loop {
        match validate(&cut, 13) {
            Some(found) => break found,
            None => processes += 1,
        }
    };
    assert!(processes > 3);
    for (fold, (found, expected)) in found.folds.iter().zip(&expected.folds).enumerate() {
        assert_eq!(
            (found.epoch, found.scores),
            (expected.epoch, expected.scores)
        );
        let of = |dir: &Path| files(&dir.join(format!("fold-{}", fold + 1)));
        assert_eq!(of(&cut), of(&whole));
        assert!(!cut.join(format!("fold-{}/state", fold + 1)).exists());
    }
    assert_eq!(found.folds.len(), 3);
    assert_eq!(
        CrossValidation::read(&RunDir::reopen(&cut).unwrap()).unwrap(),
        found
    );
}

/// Asks for a save once, after the first batch.
#[derive(Default)]
struct Asks {
    asks: bool,
    saved: Vec<(usize, usize)>,
}

impl EventSink for Asks {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        match event {
            Event::BatchDone {
                epoch: 1, batch: 1, ..
            } => self.asks = true,
            Event::StateSaved { epoch, batch } => self.saved.push((*epoch, *batch)),
            _ => {}
        }
        Ok(())
    }

    fn takes_save_request(&mut self) -> bool {
        std::mem::take(&mut self.asks)
    }
}

#[test]
fn a_sink_can_ask_for_a_save_between_the_save_points() {
    let mut scene = Scene::new();
    // No save point but those between epochs.
    scene.config.train.save_every = "1000 steps".parse().unwrap();
    scene.config.train.epochs = 1;
    let mut asks = Asks::default();
    // Requests pass through pairs and options.
    let mut sink = ((), Some(&mut asks));
    scene.run_with(&mut sink, &AtomicBool::new(false)).unwrap();
    assert_eq!(asks.saved.first(), Some(&(1, 1)));
}
