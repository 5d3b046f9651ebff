//! The state of a run: everything that training depends on, saved so that a later process goes on with the same bits.

mod file;
mod folder;
mod images;
mod saver;
mod writing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mobilenet::{BatchCounts, Isa, ModelDescription, Precision, Segment};
use optim::{LossScalerState, LrScheduleState, OptimizerCounters, OptimizerState};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Best;
use crate::config::PrecisionChoice;
use crate::fit::Ending;
use crate::measure::Counts;
use crate::{EpochReport, EpochTimes, Error, Result, ValidationScores};
pub(crate) use folder::{StateFolder, has_states};
pub(crate) use images::ImageList;
pub(crate) use saver::{Border, Saver};
pub(crate) use writing::{Builder, Unwritten};

/// The version of the state. A state of another version is refused.
pub(crate) const VERSION: u32 = 1;

/// A position in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The epoch in progress, from 1; after the last epoch, one more.
    pub epoch: usize,
    /// The number of its batches that were trained on.
    pub batch: usize,
}

/// The program and machine that computed a state. Others may round differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) version: String,
    pub(crate) device: String,
    pub(crate) instructions: String,
    pub(crate) threads: usize,
}

impl Origin {
    pub(crate) fn here(device: &str, precision: Option<Precision>, threads: usize) -> Self {
        // A precision that does not run on this CPU runs on a GPU.
        let isa = precision.and_then(|precision| precision.isa().ok());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: device.to_owned(),
            instructions: isa.unwrap_or_else(Isa::best).to_string(),
            threads,
        }
    }

    /// Each difference in words: `threads 2 instead of 4`.
    pub(crate) fn differences(&self, before: &Self) -> Vec<String> {
        let number = |threads: usize| threads.to_string();
        [
            ("version", &self.version, &before.version),
            ("device", &self.device, &before.device),
            ("instruction set", &self.instructions, &before.instructions),
            ("threads", &number(self.threads), &number(before.threads)),
        ]
        .into_iter()
        .filter(|(_, now, before)| now != before)
        .map(|(name, now, before)| format!("{name} {now} instead of {before}"))
        .collect()
    }
}

/// The part of a state that is no tensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) origin: Origin,
    /// The precision. A run keeps it, even if another one is faster by now. States of older versions lack it.
    #[serde(default)]
    pub(crate) precision: Option<Precision>,
    pub(crate) place: Place,
    /// How the run ended, if it is over.
    pub(crate) ending: Option<Ending>,
    /// The number of batches so far, which is also the seed of the next batch's dropout.
    pub(crate) batches: u64,
    /// The number of optimizer steps so far.
    pub(crate) steps: u64,
    /// The batches in a row that were left out because training diverged.
    pub(crate) left_out_in_a_row: usize,
    pub(crate) model: ModelDescription,
    pub(crate) counts: BatchCounts,
    pub(crate) fresh_statistics: bool,
    pub(crate) unsettled: bool,
    pub(crate) epochs_without_gain: usize,
    pub(crate) optimizer: OptimizerCounters,
    pub(crate) schedule: LrScheduleState,
    pub(crate) loss_scaler: Option<LossScalerState>,
    pub(crate) tracks: Vec<TrackRecord>,
    /// The best weights so far, of all tracks.
    pub(crate) best: Option<BestRecord>,
    /// The measurements of the epoch in progress.
    pub(crate) epoch: Option<EpochRecord>,
    /// The reports of the finished epochs.
    pub(crate) reports: Vec<EpochReport>,
    /// The unreadable images so far of the training and the validation split.
    pub(crate) unreadable: [Vec<(usize, String)>; 2],
    /// The checksum of the list of images.
    pub(crate) images: String,
    /// The checksums of other files that training depends on, by key.
    pub(crate) files: BTreeMap<String, String>,
}

/// The measurements of an epoch in progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochRecord {
    pub(crate) confusion: Counts,
    pub(crate) learning_rate: f64,
    pub(crate) times: EpochTimes,
}

/// One of the tracks of weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrackRecord {
    /// The number of updates of the average of the parameters and of the statistics; `None` for the weights.
    pub(crate) updates: Option<[u64; 2]>,
    pub(crate) best: Option<BestRecord>,
    pub(crate) kept: Option<BestRecord>,
    /// The counts of batches of the best weights.
    pub(crate) counts: Option<BatchCounts>,
}

/// [`Best`], with the name of the file: the folder of the run may have moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BestRecord {
    epoch: usize,
    score: f64,
    scores: ValidationScores,
    #[serde(default)]
    temperature: Option<f64>,
    file: String,
}

impl BestRecord {
    pub(crate) fn of(best: &Best) -> Self {
        let file = best.weights.file_name().unwrap_or_default();
        Self {
            epoch: best.epoch,
            score: best.score,
            scores: best.scores,
            temperature: best.temperature,
            file: file.to_string_lossy().into_owned(),
        }
    }

    pub(crate) fn in_folder(&self, run: &Path) -> Best {
        Best {
            epoch: self.epoch,
            score: self.score,
            scores: self.scores,
            temperature: self.temperature,
            // A file name only: a state that was tampered with must not make the run delete other files.
            weights: run.join(Path::new(&self.file).file_name().unwrap_or_default()),
        }
    }
}

/// The saved state of a run; see [`RunDir::state`](crate::RunDir::state).
#[derive(Debug)]
pub struct RunState {
    path: PathBuf,
    pub(crate) record: Record,
    tensors: BTreeMap<String, Vec<f32>>,
}

impl RunState {
    /// The position in the run at which training goes on.
    pub fn place(&self) -> Place {
        self.record.place
    }

    /// The precision of the run.
    pub(crate) fn precision(&self) -> PrecisionChoice {
        let precision = self.record.precision;
        precision.map_or(PrecisionChoice::Auto, PrecisionChoice::Fixed)
    }

    /// How the run ended; `None` if it is not over.
    pub fn ending(&self) -> Option<Ending> {
        self.record.ending
    }

    /// The reports of the finished epochs.
    pub fn epochs(&self) -> &[EpochReport] {
        &self.record.reports
    }

    /// The best epoch so far. `run` is the folder of the run.
    pub fn best(&self, run: &Path) -> Option<Best> {
        let best = self.record.best.as_ref();
        best.map(|best| best.in_folder(run))
    }

    /// Reads the state in a file.
    fn read(path: &Path) -> Result<Self, Unreadable> {
        let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let bytes = std::fs::read(path).map_err(|error| Unreadable::Refused(error.to_string()))?;
        let file::Contents { state, tensors } = file::parse(&bytes).map_err(Unreadable::Damaged)?;
        let version: Version = serde_json::from_str(&state).map_err(damaged)?;
        if version.version != VERSION {
            return Err(Unreadable::Refused(format!(
                "it has version {} of the format, this program reads version {VERSION}: resume with the program that \
                 began the run",
                version.version
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            record: serde_json::from_str(&state).map_err(damaged)?,
            tensors,
        })
    }

    /// The flat buffer of these tensors, whose names begin with `prefix`.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if a tensor is missing or has another number of values.
    pub(crate) fn take(&mut self, prefix: &str, segments: &[Segment]) -> Result<Vec<f32>> {
        let length = segments.last().map_or(0, |last| last.range.end);
        let mut values = Vec::with_capacity(length);
        for segment in segments {
            let name = format!("{prefix}/{}", segment.name);
            let tensor = self.tensors.remove(&name);
            let tensor = tensor.ok_or_else(|| self.unfit(format!("it has no tensor {name}")))?;
            if tensor.len() != segment.range.len() {
                let (found, expected) = (tensor.len(), segment.range.len());
                let problem = format!("its tensor {name} has {found} values, expected {expected}");
                return Err(self.unfit(problem));
            }
            values.extend(tensor);
        }
        Ok(values)
    }

    /// The state of the optimizer; `names` are those of its buffers.
    pub(crate) fn take_optimizer(
        &mut self,
        names: &[&str],
        segments: &[Segment],
    ) -> Result<OptimizerState> {
        let buffers = names.iter().map(|name| {
            let values = self.take(&format!("optimizer.{name}"), segments)?;
            Ok(((*name).to_owned(), values))
        });
        Ok(OptimizerState {
            buffers: buffers.collect::<Result<_>>()?,
            counters: self.record.optimizer.clone(),
        })
    }

    /// The error for a state that does not fit the run.
    pub(crate) fn unfit(&self, problem: String) -> Error {
        Error::State {
            path: self.path.clone(),
            problem,
        }
    }
}

/// Why a state cannot be used.
enum Unreadable {
    /// The file is not what was written: an older state may be sound.
    Damaged(String),
    /// The file may be sound, but this program or the system cannot read it.
    Refused(String),
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}
