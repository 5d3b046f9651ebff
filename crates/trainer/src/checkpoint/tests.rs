use candle_core::Device;
use mobilenet::{ModelConfig, Network, Variant};

use super::*;

fn scores(accuracy: f64, loss: f64) -> ValidationScores {
    ValidationScores {
        loss,
        accuracy,
        macro_f1: accuracy,
    }
}

/// Each case: the patience; ((accuracy, loss), frozen) of each epoch; and the epoch at which training stops.
#[test]
fn early_stopping_counts_epochs_without_gain_in_a_row() {
    let scored = |scores: &[(f64, f64)]| scores.iter().map(|s| (*s, false)).collect();
    let thawed = |figures: &[f64]| -> Vec<((f64, f64), bool)> {
        figures.iter().map(|f| ((*f, *f), false)).collect()
    };
    for (monitor, patience, epochs, expected) in [
        (
            Monitor::ValAccuracy,
            Some(2),
            thawed(&[0.5, 0.4, 0.3]),
            Some(3),
        ),
        (
            Monitor::ValAccuracy,
            Some(2),
            thawed(&[0.5, 0.4, 0.6, 0.6, 0.5]),
            Some(5),
        ),
        (Monitor::ValAccuracy, Some(1), thawed(&[0.5, 0.5]), Some(2)),
        (
            Monitor::ValAccuracy,
            None,
            thawed(&[0.5, 0.4, 0.3, 0.2]),
            None,
        ),
        (
            Monitor::ValLoss,
            Some(2),
            thawed(&[0.5, 0.4, 0.3, 0.2]),
            None,
        ),
        (Monitor::ValLoss, Some(1), thawed(&[0.5, f64::NAN]), Some(2)),
        // At equal accuracy, a lower loss is a gain and a higher loss is not.
        (
            Monitor::ValAccuracy,
            Some(2),
            scored(&[(0.5, 3.0), (0.5, 2.0), (0.5, 1.0), (0.5, 1.5), (0.5, 1.2)]),
            Some(5),
        ),
        (
            Monitor::ValAccuracy,
            Some(1),
            [0.5, 0.4, 0.3, 0.2]
                .map(|figure| ((figure, figure), figure > 0.2))
                .to_vec(),
            Some(4),
        ),
    ] {
        let mut stopping = EarlyStopping::new(patience);
        let mut best: Option<ValidationScores> = None;
        let stopped = epochs.iter().position(|((score, loss), frozen)| {
            let scores = scores(*score, *loss);
            let improved = monitor.compare(&scores, best.as_ref()) == Ordering::Greater;
            if improved {
                best = Some(scores);
            }
            stopping.stops(improved, *frozen)
        });
        assert_eq!(
            stopped.map(|i| i + 1),
            expected,
            "{monitor:?} {patience:?} {epochs:?}"
        );
    }
}

/// Records one epoch of a small network for each score.
struct Recording {
    dir: tempfile::TempDir,
    network: Network,
    metadata: WeightsMetadata,
    checkpoints: Checkpoints,
}

impl Recording {
    fn new(policy: CheckpointPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelConfig {
            width: 0.25,
            ..ModelConfig::new(Variant::SMALL, 2)
        };
        Self {
            network: Network::new(&model, 1, &Device::Cpu).unwrap(),
            metadata: WeightsMetadata::new(
                model.into(),
                ["a", "b"].map(str::to_owned).to_vec(),
                mobilenet::ImageSize::square(16),
            ),
            checkpoints: Checkpoints::new(&dir.path().join("run"), policy, Monitor::ValAccuracy),
            dir,
        }
    }

    /// The epochs with written files, and those with failed writes.
    fn record(&mut self, epoch: usize, score: f64) -> (Vec<usize>, Vec<usize>) {
        self.take(epoch, &scores(score, 1.0))
    }

    fn take(&mut self, epoch: usize, scores: &ValidationScores) -> (Vec<usize>, Vec<usize>) {
        let (network, metadata) = (&self.network, &self.metadata);
        let events = self.checkpoints.record(network, metadata, epoch, scores);
        let (mut written, mut delayed) = (Vec::new(), Vec::new());
        for event in events.unwrap() {
            match event {
                Event::CheckpointWritten { epoch, .. } => written.push(epoch),
                Event::CheckpointDelayed { epoch, .. } => delayed.push(epoch),
                other => panic!("{other:?}"),
            }
        }
        (written, delayed)
    }

    fn disk_works(&self, works: bool) {
        let run = self.dir.path().join("run");
        match works {
            true => std::fs::create_dir(run).unwrap(),
            false => std::fs::rename(run, self.dir.path().join("away")).unwrap(),
        }
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("run")).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

#[test]
fn the_best_stays_and_a_former_best_may_be_moved_away() {
    let mut run = Recording::new(CheckpointPolicy::BestOne);
    run.disk_works(true);
    let mut kept = |epoch, accuracy, loss| {
        run.take(epoch, &scores(accuracy, loss));
        run.checkpoints.kept().unwrap().to_owned()
    };
    let first = kept(1, 0.5, 1.0);
    let away = first.parent().unwrap().join("kept.safetensors");
    std::fs::rename(first, away).unwrap();
    let second = kept(2, 0.6, 1.0);
    assert!(second.is_file());
    // The old best file still exists, so it is deleted.
    let third = kept(3, 0.7, 1.0);
    assert!(!second.exists());
    // Of two epochs with equal scores, the one with the lower loss is kept; at equal losses, the later one.
    assert_eq!(kept(4, 0.7, 1.1), third);
    let fifth = kept(5, 0.7, 0.9);
    assert!(fifth.is_file() && !third.exists());
    let sixth = kept(6, 0.7, 0.9);
    assert!(sixth.is_file() && !fifth.exists());
    assert_eq!(run.checkpoints.best().map(|best| best.epoch), Some(6));
}

#[test]
fn failed_writes_are_retried_later() {
    let mut run = Recording::new(CheckpointPolicy::EveryEpoch);
    assert_eq!(run.record(1, 0.5), (vec![], vec![1]));
    assert_eq!(run.record(2, 0.4), (vec![], vec![1, 2]));
    assert_eq!(run.checkpoints.best().unwrap().epoch, 1);
    assert_eq!(run.checkpoints.kept(), None);
    run.disk_works(true);
    assert_eq!(run.record(3, 0.3), (vec![1, 2, 3], vec![]));
    assert_eq!(run.files().len(), 3);
    let kept = run.checkpoints.kept().unwrap();
    let (_, metadata) = weights::load(kept, &Device::Cpu).unwrap();
    assert_eq!((metadata.epoch, metadata.score), (Some(1), Some(0.5)));
    assert!(run.checkpoints.retry().is_empty());
}

#[test]
fn the_best_on_disk_goes_when_a_better_one_is_there() {
    let mut run = Recording::new(CheckpointPolicy::BestOne);
    run.disk_works(true);
    run.record(1, 0.5);
    run.disk_works(false);
    assert_eq!(run.record(2, 0.6), (vec![], vec![2]));
    // Of two unwritten epochs only the better one stays in memory. A later, worse epoch retries the write.
    assert_eq!(run.record(3, 0.7), (vec![], vec![3]));
    let kept = run.checkpoints.kept().unwrap().to_owned();
    assert!(kept.ends_with("mobilenet_v3_small_e1_0.50000.safetensors"));
    std::fs::rename(run.dir.path().join("away"), run.dir.path().join("run")).unwrap();
    assert!(kept.is_file());
    assert_eq!(run.record(4, 0.1), (vec![3], vec![]));
    assert_eq!(run.files(), ["mobilenet_v3_small_e3_0.70000.safetensors"]);
}

#[test]
fn memory_for_waiting_files_is_bounded_and_keeps_the_best() {
    let mut run = Recording::new(CheckpointPolicy::EveryEpoch);
    for epoch in 1..=MOST_WAITING + 2 {
        run.record(epoch, 1.0 / epoch as f64);
    }
    run.disk_works(true);
    let written: Vec<usize> = [1].into_iter().chain(4..=MOST_WAITING + 2).collect();
    let events = run.checkpoints.retry();
    assert_eq!(events.len(), written.len());
    assert_eq!(run.files().len(), written.len());
    assert!(run.files().iter().any(|name| name.contains("_e1_")));
}
