//! Tests how runs end, with and without errors.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use mobilenet::weights;
use trainer::config::CheckpointPolicy;
use trainer::{Ending, Error, Event, EventSink, MetricsFile, Recorder};

use crate::scene::Scene;

#[test]
fn checkpoints_stay_as_the_policy_says() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 4;
    let mut counts = Vec::new();
    for policy in [
        CheckpointPolicy::BestOne,
        CheckpointPolicy::BestAll,
        CheckpointPolicy::EveryEpoch,
    ] {
        scene.config.train.checkpoints = policy;
        let (outcome, recorder) = scene.run();
        let run = outcome
            .best
            .as_ref()
            .unwrap()
            .weights
            .parent()
            .unwrap()
            .to_owned();
        let files = scene.weights_in(run.file_name().unwrap().to_str().unwrap());
        assert!(files.contains(&outcome.best.unwrap().weights));
        let written = recorder
            .events
            .iter()
            .filter(|e| matches!(e, Event::CheckpointWritten { .. }));
        counts.push((files.len(), written.count()));
    }
    let improvements = counts[0].1;
    assert_eq!(
        counts,
        [(1, improvements), (improvements, improvements), (4, 4)]
    );
}

#[test]
fn patience_ends_a_run_that_gains_nothing() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 20;
    scene.config.train.patience = Some(2);
    // Early stopping also ends a run that trains only the head, since nothing unfreezes later. The rate is too small to
    // change a weight, so every epoch equals the previous one.
    scene.config.train.learning_rate = 1e-20;
    scene.config.train.freeze_epochs = 20;
    let (outcome, _) = scene.run();
    assert_eq!(outcome.epochs.len(), 3);
    assert_eq!(outcome.best.unwrap().epoch, 3);
    // The validation images of the two classes are swapped, so learning lowers the score.
    scene.swap_validation();
    scene.config.train.learning_rate = 3e-3;
    scene.config.train.freeze_epochs = 0;
    let (outcome, recorder) = scene.run();
    assert_eq!(outcome.ending, Ending::StoppedEarly);
    assert_eq!(outcome.epochs.len(), 3);
    assert!(recorder.events.contains(&Event::StoppedEarly {
        epoch: 3,
        best_epoch: 1
    }));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_best_weights() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 3;
    // The first epoch is good; then the learning rate becomes huge.
    let wild = optim::MultiStepConfig {
        milestones: vec![1],
        gamma: 1e30,
    };
    scene.config.schedule = optim::LrScheduleConfig::MultiStep(wild);
    let error = scene.error();
    let Error::NonFiniteLoss { epoch, best, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*epoch, 2, "{error}");
    let best = best.clone().unwrap();
    assert!(error.to_string().contains("train.learning_rate"), "{error}");
    weights::load(&best, &Device::Cpu).unwrap();
}

/// Sets the interrupt flag when a batch is done.
struct InterruptAfter<'a> {
    flag: &'a AtomicBool,
    epoch: usize,
    batch: usize,
}

impl EventSink for InterruptAfter<'_> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        let Event::BatchDone { epoch, batch, .. } = event else {
            return Ok(());
        };
        if (*epoch, *batch) == (self.epoch, self.batch) {
            self.flag.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn an_interrupted_run_stops_before_the_next_batch_with_its_best_weights() {
    let scene = Scene::new();
    let run_until = |epoch, batch| {
        let flag = AtomicBool::new(false);
        let mut sinks = (
            InterruptAfter {
                flag: &flag,
                epoch,
                batch,
            },
            Recorder::default(),
        );
        let outcome = scene.run_with(&mut sinks, &flag).unwrap();
        (outcome, sinks.1)
    };
    let (outcome, recorder) = run_until(2, 2);
    assert_eq!(outcome.ending, Ending::Interrupted);
    assert_eq!(recorder.epochs().len(), 1);
    let best = outcome.best.unwrap();
    assert_eq!(best.epoch, 1);
    weights::load(&best.weights, &Device::Cpu).unwrap();
    let batches = recorder
        .events
        .iter()
        .filter(|e| matches!(e, Event::BatchDone { epoch: 2, .. }));
    assert_eq!(batches.count(), 2);

    let (outcome, _) = run_until(1, 1);
    assert_eq!(outcome.ending, Ending::Interrupted);
    assert!(outcome.best.is_none());
}

/// Removes the run's folder at one event, and restores it at another.
struct Disk<'a> {
    fails: &'a dyn Fn(&Event) -> bool,
    works: &'a dyn Fn(&Event) -> bool,
    dir: PathBuf,
    recorder: Recorder,
}

impl<'a> Disk<'a> {
    fn new(fails: &'a dyn Fn(&Event) -> bool, works: &'a dyn Fn(&Event) -> bool) -> Self {
        Self {
            fails,
            works,
            dir: PathBuf::new(),
            recorder: Recorder::default(),
        }
    }

    /// The epochs whose weights were written, and those whose writes failed.
    fn epochs(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut written, mut delayed) = (Vec::new(), Vec::new());
        for event in &self.recorder.events {
            match event {
                Event::CheckpointWritten { epoch, .. } => written.push(*epoch),
                Event::CheckpointDelayed { epoch, .. } => delayed.push(*epoch),
                _ => {}
            }
        }
        (written, delayed)
    }
}

impl EventSink for Disk<'_> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        if let Event::RunStarted { run_dir, .. } = event {
            self.dir = run_dir.clone();
        }
        let away = self.dir.with_extension("away");
        if (self.fails)(event) {
            std::fs::rename(&self.dir, &away).unwrap();
        }
        if (self.works)(event) && away.exists() {
            std::fs::rename(&away, &self.dir).unwrap();
        }
        self.recorder.handle(event)
    }
}

fn finished(number: usize) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::EpochFinished(report) if report.epoch == number)
}

#[test]
fn weights_that_cannot_be_written_are_written_after_a_later_epoch() {
    let mut scene = Scene::new();
    scene.config.train.checkpoints = CheckpointPolicy::EveryEpoch;
    let fails = finished(1);
    let mut disk = Disk::new(&fails, &|event| {
        matches!(event, Event::EpochStarted { epoch: 2, .. })
    });
    let never = AtomicBool::new(false);
    let outcome = scene.run_with(&mut disk, &never).unwrap();
    assert_eq!(disk.epochs(), (vec![1, 2, 3], vec![1]));
    assert_eq!(scene.weights_in("run-001").len(), 3);
    let best = outcome.best.unwrap();
    let (_, metadata) = weights::load(&best.weights, &Device::Cpu).unwrap();
    assert_eq!(metadata.epoch, Some(best.epoch));
}

#[test]
fn weights_that_cannot_be_written_are_written_at_the_end() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let fails = finished(1);
    let mut disk = Disk::new(&fails, &|event| {
        matches!(event, Event::CheckpointDelayed { .. })
    });
    let never = AtomicBool::new(false);
    let outcome = scene.run_with(&mut disk, &never).unwrap();
    assert_eq!(disk.epochs(), (vec![1], vec![1]));
    weights::load(&outcome.best.unwrap().weights, &Device::Cpu).unwrap();

    // The weights are also written if the run ends with another error.
    let wild = optim::MultiStepConfig {
        milestones: vec![1],
        gamma: 1e30,
    };
    scene.config.schedule = optim::LrScheduleConfig::MultiStep(wild);
    scene.config.train.epochs = 2;
    let mut disk = Disk::new(&fails, &|event| {
        matches!(event, Event::EpochStarted { epoch: 2, .. })
    });
    let error = scene.run_with(&mut disk, &never).err().unwrap();
    let Error::NonFiniteLoss {
        best: Some(best), ..
    } = &error
    else {
        panic!("{error}")
    };
    weights::load(best, &Device::Cpu).unwrap();
}

#[test]
fn weights_that_can_never_be_written_end_the_run_when_it_is_over() {
    let scene = Scene::new();
    let fails = finished(1);
    let mut disk = Disk::new(&fails, &|_| false);
    let error = scene.run_with(&mut disk, &AtomicBool::new(false));
    let error = error.err().unwrap();
    let Error::WeightsUnwritten { path, best, .. } = &error else {
        panic!("{error}")
    };
    assert!(path.starts_with(scene.dir.path().join("run-001")));
    assert_eq!(*best, None);
    assert_eq!(disk.recorder.epochs().len(), 3);

    // If the disk fails later, the error names the earlier weights.
    let mut scene = Scene::new();
    scene.config.train.epochs = 8;
    let best_epoch = scene.run().0.best.unwrap().epoch;
    assert!(best_epoch > 1);
    let fails = finished(best_epoch);
    let mut disk = Disk::new(&fails, &|_| false);
    let error = scene.run_with(&mut disk, &AtomicBool::new(false));
    let error = error.err().unwrap();
    let Error::WeightsUnwritten { epoch, best, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*epoch, best.is_some()), (best_epoch, true));
}

#[test]
fn any_failing_sink_ends_the_run() {
    struct Failing;
    impl EventSink for Failing {
        fn handle(&mut self, event: &Event) -> trainer::Result<()> {
            match event {
                Event::EpochFinished(_) => Err(Error::NoImages("the sink fails".to_owned())),
                _ => Ok(()),
            }
        }
    }
    let scene = Scene::new();
    let error = scene
        .run_with(&mut Failing, &AtomicBool::new(false))
        .err()
        .unwrap();
    assert!(error.to_string().contains("the sink fails"));
    assert!(MetricsFile::append(Path::new("/no/such/folder/metrics.jsonl")).is_err());
}

#[test]
fn wrong_folders_are_errors_before_the_first_batch() {
    let mut scene = Scene::new();
    scene.config.model.classes = Some(3);
    let message = scene.error().to_string();
    assert!(
        message.contains("2 class folders (0, 1)") && message.contains("is 3"),
        "{message}"
    );

    let scene = Scene::new();
    std::fs::create_dir(scene.root().join("val/7")).unwrap();
    assert!(scene.error().to_string().contains("`7`"));
    std::fs::remove_dir_all(scene.root().join("val")).unwrap();
    // A class has too few images to hold some out for validation.
    for image in mnist_data::list_images(&scene.root().join("train/0"))
        .unwrap()
        .iter()
        .skip(9)
    {
        std::fs::remove_file(image.path()).unwrap();
    }
    assert!(scene.error().to_string().contains("val"));

    let mut scene = Scene::new();
    scene.config.train.epochs = 0;
    assert!(scene.error().to_string().contains("train.epochs"));
}

#[test]
fn weights_that_the_last_step_ruined_are_neither_measured_nor_kept() {
    // The gradient of this loss is still finite.
    let scene = Scene::one_step(1e308);
    let error = scene.error();
    assert!(
        matches!(
            error,
            Error::NonFiniteWeights {
                epoch: 1,
                best: None
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("train.learning_rate"), "{error}");
    assert!(scene.weights_in("run-001").is_empty());
}

#[test]
fn answers_that_are_no_numbers_are_blamed_on_the_training() {
    // The weights are still finite, but too large for finite logits.
    let error = Scene::one_step(1e20).error();
    let Error::NonFiniteValidation { epoch: 1, best, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*best, None);
    assert!(error.to_string().contains("train.learning_rate"), "{error}");
}

#[test]
fn best_weights_that_were_removed_are_written_again() {
    struct Remover;
    impl EventSink for Remover {
        fn handle(&mut self, event: &Event) -> trainer::Result<()> {
            if let Event::CheckpointWritten { path, .. } = event {
                std::fs::remove_file(path).unwrap();
            }
            Ok(())
        }
    }
    let scene = Scene::new();
    let never = AtomicBool::new(false);
    let outcome = scene.run_with(&mut Remover, &never).unwrap();
    let best = outcome.best.unwrap();
    let (network, metadata) = weights::load(&best.weights, &Device::Cpu).unwrap();
    assert_eq!(metadata.epoch, Some(best.epoch));
    let arena = |model: &dyn mobilenet::Model| -> Vec<f32> {
        model.parameters().arena().unwrap().to_vec1().unwrap()
    };
    assert_eq!(arena(&network), arena(outcome.network.as_ref()));
}
