//! Writes weights to disk during a run.

use std::cmp::Ordering;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobilenet::Model;
use mobilenet::weights::{self, WeightsMetadata};

use crate::config::{CheckpointPolicy, Monitor};
use crate::events::Event;
use crate::{Result, ValidationScores};

/// The most checkpoints that wait in memory after failed writes.
const MOST_WAITING: usize = 8;

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// The monitored score.
    pub score: f64,
    /// All validation scores of the epoch.
    pub scores: ValidationScores,
    /// The temperature that calibrates the weights; see
    /// [`WeightsMetadata::temperature`](mobilenet::weights::WeightsMetadata::temperature).
    pub temperature: Option<f64>,
    /// The file with the weights of the epoch.
    pub weights: PathBuf,
}

/// Writes weights after each epoch according to the policy, and tracks the best epoch. Weights that cannot be written
/// stay in memory and are retried.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    /// The text that file names have after the model's name.
    mark: &'static str,
    policy: CheckpointPolicy,
    monitor: Monitor,
    best: Option<Best>,
    /// The best epoch whose weights are on disk.
    kept: Option<Best>,
    waiting: Vec<Waiting>,
}

/// A checkpoint that is not on disk yet.
#[derive(Clone, Debug)]
struct Waiting {
    /// The epoch, scores and path of the checkpoint.
    file: Best,
    was_best: bool,
    bytes: Arc<Vec<u8>>,
}

impl Waiting {
    fn of(
        file: Best,
        was_best: bool,
        network: &dyn Model,
        metadata: &WeightsMetadata,
    ) -> Result<Self> {
        let metadata = WeightsMetadata {
            epoch: Some(file.epoch),
            score: Some(file.score),
            temperature: file.temperature,
            ..metadata.clone()
        };
        Ok(Self {
            bytes: Arc::new(weights::to_bytes(&file.weights, network, &metadata)?),
            file,
            was_best,
        })
    }
}

impl Checkpoints {
    /// A writer that has written nothing yet.
    pub fn new(dir: &Path, policy: CheckpointPolicy, monitor: Monitor) -> Self {
        Self {
            dir: dir.to_owned(),
            mark: "",
            policy,
            monitor,
            best: None,
            kept: None,
            waiting: Vec::new(),
        }
    }

    /// A writer for other weights of the same run, such as averages. Their file names have `mark` after the model's
    /// name.
    pub fn marked(self, mark: &'static str) -> Self {
        Self { mark, ..self }
    }

    /// The best epoch so far. Its file may not be written yet.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// The best weights on disk. If the best epoch's weights could not be written yet, these are from an earlier epoch.
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| kept.weights.as_path())
    }

    /// The best epoch whose weights are on disk.
    pub(crate) fn kept_best(&self) -> Option<&Best> {
        self.kept.as_ref()
    }

    /// Goes on where an earlier process stopped. Weights whose file has vanished since are not on disk. The best weights
    /// may be on disk although `kept` is another epoch: a process writes missing ones at its end, after the state.
    pub(crate) fn restore(&mut self, best: Option<Best>, kept: Option<Best>) {
        let is_on_disk = |weights: &Best| weights.weights.is_file();
        self.kept = kept.filter(is_on_disk);
        self.best.clone_from(&best);
        if let Some(best) = best.filter(is_on_disk) {
            self.keep(best);
        }
    }

    /// Compares an epoch's scores with the best so far; see [`Monitor::compare`].
    pub fn compare(&self, scores: &ValidationScores) -> Ordering {
        let best = self.best.as_ref().map(|best| &best.scores);
        self.monitor.compare(scores, best)
    }

    /// Records an epoch's scores, and the temperature in `metadata`. Writes its weights if the policy requires it, and
    /// earlier weights that could not be written. Returns the outcome of each attempt. Of two equal epochs, the later one
    /// is the best.
    ///
    /// The file is named `<model>_e<epoch>_<score>.safetensors`. Under [`CheckpointPolicy::BestOne`] the old best file
    /// is deleted only after the new one is complete.
    ///
    /// # Errors
    ///
    /// If the network cannot be read. A failed write is no error: the weights stay in memory, and the next call or
    /// [`retry`](Self::retry) writes them.
    pub fn record(
        &mut self,
        network: &dyn Model,
        metadata: &WeightsMetadata,
        epoch: usize,
        scores: &ValidationScores,
    ) -> Result<Vec<Event>> {
        let was_best = self.compare(scores) != Ordering::Less;
        let score = self.monitor.of(scores);
        if was_best || self.policy == CheckpointPolicy::EveryEpoch {
            let model = metadata.model.name();
            let name = format!("{model}{}_e{epoch}_{score:.5}.safetensors", self.mark);
            let file = Best {
                epoch,
                score,
                scores: *scores,
                temperature: metadata.temperature,
                weights: self.dir.join(name),
            };
            self.enqueue(Waiting::of(file, was_best, network, metadata)?);
        }
        Ok(self.retry())
    }

    /// Writes the file of the best epoch, whose weights are in the network.
    pub(crate) fn write_best(
        &mut self,
        network: &dyn Model,
        metadata: &WeightsMetadata,
    ) -> Result<Vec<Event>> {
        if let Some(best) = self.best.clone() {
            self.enqueue(Waiting::of(best, true, network, metadata)?);
        }
        Ok(self.retry())
    }

    fn enqueue(&mut self, new: Waiting) {
        if new.was_best {
            self.best = Some(new.file.clone());
            if self.policy == CheckpointPolicy::BestOne {
                self.waiting.clear();
            }
        }
        if self.waiting.len() == MOST_WAITING {
            // The weights of the best epoch are always kept.
            let best = self.best.as_ref().map(|best| best.epoch);
            let victim = self.waiting.iter().position(|w| Some(w.file.epoch) != best);
            let lost = self.waiting.remove(victim.unwrap_or(0)).file.weights;
            tracing::warn!("{}: could not be written; giving up", lost.display());
        }
        self.waiting.push(new);
    }

    /// Retries all failed writes, and returns the outcome of each.
    pub fn retry(&mut self) -> Vec<Event> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut events = Vec::with_capacity(waiting.len());
        for next in waiting {
            let (path, epoch) = (next.file.weights.clone(), next.file.epoch);
            match files::write(&path, |file| file.write_all(&next.bytes)) {
                Ok(()) => {
                    let score = next.file.score;
                    self.remove_twins(&next.file);
                    self.written(next);
                    events.push(Event::CheckpointWritten { path, epoch, score });
                }
                Err(error) => {
                    self.waiting.push(next);
                    let problem = mnist_data::with_causes(&error);
                    events.push(Event::CheckpointDelayed {
                        path,
                        epoch,
                        problem,
                    });
                }
            }
        }
        events
    }

    /// Removes other weights of the same epoch: a process that was killed after it wrote them had other bits, for
    /// example another number of threads.
    fn remove_twins(&self, of: &Best) {
        let name = of.weights.file_name().unwrap_or_default().to_string_lossy();
        // Names end in `_e<epoch>_<score>.safetensors`.
        let Some((prefix, _)) = name.rsplit_once('_') else {
            return;
        };
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let other = entry.file_name();
            let other = other.to_string_lossy();
            let rest = other
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('_'));
            let is_score = |rest: &str| {
                let score = rest.strip_suffix(".safetensors");
                score.is_some_and(|score| score.parse::<f64>().is_ok())
            };
            if rest.is_some_and(is_score) && other != name {
                remove(&entry.path());
            }
        }
    }

    /// Records a checkpoint that is now on disk. After a retry it may be worse than the best.
    fn written(&mut self, new: Waiting) {
        let newest = self.kept.as_ref().map_or(0, |kept| kept.epoch);
        if !new.was_best || new.file.epoch < newest {
            return;
        }
        self.keep(new.file);
    }

    /// Records the best weights on disk, and removes the former ones if the policy requires it.
    fn keep(&mut self, new: Best) {
        let path = new.weights.clone();
        let former = self.kept.replace(new);
        let former = former.filter(|former| former.weights != path);
        if let (Some(former), CheckpointPolicy::BestOne) = (former, self.policy) {
            remove(&former.weights);
        }
    }
}

/// Deletes the file of an earlier best epoch.
fn remove(former: &Path) {
    match std::fs::remove_file(former) {
        // The user may have moved the file elsewhere to keep it.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("{}: cannot be removed: {error}", former.display()),
        Ok(()) => {}
    }
}

/// Early stopping: counts epochs without gain.
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

    /// Counts this many epochs without gain before the next one.
    pub fn after(self, stale: usize) -> Self {
        Self { stale, ..self }
    }

    /// The number of epochs without gain in a row.
    pub fn stale(&self) -> usize {
        self.stale
    }

    /// Records an epoch; returns true if training should stop. A gain is an epoch that compares as
    /// [`Ordering::Greater`] with the best before it: an equal score with a lower loss is a gain,
    /// an equal score with the same loss is none.
    ///
    /// Epochs with a frozen backbone never count as epochs without gain. Otherwise a run could stop before the backbone
    /// begins to learn.
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
mod tests;
