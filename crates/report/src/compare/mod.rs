//! Runs side by side.

mod pairs;
mod settings;

use std::path::PathBuf;

use serde::Serialize;
use trainer::{EpochReport, Evaluation, Interval, Measured, RunDir, ValidationScores};

use crate::chart::{self, Curves};
use crate::material::Material;
use crate::{Result, Svg};

pub use pairs::Paired;
pub use settings::Setting;

/// Runs side by side: the settings in which they differ, their scores, and tests of their answers.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The runs, in the given order.
    pub runs: Vec<RunSummary>,
    /// The settings that are not the same in all runs.
    pub settings: Vec<Setting>,
    /// Each run but the first, tested against the first.
    pub tests: Vec<Paired>,
    #[serde(skip)]
    epochs: Vec<Vec<EpochReport>>,
}

/// The figures of a run. A figure is `None` if the run has no file with it; then `missing` has the reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// A short name, different from those of the other runs.
    pub name: String,
    /// The folder of the run.
    pub path: PathBuf,
    /// The model's name.
    pub model: String,
    /// The number of trainable parameters.
    pub parameters: Option<usize>,
    /// The number of finished epochs.
    pub epochs: usize,
    /// The epoch of the best weights, from 1.
    pub best_epoch: Option<usize>,
    /// The validation scores of the best weights.
    pub validation: Option<ValidationScores>,
    /// The scores of the best weights on the test images.
    pub test: Option<TestScores>,
    /// Mean wall time of an epoch.
    pub seconds_per_epoch: Option<f64>,
    /// Training images per second, averaged over the epochs.
    pub images_per_second: Option<f64>,
    /// The missing figures, each with the reason.
    pub missing: Vec<String>,
}

/// The scores of a run's best weights on the test images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TestScores {
    /// The number of images.
    pub images: u64,
    /// The share of images classified correctly.
    pub accuracy: f64,
    /// Its 95 % interval.
    pub accuracy_interval: Interval,
    /// F1 averaged over the classes that occur.
    pub macro_f1: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

impl Comparison {
    /// Reads the folders of runs. A run that was interrupted, or that an older version wrote, has fewer figures.
    ///
    /// # Errors
    ///
    /// [`Error::NoRun`](crate::Error::NoRun) for a folder without `config.toml`; [`Error::Io`](crate::Error::Io) and
    /// [`Error::Run`](crate::Error::Run) for a file that cannot be read or understood.
    pub fn of(folders: &[PathBuf]) -> Result<Self> {
        let materials = folders.iter().map(|folder| Material::of_run(folder));
        let mut materials: Vec<Material> = materials.collect::<Result<_>>()?;
        name_apart(&mut materials, folders);
        let runs = materials.iter().zip(folders);
        let tests = match materials.split_first() {
            Some((first, others)) => pairs::against(first, others)?,
            None => Vec::new(),
        };
        Ok(Self {
            runs: runs
                .map(|(material, folder)| summary(material, folder.clone()))
                .collect(),
            settings: settings::differences(&materials)?,
            tests,
            epochs: materials
                .into_iter()
                .map(|material| material.epochs)
                .collect(),
        })
    }

    /// The validation loss and accuracy of all runs over the epochs.
    #[must_use]
    pub fn curves(&self) -> Svg {
        let runs = self.runs.iter().zip(&self.epochs);
        let runs: Vec<Curves> = runs
            .map(|(run, epochs)| Curves {
                name: &run.name,
                epochs,
            })
            .collect();
        chart::of_runs(&runs)
    }
}

/// Replaces names that occur twice by the folders as given, which are different.
fn name_apart(materials: &mut [Material], folders: &[PathBuf]) {
    let names: Vec<String> = materials
        .iter()
        .map(|material| material.name.clone())
        .collect();
    for ((material, name), folder) in materials.iter_mut().zip(&names).zip(folders) {
        if names.iter().filter(|other| *other == name).count() > 1 {
            material.name = folder.display().to_string();
        }
    }
}

fn summary(material: &Material, path: PathBuf) -> RunSummary {
    let Material { record, epochs, .. } = material;
    let mut missing = Vec::new();
    if record.is_none() {
        missing.push(
            "no run.json, so the parameters are not known: an older version wrote the run"
                .to_owned(),
        );
    }
    if epochs.is_empty() {
        missing.push("no epoch in metrics.jsonl: the run ended before the first".to_owned());
    }
    let test = match &material.scores {
        Some((scores, Measured::Test)) => Some(TestScores::of(scores)),
        Some((_, Measured::Validation)) => {
            missing.push("no test scores: the data have no test split".to_owned());
            None
        }
        None => {
            let file = RunDir::evaluation(&path, Measured::Test);
            let file = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            missing.push(format!(
                "no test scores: the run was interrupted, or an older version wrote it, so it has no {file}"
            ));
            None
        }
    };
    let best = best(material);
    let mean = |value: fn(&EpochReport) -> f64| {
        let sum: f64 = epochs.iter().map(value).sum();
        (!epochs.is_empty()).then(|| sum / epochs.len() as f64)
    };
    RunSummary {
        name: material.name.clone(),
        path,
        model: model(material),
        parameters: record.as_ref().map(|record| record.parameters),
        epochs: epochs.len(),
        best_epoch: best.map(|(epoch, _)| epoch),
        validation: best.map(|(_, scores)| scores),
        test,
        seconds_per_epoch: mean(|report| report.seconds),
        images_per_second: mean(|report| report.images_per_second),
        missing,
    }
}

impl TestScores {
    fn of(scores: &Evaluation) -> Self {
        Self {
            images: scores.images,
            accuracy: scores.accuracy,
            accuracy_interval: scores.accuracy_interval,
            macro_f1: scores.macro_f1,
            loss: scores.loss,
        }
    }
}

fn model(material: &Material) -> String {
    let configured = || Some(material.config.as_ref()?.0.model.name.to_string());
    let recorded = material.record.as_ref().map(|record| record.model.clone());
    recorded.or_else(configured).unwrap_or_default()
}

/// The best epoch, and the validation scores of its better weights: the network's own, or their average.
fn best(material: &Material) -> Option<(usize, ValidationScores)> {
    let (config, _) = material.config.as_ref()?;
    let monitor = config.train.monitor;
    let recorded = material.best_epoch();
    let epochs = material.epochs.iter();
    let candidates = epochs.filter(|report| recorded.is_none_or(|epoch| epoch == report.epoch));
    let candidates = candidates.flat_map(|report| {
        let both = [Some(report.scores()), report.ema].into_iter().flatten();
        both.map(|scores| (report.epoch, scores))
    });
    let mut best: Option<(usize, ValidationScores)> = None;
    for (epoch, scores) in candidates {
        let before = best.as_ref().map(|(_, scores)| scores);
        if monitor.compare(&scores, before).is_gt() {
            best = Some((epoch, scores));
        }
    }
    best
}

#[cfg(test)]
mod tests;
