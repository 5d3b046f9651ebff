//! Which weights are on disk while a run goes on.

use std::cmp::Ordering;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mobilenet::Model;
use mobilenet::weights::{self, WeightsMetadata};

use crate::config::{CheckpointPolicy, Monitor};
use crate::{Error, Result, ValidationScores};

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Counted from 1.
    pub epoch: usize,
    /// The monitored figure.
    pub score: f64,
    /// All figures.
    pub scores: ValidationScores,
    /// Its weights.
    pub weights: PathBuf,
}

/// Writes weights after an epoch, as the policy says, and knows the best.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    /// What follows the model's name in a file's name.
    mark: &'static str,
    policy: CheckpointPolicy,
    monitor: Monitor,
    best: Option<Best>,
}

impl Checkpoints {
    /// Nothing written yet.
    pub fn new(dir: &Path, policy: CheckpointPolicy, monitor: Monitor) -> Self {
        Self {
            dir: dir.to_owned(),
            mark: "",
            policy,
            monitor,
            best: None,
        }
    }

    /// The same for other weights of the same run, whose files bear `mark` behind the model's
    /// name.
    pub fn marked(self, mark: &'static str) -> Self {
        Self { mark, ..self }
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// How an epoch compares with the best so far; see [`Monitor::compare`].
    pub fn compare(&self, scores: &ValidationScores) -> Ordering {
        let best = self.best.as_ref().map(|best| &best.scores);
        self.monitor.compare(scores, best)
    }

    /// Takes an epoch's scores and writes its weights if the policy wants them. Of two epochs
    /// that are equal in everything that counts, the later one is the best.
    ///
    /// The file is named `<model>_e<epoch>_<score>.safetensors`. Under
    /// [`CheckpointPolicy::BestOne`] the former best is deleted only after the
    /// new one is complete. Returns the file written.
    ///
    /// # Errors
    ///
    /// When the weights cannot be written or the former best cannot be deleted.
    pub fn record(
        &mut self,
        network: &dyn Model,
        metadata: &WeightsMetadata,
        epoch: usize,
        scores: &ValidationScores,
    ) -> Result<Option<PathBuf>> {
        let is_best = self.compare(scores) != Ordering::Less;
        let score = self.monitor.of(scores);
        if !is_best && self.policy != CheckpointPolicy::EveryEpoch {
            return Ok(None);
        }
        let model = metadata.model.name();
        let name = format!("{model}{}_e{epoch}_{score:.5}.safetensors", self.mark);
        let path = self.dir.join(name);
        let metadata = WeightsMetadata {
            epoch: Some(epoch),
            score: Some(score),
            ..metadata.clone()
        };
        weights::save(&path, network, &metadata)?;
        if is_best {
            let best = Best {
                epoch,
                score,
                scores: *scores,
                weights: path.clone(),
            };
            let former = self.best.replace(best);
            let replaced = former.filter(|former| former.weights != path);
            if let (Some(former), CheckpointPolicy::BestOne) = (replaced, self.policy) {
                match std::fs::remove_file(&former.weights) {
                    // Somebody has moved it away to keep it.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    removed => removed.map_err(Error::io(former.weights))?,
                }
            }
        }
        Ok(Some(path))
    }
}

/// Counts epochs without gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyStopping {
    patience: Option<usize>,
    stale: usize,
}

impl EarlyStopping {
    /// Stops after `patience` epochs without gain in a row; never, if `None`.
    pub fn new(patience: Option<usize>) -> Self {
        Self { patience, stale: 0 }
    }

    /// Takes an epoch's outcome; true when training should stop. A gain is an epoch that
    /// compares as [`Ordering::Greater`] with the best before it: an equal score with a lower
    /// loss is one, an equal score with the same loss is none.
    ///
    /// Epochs with a frozen backbone never count against it, or a run could stop
    /// before the network has begun to learn.
    pub fn stops(&mut self, improved: bool, frozen: bool) -> bool {
        self.stale = if improved || frozen {
            0
        } else {
            self.stale + 1
        };
        self.patience.is_some_and(|patience| self.stale >= patience)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use mobilenet::{ModelConfig, Network, Variant};

    use super::*;
    use crate::RunConfig;

    fn scores(accuracy: f64, loss: f64) -> ValidationScores {
        ValidationScores {
            loss,
            accuracy,
            macro_f1: accuracy,
        }
    }

    /// Policies as a table: patience, then ((accuracy, loss), frozen) of each epoch, and the
    /// epoch it stops after.
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
            // A lower loss is a gain where the accuracy is equal, a higher one is none.
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

    #[test]
    fn the_best_stays_and_a_former_best_that_somebody_moved_away_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelConfig {
            width: 0.25,
            ..ModelConfig::new(Variant::Small, 2)
        };
        let network = Network::new(&model, 1, &Device::Cpu).unwrap();
        let metadata = WeightsMetadata {
            model: model.into(),
            class_names: ["a", "b"].map(str::to_owned).to_vec(),
            class_order: mobilenet::ClassOrder::Named,
            image_size: 16,
            normalisation: RunConfig::default().data.normalisation,
            epoch: None,
            score: None,
            training: None,
        };
        let policy = CheckpointPolicy::BestOne;
        let mut checkpoints = Checkpoints::new(dir.path(), policy, Monitor::ValAccuracy);
        let mut record = |epoch, accuracy, loss| {
            let scores = scores(accuracy, loss);
            let path = checkpoints.record(&network, &metadata, epoch, &scores);
            path.unwrap()
        };
        let first = record(1, 0.5, 1.0).unwrap();
        std::fs::rename(&first, dir.path().join("kept.safetensors")).unwrap();
        let second = record(2, 0.6, 1.0).unwrap();
        assert!(second.is_file());
        // One that is still there goes.
        let third = record(3, 0.7, 1.0).unwrap();
        assert!(!second.exists());
        // Of equal scores the lower loss stays, and of equal losses the later epoch.
        assert_eq!(record(4, 0.7, 1.1), None);
        let fifth = record(5, 0.7, 0.9).unwrap();
        assert!(fifth.is_file() && !third.exists());
        let sixth = record(6, 0.7, 0.9).unwrap();
        assert!(sixth.is_file() && !fifth.exists());
        assert_eq!(checkpoints.best().map(|best| best.epoch), Some(6));
    }
}
