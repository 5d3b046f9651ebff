//! What a run tells the world while it goes on, and who listens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use mobilenet::LoadReport;
use serde::{Deserialize, Serialize};

use crate::{EpochTimes, Error, Result};

/// One line of `metrics.jsonl`: what an epoch achieved.
///
/// Losses are means over images. `train_loss` is the objective (with smoothing
/// and class weights) in training mode; `val_loss` is plain cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean objective over the epoch's training images.
    pub train_loss: f64,
    /// Share of the training images classified correctly while training on them.
    pub train_accuracy: f64,
    /// Mean cross-entropy over the validation images.
    pub val_loss: f64,
    /// Share of the validation images classified correctly.
    pub val_accuracy: f64,
    /// F1 averaged over the classes that occur in validation; see [`Tally::macro_scores`](crate::Tally::macro_scores).
    pub val_macro_f1: f64,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Training images per second, validation not counted.
    pub images_per_second: f64,
    /// Wall time of training and validation.
    pub seconds: f64,
    /// How `seconds` divides; all 0 in lines that were written without it.
    #[serde(default)]
    pub times: EpochTimes,
    /// The moving average of the weights on the validation images, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<ValidationScores>,
    /// What the loss is scaled by at the end of the epoch, where it is: in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// The images of the run so far that could not be read; absent in lines of runs without any.
    #[serde(default, skip_serializing_if = "Unreadable::is_empty")]
    pub unreadable: Unreadable,
}

/// How many images could not be read and were left out, by class name; classes without any are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Of the training images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub train: BTreeMap<String, usize>,
    /// Of the validation images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub val: BTreeMap<String, usize>,
}

impl Unreadable {
    /// The number of all of them.
    pub fn total(&self) -> usize {
        self.train.values().chain(self.val.values()).sum()
    }

    /// Whether every image could be read.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }
}

impl EpochReport {
    /// The network's own figures on the validation images.
    pub fn scores(&self) -> ValidationScores {
        ValidationScores {
            loss: self.val_loss,
            accuracy: self.val_accuracy,
            macro_f1: self.val_macro_f1,
        }
    }
}

/// What a network is worth on the validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationScores {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share classified correctly.
    pub accuracy: f64,
    /// F1 averaged over the classes that occur.
    pub macro_f1: f64,
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Everything is set up and the first epoch is about to begin.
    RunStarted {
        /// Folder of the run.
        run_dir: PathBuf,
        /// The network's name.
        model: String,
        /// Class names in label order.
        classes: Vec<String>,
        /// Trainable parameters.
        parameters: usize,
        /// Training images.
        train_images: usize,
        /// Validation images.
        val_images: usize,
        /// Epochs planned.
        epochs: usize,
        /// Where it runs.
        device: String,
        /// CPU threads.
        threads: usize,
    },
    /// Weights were taken from a pretrained file.
    PretrainedLoaded(LoadReport),
    /// From this epoch on only the head learns.
    Frozen {
        /// Counted from 1.
        epoch: usize,
    },
    /// From this epoch on the whole network learns.
    Unfrozen {
        /// Counted from 1.
        epoch: usize,
    },
    /// Some of the features that the head will be trained on are computed.
    FeaturesComputed {
        /// Images that went through the network so far.
        done: usize,
        /// All images of the run, those included whose features are on disk.
        images: usize,
    },
    /// The features of all images are at hand: the network does not see images while its
    /// backbone is frozen.
    FeaturesReady {
        /// All images of the run.
        images: usize,
        /// Those that went through the network; the features of the others were on disk.
        computed: usize,
    },
    /// An epoch's first batch is about to be trained on.
    EpochStarted {
        /// Counted from 1.
        epoch: usize,
        /// Batches expected.
        batches: usize,
    },
    /// A batch was trained on.
    BatchDone {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batch, counted from 1.
        batch: usize,
        /// Images in it.
        images: usize,
        /// Its mean loss.
        loss: f64,
    },
    /// An epoch was trained and validated.
    EpochFinished(EpochReport),
    /// The network classifies its training images well in training, where a batch is normalised
    /// by its own statistics, but badly in inference, where it is normalised by the running ones.
    /// Said once a run.
    StatisticsUnsettled {
        /// Counted from 1.
        epoch: usize,
        /// Share of the training images classified correctly while training on them.
        training: f64,
        /// Share of some of them classified correctly in inference.
        inference: f64,
    },
    /// Weights were written.
    CheckpointWritten {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        epoch: usize,
        /// The monitored figure.
        score: f64,
    },
    /// Training ended early, because nothing was gained for `patience` epochs.
    StoppedEarly {
        /// The epoch it stopped after.
        epoch: usize,
        /// The best epoch.
        best_epoch: usize,
    },
    /// Training ended because it was asked to.
    Interrupted {
        /// The epoch it stopped in.
        epoch: usize,
    },
    /// Images that could not be read were left out.
    ImagesSkipped {
        /// How many so far, in the whole run.
        count: usize,
    },
    /// Training is over and the best weights are in place.
    Finished {
        /// The best epoch, if one was completed.
        best_epoch: Option<usize>,
        /// The best weights on disk.
        weights: Option<PathBuf>,
    },
}

/// A listener.
pub trait EventSink {
    /// Takes one event.
    ///
    /// # Errors
    ///
    /// A sink that cannot do its work (a full disk) ends the run.
    fn handle(&mut self, event: &Event) -> Result<()>;
}

/// Nobody listens.
impl EventSink for () {
    fn handle(&mut self, _event: &Event) -> Result<()> {
        Ok(())
    }
}

/// Two listeners are one; nest for more.
impl<A: EventSink, B: EventSink> EventSink for (A, B) {
    fn handle(&mut self, event: &Event) -> Result<()> {
        self.0.handle(event)?;
        self.1.handle(event)
    }
}

impl<S: EventSink + ?Sized> EventSink for &mut S {
    fn handle(&mut self, event: &Event) -> Result<()> {
        (**self).handle(event)
    }
}

/// Keeps every event, for tests and notebooks.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Recorder {
    /// The reports of the epochs so far.
    pub fn epochs(&self) -> Vec<&EpochReport> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::EpochFinished(report) => Some(report),
                _ => None,
            })
            .collect()
    }
}

impl EventSink for Recorder {
    fn handle(&mut self, event: &Event) -> Result<()> {
        self.events.push(event.clone());
        Ok(())
    }
}

/// Appends one JSON object per epoch to a file, whole lines at a time.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl MetricsFile {
    /// Opens `path` for appending, creating it if need be.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn append(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io(path))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }
}

impl EventSink for MetricsFile {
    fn handle(&mut self, event: &Event) -> Result<()> {
        let Event::EpochFinished(report) = event else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(report).map_err(|e| Error::io(&self.path)(e.into()))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.flush())
            .map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn report(epoch: usize) -> EpochReport {
        EpochReport {
            epoch,
            train_loss: 0.5,
            train_accuracy: 0.8,
            val_loss: 0.4,
            val_accuracy: 0.9,
            val_macro_f1: 0.85,
            learning_rate: 1e-3,
            images_per_second: 600.0,
            seconds: 12.0,
            times: EpochTimes {
                forward: 12.0,
                ..EpochTimes::default()
            },
            ema: None,
            loss_scale: None,
            unreadable: Unreadable::default(),
        }
    }

    #[test]
    fn metrics_are_one_object_per_epoch_with_exactly_the_documented_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        for epoch in 1..=2 {
            let mut sinks = (MetricsFile::append(&path).unwrap(), Recorder::default());
            sinks
                .handle(&Event::EpochStarted { epoch, batches: 3 })
                .unwrap();
            sinks.handle(&Event::EpochFinished(report(epoch))).unwrap();
            assert_eq!(sinks.1.epochs().len(), 1);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["epoch"], 2);
        let mut keys: Vec<&str> = lines[0]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "epoch",
                "images_per_second",
                "learning_rate",
                "seconds",
                "times",
                "train_accuracy",
                "train_loss",
                "val_accuracy",
                "val_loss",
                "val_macro_f1"
            ]
        );
    }

    #[test]
    fn images_that_could_not_be_read_are_counted_by_class() {
        let mut report = report(1);
        report.unreadable.train.insert("cat".to_owned(), 3);
        let line = serde_json::to_value(&report).unwrap();
        assert_eq!(
            line["unreadable"],
            serde_json::json!({ "train": { "cat": 3 } })
        );
        assert_eq!(serde_json::from_value::<EpochReport>(line).unwrap(), report);
        assert_eq!(report.unreadable.total(), 3);
    }

    #[test]
    fn a_line_without_times_is_still_read() {
        let mut line = serde_json::to_value(report(1)).unwrap();
        line.as_object_mut().unwrap().remove("times");
        let read: EpochReport = serde_json::from_value(line).unwrap();
        assert_eq!((read.seconds, read.times.total()), (12.0, 0.0));
    }
}
