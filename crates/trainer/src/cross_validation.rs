//! Stratified k-fold cross-validation: one run per fold, and summary statistics.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use files::Checksum;
use mnist_data::{Fold, ImageFolder, Sample, TRAIN, VALIDATION, folds, folds_of_groups};
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::events::{EventSink, MetricsFile, TensorBoard, ValidationScores};
use crate::fit::{Ending, Outcome, resume, with_precision};
use crate::table::write_json;
use crate::{Error, Result, RunDir, Splits};

/// The division of images into folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldsConfig {
    /// The number of folds, at least 2.
    pub count: usize,
    /// The seed of the division.
    pub seed: u64,
}

/// The results of the finished folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// How the images are divided.
    pub division: FoldsConfig,
    /// The SHA-256 of the list of images, in hexadecimal.
    pub images: String,
    /// The result of each fold, in order.
    pub folds: Vec<FoldReport>,
    /// Accuracy: the share of the validation images classified correctly.
    pub accuracy: Spread,
    /// Macro F1: F1 averaged over the classes that occur.
    pub macro_f1: Spread,
    /// Mean cross-entropy.
    pub loss: Spread,
}

/// The result of one fold's run, from its best epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldReport {
    /// The best weights of the run.
    pub weights: PathBuf,
    /// The best epoch, counted from 1.
    pub epoch: usize,
    /// The number of training images.
    pub train_images: usize,
    /// The number of validation images.
    pub val_images: usize,
    /// The scores of the weights on the validation images.
    pub scores: ValidationScores,
}

/// Mean and standard deviation of a score over the folds; 0 if no fold is finished.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean over the folds.
    pub mean: f64,
    /// The sample standard deviation (over n - 1).
    pub std: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = (values.clone().count() as f64).max(1.0);
        let mean = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            std: (squares / (count - 1.0).max(1.0)).sqrt(),
        }
    }
}

impl CrossValidation {
    /// Reads the results of a cross-validation that was interrupted, from its folder.
    ///
    /// # Errors
    ///
    /// [`Error::NoRun`] if there are none.
    pub fn read(run: &RunDir) -> Result<Self> {
        let path = run.cross_validation();
        let no_run = |problem: String| Error::NoRun {
            path: path.clone(),
            problem: format!(
                "{problem}; expected the results of a cross-validation that was interrupted"
            ),
        };
        let json = std::fs::read(&path).map_err(|error| no_run(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| no_run(error.to_string()))
    }

    fn of(division: FoldsConfig, images: String, folds: Vec<FoldReport>) -> Self {
        let spread = |figure: fn(&ValidationScores) -> f64| {
            Spread::of(folds.iter().map(move |report| figure(&report.scores)))
        };
        Self {
            accuracy: spread(|scores| scores.accuracy),
            macro_f1: spread(|scores| scores.macro_f1),
            loss: spread(|scores| scores.loss),
            division,
            images,
            folds,
        }
    }

    /// Writes the results as JSON, atomically.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] naming the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }
}

/// Cross-validates on the training and validation images of `splits`; open these by [`Splits::open_for_folds`]. The
/// images are divided into folds with the same share of each class (scikit-learn's `StratifiedKFold`). For each fold, a
/// run trains on the other folds and validates on this one. Its folder is `<run>/fold-1` and so on.
///
/// After each fold, the results so far are in [`RunDir::cross_validation`], so an interrupted or failed run keeps its
/// finished folds. With these results as `before`, it goes on with the unfinished folds. If that file cannot be written,
/// a warning reports it, and the folds continue. Returns `None` if interrupted.
///
/// # Errors
///
/// The errors of [`fit`](crate::fit), and an error for fewer than two folds or too few images. [`Error::Changed`] if the
/// images are others than before.
pub fn cross_validate(
    config: &RunConfig,
    splits: &Splits,
    division: &FoldsConfig,
    run: &RunDir,
    before: Option<CrossValidation>,
    sink: &mut dyn EventSink,
    interrupt: &AtomicBool,
) -> Result<Option<CrossValidation>> {
    let images = ImageFolder {
        samples: all_samples(splits).into(),
        classes: splits.train.classes.clone(),
    };
    let folds = divide(&images, splits, division)?;
    let checksum = checksum(&images);
    let mut result = match before {
        Some(before) if before.images != checksum => {
            let problem = "the images of a cross-validation have changed".to_owned();
            return Err(Error::Changed(problem));
        }
        Some(before) => before,
        None => {
            let none = CrossValidation::of(division.clone(), checksum, Vec::new());
            none.write(&run.cross_validation())?;
            none
        }
    };
    // All folds have one precision. Each fold resolves what depends on the file of pretrained weights.
    let config = &with_precision(config, images.classes.names(), sink)?;
    let settled = config.settled()?;
    let mut resolved = settled.resolved(&settled.model(images.classes.names().len()));
    resolved.model.padding = settled.model.padding;
    resolved.model.batch_norm_epsilon = settled.model.batch_norm_epsilon;
    run.write_config(&resolved)?;
    for (index, fold) in folds.into_iter().enumerate().skip(result.folds.len()) {
        let name = format!("fold {}", index + 1);
        let splits = Splits::of_fold(&images, &fold, "folds", &name);
        let path = run.path().join(format!("fold-{}", index + 1));
        let own = RunDir::reopen_or_create(&path)?;
        let board = TensorBoard::create(own.path(), config, &splits)?;
        let mut sinks = (MetricsFile::append(&own.metrics())?, (board, &mut *sink));
        let outcome = resume(config, &splits, &own, own.state()?, &mut sinks, interrupt);
        drop(sinks);
        let outcome = match outcome {
            Ok(outcome) if outcome.ending != Ending::Interrupted => outcome,
            other => {
                own.remove_if_fruitless();
                return other.map(|_| None);
            }
        };
        let mut reports = result.folds;
        reports.push(report(config, &fold, outcome)?);
        result = CrossValidation::of(result.division, result.images, reports);
        match result.write(&run.cross_validation()) {
            // Without its result, the fold would be trained again.
            Ok(()) => own.remove_states(),
            Err(error) => tracing::warn!("{}", mnist_data::with_causes(&error)),
        }
    }
    Ok(Some(result))
}

fn divide(images: &ImageFolder, splits: &Splits, division: &FoldsConfig) -> Result<Vec<Fold>> {
    let labels: Vec<usize> = images.samples.iter().map(|sample| sample.label).collect();
    let FoldsConfig { count, seed } = *division;
    Ok(match &splits.looked {
        Some(looked) => {
            // Copies and near-identical neighbours of an image are validated on together.
            let group = |(index, sample): (usize, &Sample)| {
                *looked.groups.get(&sample.path()).unwrap_or(&index)
            };
            let groups: Vec<usize> = images.samples.iter().enumerate().map(group).collect();
            folds_of_groups(&labels, &groups, count, seed)?
        }
        None => folds(&labels, count, seed)?,
    })
}

/// A checksum of the ids and classes of all images.
fn checksum(images: &ImageFolder) -> String {
    let mut checksum = Checksum::default();
    let names = images.classes.names().iter();
    names.for_each(|name| checksum.text(name));
    for sample in images.samples.iter() {
        checksum.text(sample.id());
        checksum.text(&sample.label.to_string());
    }
    checksum.finish()
}

fn report(config: &RunConfig, fold: &Fold, outcome: Outcome) -> Result<FoldReport> {
    let best = outcome
        .best
        .ok_or_else(|| Error::NoImages("a fold without a completed epoch".to_owned()))?;
    let [limit, val_limit] =
        [config.data.limit, config.data.val_limit].map(|limit| limit.unwrap_or(usize::MAX));
    Ok(FoldReport {
        weights: best.weights,
        epoch: best.epoch,
        train_images: fold.train.len().min(limit),
        val_images: fold.val.len().min(val_limit),
        scores: best.scores,
    })
}

/// The images of both splits; ids begin with the split.
fn all_samples(splits: &Splits) -> Vec<Sample> {
    let named = |split: &str, folder: &ImageFolder| -> Vec<Sample> {
        let samples = folder.samples.iter().cloned();
        let prefix = format!("{split}/");
        samples.map(|sample| sample.prefixed(&prefix)).collect()
    };
    let mut samples = named(TRAIN, &splits.train);
    samples.extend(named(VALIDATION, &splits.val));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_numpys_with_one_degree_of_freedom_less() {
        let spread = Spread::of([1.0, 2.0, 4.0].into_iter());
        assert!((spread.mean - 7.0 / 3.0).abs() < 1e-12);
        assert!((spread.std - 1.5275252316519468).abs() < 1e-12);
        assert_eq!(Spread::of([3.0].into_iter()).std, 0.0);
    }
}
