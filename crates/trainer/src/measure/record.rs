//! The record of a run: on which machine, images and classes it trained, and how it ended.

use std::path::Path;

use mobilenet::Precision;
use serde::{Deserialize, Serialize};

use crate::fit::Ending;
use crate::precision::TrainingSpeed;
use crate::table::{read_json, write_json};
use crate::{EpochReport, Error, Result, RunDir};

/// The contents of `run.json`, the record of a run. It is written at the start and at the end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of this crate.
    pub version: String,
    /// The model's name.
    pub model: String,
    /// The number of trainable parameters.
    pub parameters: usize,
    /// The device's name: `cpu`, `cuda` or `metal`.
    pub device: String,
    /// The processor's instruction set.
    pub processor: String,
    /// The precision in which the network computes.
    #[serde(default)]
    pub precision: Option<Precision>,
    /// The measured speeds by which `"auto"` chose the precision; empty if it did not.
    #[serde(default)]
    pub speeds: Vec<TrainingSpeed>,
    /// The number of CPU threads.
    pub threads: usize,
    /// The operating system and the architecture.
    pub system: String,
    /// The time at which the run first started, in seconds since 1970 (UTC).
    pub started: u64,
    /// The time at which the run ended. `None` while it is active, and if it was killed.
    #[serde(default)]
    pub finished: Option<u64>,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// The images of each split.
    pub splits: Vec<SplitRecord>,
    /// The monitored score, as in the configuration.
    pub monitor: String,
    /// How the run ended. `None` while it is active, and if it failed or was killed.
    #[serde(default)]
    pub ending: Option<Ending>,
    /// The epoch of the best weights, from 1.
    #[serde(default)]
    pub best_epoch: Option<usize>,
    /// The monitored score of that epoch.
    #[serde(default)]
    pub best_score: Option<f64>,
    /// The file of the best weights, within the folder of the run.
    #[serde(default)]
    pub weights: Option<String>,
}

/// The images of one split of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRecord {
    /// `train`, `val` or `test`.
    pub name: String,
    /// The number of images.
    pub images: u64,
    /// The number of images of each class, in label order.
    pub per_class: Vec<u64>,
    /// The SHA-256 of the ids and labels of all images, in order, in hexadecimal.
    pub fingerprint: String,
}

impl RunRecord {
    /// Reads the record in the folder of a run. `None` if there is none: an older version wrote the run.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be read, and [`Error::BadFile`] if it is no such record.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = RunDir::record(run);
        match path.is_file() {
            true => {
                read_json(&path, "the record of a run, as `classify train` writes it").map(Some)
            }
            false => Ok(None),
        }
    }

    /// Writes the record into the folder of a run. The file appears only when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] naming the file.
    pub fn write(&self, run: &Path) -> Result<()> {
        write_json(&RunDir::record(run), self)
    }
}

/// Reads the reports of a run's epochs from `metrics.jsonl`. An unfinished last line is left out: the run was killed
/// while it wrote it.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be read, and [`Error::BadFile`] with the number of a line that is no report.
pub fn read_metrics(path: &Path) -> Result<Vec<EpochReport>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate();
    let report = |(index, line)| {
        serde_json::from_str(line).map_err(|error| Error::BadFile {
            path: path.to_owned(),
            problem: format!("line {}: {error}", index + 1),
            expected: "the metrics of a run, one JSON object per epoch",
        })
    };
    lines.map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_up_to_an_unfinished_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let line = r#"{"epoch":1,"train_loss":0.5,"train_accuracy":0.5,"val_loss":0.5,"val_accuracy":0.25,"val_macro_f1":0.5,"learning_rate":0.1,"images_per_second":8,"seconds":2.5}"#;
        std::fs::write(&path, format!("{line}\n{}", &line[..30])).unwrap();
        let reports = read_metrics(&path).unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].val_accuracy, 0.25);
        std::fs::write(&path, "").unwrap();
        assert_eq!(read_metrics(&path).unwrap(), []);
        std::fs::write(&path, format!("{line}\n{{}}\n")).unwrap();
        let error = read_metrics(&path).unwrap_err();
        assert!(
            matches!(&error, Error::BadFile { problem, .. } if problem.starts_with("line 2")),
            "{error}"
        );
        let missing = read_metrics(&dir.path().join("none"));
        assert!(matches!(missing, Err(Error::Io { .. })), "{missing:?}");
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(RunRecord::read(dir.path()).unwrap(), None);
        let record = RunRecord {
            version: "0.1.0".to_owned(),
            model: "mobilenet_v3_small".to_owned(),
            parameters: 12,
            device: "cpu".to_owned(),
            processor: "avx2".to_owned(),
            precision: Some(Precision::Bf16),
            speeds: vec![TrainingSpeed {
                precision: Precision::F32,
                images_per_second: 100.5,
            }],
            threads: 2,
            system: "linux x86_64".to_owned(),
            started: 1,
            finished: None,
            classes: vec!["a".to_owned(), "b".to_owned()],
            splits: vec![SplitRecord {
                name: "train".to_owned(),
                images: 3,
                per_class: vec![1, 2],
                fingerprint: "00".to_owned(),
            }],
            monitor: "val_accuracy".to_owned(),
            ending: Some(Ending::StoppedEarly),
            best_epoch: Some(1),
            best_score: Some(0.1),
            weights: None,
        };
        record.write(dir.path()).unwrap();
        assert_eq!(RunRecord::read(dir.path()).unwrap(), Some(record));
        std::fs::write(RunDir::record(dir.path()), "{}").unwrap();
        let error = RunRecord::read(dir.path()).unwrap_err();
        assert!(matches!(error, Error::BadFile { .. }), "{error}");
    }
}
