//! The precision of a run: the choice of `"auto"`, and the measured speeds behind it.
//!
//! Which precision trains fastest depends on the processor, so it is measured: once for each processor, build and
//! executor, then kept in a file. The measured precision becomes a part of the run's configuration, so a later
//! measurement changes no run.

mod cache;
mod machine;
mod measure;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use mobilenet::{Isa, Model, Precision, Processor};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::config::PrecisionChoice;
use cache::Cache;
use machine::Machine;
pub(crate) use measure::TrainingSteps;

/// Speeds that differ by less than this factor count as equal.
const EQUAL: f64 = 1.03;

/// The executors that run networks in bf16 on a CPU.
const EXECUTORS: [&str; 2] = ["fused", LAYERED];
/// The one for any network of convolutions.
const LAYERED: &str = "layered";

/// The measured speed of training in a precision on this processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpeed {
    /// The precision: f32, or bf16 with certain instructions.
    pub precision: Precision,
    /// Images per second of forward and backward passes: the geometric mean of two small trainings.
    pub images_per_second: f64,
}

/// The precision that `"auto"` has chosen. [`Display`](fmt::Display) shows it with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenPrecision {
    /// The precision.
    pub precision: Precision,
    /// The speed in each precision that this processor has. Empty if nothing was measured.
    pub speeds: Vec<TrainingSpeed>,
    /// If nothing was measured: why only f32 is possible.
    pub reason: Option<String>,
}

impl fmt::Display for ChosenPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "precision auto: {}", self.precision)?;
        if let Some(reason) = &self.reason {
            return write!(f, ", because {reason}");
        }
        let shown =
            |speed: &TrainingSpeed| format!("{} {:.0}", speed.precision, speed.images_per_second);
        let speeds: Vec<String> = self.speeds.iter().map(shown).collect();
        write!(f, " (images/s on this processor: {})", speeds.join(", "))
    }
}

/// A bf16 precision that is slower than f32 on this processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slower {
    pub(crate) images_per_second: f64,
    pub(crate) in_f32: f64,
}

/// The folder for measured speeds.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Keeps the measured speeds of training in a folder, for later processes. The first call counts. Without a call, every
/// process that needs them measures them again, which takes two to three seconds.
pub fn keep_speeds_in(folder: PathBuf) {
    // A second folder is as good as the first.
    let _ = FOLDER.set(folder);
}

/// The precision for a model that was just built, and is to run on `processor`. For `"auto"`, the choice is returned too,
/// so that it can be shown.
///
/// `"auto"` is the fastest of f32 and the bf16 instructions of this processor, as measured; see [`keep_speeds_in`]. It is
/// f32 without a measurement for models that do not run in bf16, and on GPUs. Networks of the `fused` and of the `layered`
/// executor are measured apart.
///
/// # Errors
///
/// If the measured networks cannot be built or run.
pub fn settle_precision(
    choice: PrecisionChoice,
    model: &dyn Model,
    processor: &Processor,
) -> Result<(Precision, Option<ChosenPrecision>)> {
    if let Some(precision) = choice.fixed() {
        return Ok((precision, None));
    }
    let (name, device, best) = (model.description().name(), processor.name(), Isa::best());
    let reason = if !is_cpu(processor) {
        Some(format!("the network runs on {device}, not on the CPU"))
    } else if !EXECUTORS.contains(&model.executor()) {
        Some(format!("{name} does not run in bf16"))
    } else if Precision::bf16_of_this_processor().is_empty() {
        Some(format!(
            "bf16 is not available with instruction set {best} of this processor"
        ))
    } else {
        None
    };
    let speeds = match reason {
        Some(_) => Vec::new(),
        None => speeds(model.executor())?,
    };
    let chosen = ChosenPrecision {
        precision: fastest(&speeds),
        speeds,
        reason,
    };
    Ok((chosen.precision, Some(chosen)))
}

/// The measured speeds of a bf16 precision that is slower than f32 on a CPU, for networks of an executor. `None` if it is
/// not, and for other precisions.
pub(crate) fn slower(
    precision: Precision,
    executor: &str,
    processor: &Processor,
) -> Result<Option<Slower>> {
    let measured = match precision {
        Precision::Bf16 => Precision::bf16_of_this_processor().first().copied(),
        other => Some(other),
    };
    match measured.filter(|measured| measured.is_bf16() && is_cpu(processor)) {
        Some(measured) => Ok(compared(measured, &speeds(executor)?)),
        None => Ok(None),
    }
}

/// The precision in which a run goes on: its own, or the nearest one if this CPU lacks the instructions.
pub(crate) fn kept(precision: Precision, processor: &Processor) -> Precision {
    match precision.is_bf16() && is_cpu(processor) {
        true => precision.available(),
        false => precision,
    }
}

fn is_cpu(processor: &Processor) -> bool {
    processor.name() == "cpu"
}

fn speed_in(precision: Precision, speeds: &[TrainingSpeed]) -> Option<f64> {
    let mut speeds = speeds.iter();
    let found = speeds.find(|speed| speed.precision == precision);
    found.map(|speed| speed.images_per_second)
}

/// The precision with the most images per second. f32 wins where it is equal.
fn fastest(speeds: &[TrainingSpeed]) -> Precision {
    let in_f32 = speed_in(Precision::F32, speeds).unwrap_or_default();
    let best = speeds
        .iter()
        .filter(|speed| speed.images_per_second > EQUAL * in_f32)
        .max_by(|one, other| one.images_per_second.total_cmp(&other.images_per_second));
    best.map_or(Precision::F32, |best| best.precision)
}

/// The speeds of a precision that is slower than f32.
fn compared(precision: Precision, speeds: &[TrainingSpeed]) -> Option<Slower> {
    let found = Slower {
        images_per_second: speed_in(precision, speeds)?,
        in_f32: speed_in(Precision::F32, speeds)?,
    };
    (found.in_f32 > EQUAL * found.images_per_second).then_some(found)
}

/// The speeds of training networks of an executor, in f32 and in each bf16 precision of this processor.
fn speeds(executor: &str) -> Result<Vec<TrainingSpeed>> {
    // A process measures an executor at most once, even if no file can be kept, and never two at a time.
    static MEASURED: Mutex<Vec<(Machine, Vec<TrainingSpeed>)>> = Mutex::new(Vec::new());
    let mut measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = Machine::here(executor);
    if let Some((_, speeds)) = measured.iter().find(|(of, _)| *of == machine) {
        return Ok(speeds.clone());
    }
    let measure = || {
        tracing::info!("measuring once which precision is the fastest on this processor");
        measure::speeds(executor, &machine.precisions)
    };
    let speeds = match FOLDER
        .get()
        .and_then(|folder| Cache::open(folder, &machine))
    {
        Some(cache) => cache.speeds(measure)?,
        None => measure()?,
    };
    measured.push((machine, speeds.clone()));
    Ok(speeds)
}

#[cfg(test)]
mod tests;
