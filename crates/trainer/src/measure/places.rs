//! The files of measures in the folder of a run.

use std::path::{Path, PathBuf};

use super::Measured;
use crate::RunDir;

impl RunDir {
    /// The path of `run.json`, the record of a run, in its folder.
    pub fn record(run: &Path) -> PathBuf {
        run.join("run.json")
    }

    /// The path of `evaluation-test.json` or `evaluation-validation.json` in the folder of a run: the scores of the
    /// best weights.
    pub fn evaluation(run: &Path, measured: Measured) -> PathBuf {
        run.join(format!("evaluation-{}.json", measured.name()))
    }

    /// The path of `predictions-test.csv` or `predictions-validation.csv` in the folder of a run: the answers of the
    /// best weights for each image.
    pub fn answers(run: &Path, measured: Measured) -> PathBuf {
        run.join(format!("predictions-{}.csv", measured.name()))
    }
}
