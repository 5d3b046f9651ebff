//! Events of a run, and the sinks that receive them.

mod metrics;
mod tensorboard;
mod texts;

use std::collections::BTreeMap;
use std::path::PathBuf;

use mobilenet::{LoadReport, Precision};
use serde::{Deserialize, Serialize};

use crate::precision::ChosenPrecision;
use crate::{EpochTimes, Result};
pub use metrics::MetricsFile;
pub use tensorboard::TensorBoard;

/// One line of `metrics.jsonl`: the results of an epoch.
///
/// Losses are means over images. `train_loss` is the training loss, with smoothing and class weights; `val_loss` is
/// plain cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Mean training loss over the epoch's training images.
    pub train_loss: f64,
    /// Share of the training images classified correctly, measured during training.
    pub train_accuracy: f64,
    /// Mean cross-entropy over the validation images.
    pub val_loss: f64,
    /// Share of the validation images classified correctly.
    pub val_accuracy: f64,
    /// F1 averaged over the classes that occur in validation; see [`ConfusionMatrix::macro_scores`](crate::ConfusionMatrix::macro_scores).
    pub val_macro_f1: f64,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Training images per second; validation time is not counted.
    pub images_per_second: f64,
    /// Wall time of training and validation.
    pub seconds: f64,
    /// The parts of `seconds`; all 0 if the line lacks them.
    #[serde(default)]
    pub times: EpochTimes,
    /// The scores of the averaged weights on the validation images, if there is an average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<ValidationScores>,
    /// The loss scale at the end of the epoch; only with f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// The unreadable images of the run so far; absent if there are none.
    #[serde(default, skip_serializing_if = "Unreadable::is_empty")]
    pub unreadable: Unreadable,
}

/// The number of unreadable images left out of each class, by class name. Classes without unreadable images are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Unreadable training images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub train: BTreeMap<String, usize>,
    /// Unreadable validation images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub val: BTreeMap<String, usize>,
}

impl Unreadable {
    /// The number of unreadable images in both splits.
    pub fn total(&self) -> usize {
        self.train.values().chain(self.val.values()).sum()
    }

    /// Whether every image could be read.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }
}

impl EpochReport {
    /// The scores of the network's own weights on the validation images.
    pub fn scores(&self) -> ValidationScores {
        ValidationScores {
            loss: self.val_loss,
            accuracy: self.val_accuracy,
            macro_f1: self.val_macro_f1,
        }
    }
}

/// A network's scores on the validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationScores {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of the images classified correctly.
    pub accuracy: f64,
    /// F1 averaged over the classes that occur.
    pub macro_f1: f64,
}

/// An event of a run.
///
/// Serialised, it is a map with the variant's name in snake_case under `event`, and the variant's fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Everything is set up and the first epoch begins next.
    RunStarted {
        /// The folder of the run.
        #[serde(serialize_with = "texts::path")]
        run_dir: PathBuf,
        /// The network's name.
        model: String,
        /// Class names in label order.
        classes: Vec<String>,
        /// The number of trainable parameters.
        parameters: usize,
        /// The number of training images.
        train_images: usize,
        /// The number of validation images.
        val_images: usize,
        /// The configured number of epochs.
        epochs: usize,
        /// The number of first epochs in which only the head learns.
        frozen_epochs: usize,
        /// The device's name.
        device: String,
        /// The number of CPU threads.
        threads: usize,
        /// The code that runs the network; see [`Model::executor`](mobilenet::Model::executor).
        executor: &'static str,
    },
    /// The run goes on from a saved state, or begins again if none was saved.
    Resumed {
        /// The epoch in progress, from 1; after the last epoch, one more.
        epoch: usize,
        /// The number of its batches that were trained on.
        batch: usize,
        /// The reports of the finished epochs.
        reports: Vec<EpochReport>,
        /// Differences from the program and machine that saved the state, in words. If there are any, the weights may
        /// differ from those of an uninterrupted run.
        differences: Vec<String>,
    },
    /// The precision was chosen, because the configured one is `"auto"`.
    PrecisionChosen(ChosenPrecision),
    /// The configured bf16 precision is slower than f32 on this processor.
    PrecisionSlow {
        /// The configured precision.
        precision: Precision,
        /// The measured speed of training in this precision.
        images_per_second: f64,
        /// The measured speed of training in f32.
        f32_images_per_second: f64,
    },
    /// The state of the run was saved.
    StateSaved {
        /// The epoch in progress, from 1.
        epoch: usize,
        /// The number of its batches that were trained on.
        batch: usize,
    },
    /// The state could not be saved. The next save point tries again.
    StateDelayed {
        /// The folder of the states.
        #[serde(serialize_with = "texts::path")]
        path: PathBuf,
        /// The operating system's reason.
        problem: String,
    },
    /// Weights were taken from a pretrained file.
    PretrainedLoaded(#[serde(serialize_with = "texts::loaded")] LoadReport),
    /// From this epoch on only the head learns.
    Frozen {
        /// The number of the epoch, from 1.
        epoch: usize,
    },
    /// From this epoch on the whole network learns.
    Unfrozen {
        /// The number of the epoch, from 1.
        epoch: usize,
    },
    /// Progress of computing features for the head.
    FeaturesComputed {
        /// The number of images that went through the network so far.
        done: usize,
        /// The number of all images of the run, including those with features on disk.
        images: usize,
    },
    /// The features of all images are ready: the network skips images while its backbone is frozen.
    FeaturesReady {
        /// The number of all images of the run.
        images: usize,
        /// The number of images that went through the network. The features of the others were on disk.
        computed: usize,
    },
    /// An epoch begins.
    EpochStarted {
        /// The number of the epoch, from 1.
        epoch: usize,
        /// The expected number of batches.
        batches: usize,
        /// The number of batches that were trained on before the run was resumed.
        done: usize,
    },
    /// A batch was trained on.
    BatchDone {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batch, counted from 1.
        batch: usize,
        /// The number of images in the batch.
        images: usize,
        /// The mean loss of the batch.
        loss: f64,
        /// The number of images of the epoch that were trained on so far.
        images_done: u64,
        /// The mean loss of these images.
        running_loss: f64,
        /// The share of these images that were classified correctly.
        running_accuracy: f64,
        /// The learning rate of the batch.
        learning_rate: f64,
    },
    /// The training images of the epoch are done, and validation begins.
    ValidationStarted {
        /// The number of the epoch, from 1.
        epoch: usize,
        /// The number of validation images.
        images: usize,
    },
    /// An epoch was trained and validated.
    EpochFinished(EpochReport),
    /// The running statistics of batch normalisation do not suit the weights. The network classifies its training
    /// images well with each batch's own statistics, but badly with the running statistics. Sent at most once per run.
    StatisticsUnsettled {
        /// The number of the epoch, from 1.
        epoch: usize,
        /// Share of the training images classified correctly, measured during training.
        training: f64,
        /// Share of a sample of these images classified correctly in inference.
        inference: f64,
    },
    /// Weights were written.
    CheckpointWritten {
        /// The file.
        #[serde(serialize_with = "texts::path")]
        path: PathBuf,
        /// The number of the epoch, from 1.
        epoch: usize,
        /// The monitored score.
        score: f64,
    },
    /// Weights could not be written. They stay in memory; writing is retried after the next epoch
    /// and at the end of the run.
    CheckpointDelayed {
        /// The file.
        #[serde(serialize_with = "texts::path")]
        path: PathBuf,
        /// The number of the epoch, from 1.
        epoch: usize,
        /// The operating system's reason.
        problem: String,
    },
    /// Training ended early, without gain for `patience` epochs.
    StoppedEarly {
        /// The last epoch.
        epoch: usize,
        /// The best epoch.
        best_epoch: usize,
    },
    /// Training was interrupted. The state is saved next.
    Interrupted {
        /// The epoch that was interrupted.
        epoch: usize,
    },
    /// Unreadable images were left out.
    ImagesSkipped {
        /// The number of unreadable images in the run so far.
        count: usize,
    },
    /// Training is over, and the network holds the best weights.
    Finished {
        /// The best epoch, if one was completed.
        best_epoch: Option<usize>,
        /// The best weights on disk.
        #[serde(serialize_with = "texts::some_path")]
        weights: Option<PathBuf>,
    },
}

/// Receives the events of a run.
pub trait EventSink {
    /// Receives one event.
    ///
    /// # Errors
    ///
    /// An error of a sink (such as a full disk) ends the run.
    fn handle(&mut self, event: &Event) -> Result<()>;

    /// Whether the state should be saved now. A run asks this after every step, and a request counts once. The event
    /// [`StateSaved`](Event::StateSaved) follows. If the run saves no states (`train.save_every` is `none`), a request
    /// has no effect.
    fn takes_save_request(&mut self) -> bool {
        false
    }
}

/// Ignores all events.
impl EventSink for () {
    fn handle(&mut self, _event: &Event) -> Result<()> {
        Ok(())
    }
}

/// Passes events to both sinks. Nest pairs for more than two.
impl<A: EventSink, B: EventSink> EventSink for (A, B) {
    fn handle(&mut self, event: &Event) -> Result<()> {
        self.0.handle(event)?;
        self.1.handle(event)
    }

    fn takes_save_request(&mut self) -> bool {
        // Both are asked: each may have a request.
        self.0.takes_save_request() | self.1.takes_save_request()
    }
}

impl<S: EventSink + ?Sized> EventSink for &mut S {
    fn handle(&mut self, event: &Event) -> Result<()> {
        (**self).handle(event)
    }

    fn takes_save_request(&mut self) -> bool {
        (**self).takes_save_request()
    }
}

/// Passes events on, if there is a sink.
impl<S: EventSink> EventSink for Option<S> {
    fn handle(&mut self, event: &Event) -> Result<()> {
        self.as_mut().map_or(Ok(()), |sink| sink.handle(event))
    }

    fn takes_save_request(&mut self) -> bool {
        self.as_mut().is_some_and(EventSink::takes_save_request)
    }
}

/// Records every event, for tests and notebooks.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// All events, in order.
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

#[cfg(test)]
mod tests;
