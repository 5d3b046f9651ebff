//! The scores of a network on labelled images.

use std::path::Path;

use mobilenet::ClassOrder;
use serde::{Deserialize, Serialize};

use crate::mistakes::Mistake;
use crate::table::{read_json, write_compact_json};
use crate::{Result, RunDir};

/// The scores of a network on labelled images.
///
/// Scores that count answers come from the [`ConfusionMatrix`](crate::ConfusionMatrix); the others come from the
/// probabilities. An undefined score is `None`, never 0: for example, the ROC AUC of a class without images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The number of images evaluated.
    pub images: u64,
    /// The number of unreadable images left out.
    pub skipped: usize,
    /// Accuracy: the share of images classified correctly.
    pub accuracy: f64,
    /// The 95 % interval of the accuracy (Wilson, 1927).
    #[serde(default)]
    pub accuracy_interval: Interval,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Precision averaged over the classes that occur; see
    /// [`macro_scores`](crate::ConfusionMatrix::macro_scores).
    pub macro_precision: f64,
    /// Recall averaged over the same classes.
    pub macro_recall: f64,
    /// F1 averaged over the same classes.
    pub macro_f1: f64,
    /// The 95 % interval of the macro F1: percentiles of 1000 bootstrap samples of the images, with seed 0.
    #[serde(default)]
    pub macro_f1_interval: Interval,
    /// Recall averaged over the classes with images. `None` without images.
    #[serde(default)]
    pub balanced_accuracy: Option<f64>,
    /// Cohen's kappa: agreement beyond chance. `None` if chance alone gives full agreement: all images and
    /// all predictions are of one class.
    #[serde(default)]
    pub cohen_kappa: Option<f64>,
    /// Top-k accuracy for k = 2, 3 and 5, as far as k is smaller than the number of classes.
    #[serde(default)]
    pub top_k: Vec<TopK>,
    /// The unweighted mean of [`ClassReport::roc_auc`] over the classes for which it is defined.
    #[serde(default)]
    pub macro_roc_auc: Option<f64>,
    /// The unweighted mean of [`ClassReport::average_precision`] over the classes for which it is defined.
    #[serde(default)]
    pub macro_average_precision: Option<f64>,
    /// Whether probabilities are right as often as they say. `None` without images.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// The temperature that the logits were divided by, if calibrated probabilities were requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Classes that have no image and no prediction. The averages leave these classes out.
    #[serde(default)]
    pub classes_left_out: Vec<String>,
    /// Whether the class order is from the weights file or assumed.
    #[serde(default)]
    pub class_order: ClassOrder,
    /// The scores of each class, in label order.
    pub classes: Vec<ClassReport>,
    /// The confusion matrix: one row per true class, one column per predicted class.
    pub confusion: Vec<Vec<u64>>,
    /// ROC and precision–recall curves: of all classes up to 20; of more classes, the 10 with the lowest ROC AUC.
    #[serde(default)]
    pub curves: Vec<ClassCurves>,
    /// Images with a wrong answer, in order; empty without
    /// [`InferenceOptions::mistakes`](crate::InferenceOptions::mistakes).
    #[serde(skip)]
    pub mistakes: Vec<Mistake>,
}

/// The scores of one class in an [`Evaluation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The class's name.
    pub name: String,
    /// The number of evaluated images of the class.
    pub support: u64,
    /// The number of unreadable images of the class.
    #[serde(default)]
    pub skipped: usize,
    /// Precision: the share of the class's images among those predicted as this class.
    pub precision: f64,
    /// Recall: the share of the class's images that are predicted as this class.
    pub recall: f64,
    /// F1: the harmonic mean of precision and recall.
    pub f1: f64,
    /// Specificity: the share of the other classes' images that are not predicted as this class. `None` if
    /// every image is of this class.
    #[serde(default)]
    pub specificity: Option<f64>,
    /// The area under the ROC curve of this class against the rest. `None` if no image or every image is of this class.
    #[serde(default)]
    pub roc_auc: Option<f64>,
    /// Average precision: the area under the precision–recall curve, as a sum of steps. `None` if no image is of this
    /// class.
    #[serde(default)]
    pub average_precision: Option<f64>,
}

/// A 95 % interval of a score. The default, 0 to 1, is that of a score of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Default for Interval {
    fn default() -> Self {
        Self {
            low: 0.0,
            high: 1.0,
        }
    }
}

/// The share of images whose true class is among the `k` most probable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// The number of most probable classes.
    pub k: usize,
    /// The share of images.
    pub accuracy: f64,
}

/// Whether probabilities are right as often as they say (Guo et al., 2017). The confidence of an answer is its largest
/// probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: the mean over the images of |accuracy − confidence| of their bin.
    pub expected_error: f64,
    /// 15 bins of confidence, of equal width.
    pub bins: Vec<Bin>,
}

/// The images whose confidence is in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The lower end of the interval. The interval excludes it, except in the first bin.
    pub low: f64,
    /// The upper end of the interval, included.
    pub high: f64,
    /// The number of images.
    pub images: u64,
    /// Their mean confidence; 0 without images.
    pub confidence: f64,
    /// The share of them classified correctly; 0 without images.
    pub accuracy: f64,
}

/// The curves of one class against the rest, with at most 200 points each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassCurves {
    /// The label of the class.
    pub class: usize,
    /// The ROC curve from (0, 0) to (1, 1): (false-positive rate, true-positive rate).
    pub roc: Vec<[f64; 2]>,
    /// The precision–recall curve, by rising recall: (recall, precision).
    pub precision_recall: Vec<[f64; 2]>,
}

/// The images that were measured at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// A test split, or images that the network has not seen.
    Test,
    /// The validation split, which has chosen the epoch.
    Validation,
}

impl Measured {
    /// The split's name, in file names and in front of "images" or of a score.
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Validation => "validation",
        }
    }
}

impl Evaluation {
    /// Reads a file that [`write`](Self::write) or `classify evaluate --json` wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if it cannot be read, and [`Error::BadFile`](crate::Error::BadFile) if it is
    /// no evaluation.
    pub fn read(path: &Path) -> Result<Self> {
        read_json(
            path,
            "an evaluation, as `classify evaluate --json` prints it",
        )
    }

    /// The evaluation in the folder of a run: of the test images, or else of the validation images. `None` if the run
    /// has none: it was interrupted, or an older version wrote it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn of_run(run: &Path) -> Result<Option<(Self, Measured)>> {
        for measured in [Measured::Test, Measured::Validation] {
            let path = RunDir::evaluation(run, measured);
            if path.is_file() {
                return Ok(Some((Self::read(&path)?, measured)));
            }
        }
        Ok(None)
    }

    /// Writes the evaluation as JSON, without [`mistakes`](Self::mistakes). The file appears only when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Data`](crate::Error::Data) naming the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_compact_json(path, self)
    }
}
