//! The enumerations of a configuration.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use mnist_data::DatasetName;
use mobilenet::{Padding, Precision};
use optim::PlateauMode;
use serde::{Deserialize, Serialize};

use crate::ValidationScores;

/// The source of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSource {
    /// MNIST: fetched and unpacked into `data.root` if missing.
    Mnist,
    /// Fashion-MNIST: fetched and unpacked into `data.root` if missing.
    FashionMnist,
    /// IDX files that are already in `data.idx_dir`; unpacked into `data.root`.
    Idx,
    /// `data.root` already has `train`, `val` and (for a test score) `test`, each with one folder
    /// per class. Without `val`, a tenth of the training images is held out.
    Folder,
    /// `data.root` has `train.csv`, `val.csv` and (for a test score) `test.csv`, each with the
    /// columns `path`, `label` and optionally `weight`. Without `val.csv`, a tenth of the training
    /// images is held out.
    Csv,
}

impl DataSource {
    /// The word for this source in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => DatasetName::Mnist.as_str(),
            Self::FashionMnist => DatasetName::FashionMnist.as_str(),
            Self::Idx => "idx",
            Self::Folder => "folder",
            Self::Csv => "csv",
        }
    }

    /// The data set to fetch, if this source has one.
    pub fn dataset(self) -> Option<DatasetName> {
        match self {
            Self::Mnist => Some(DatasetName::Mnist),
            Self::FashionMnist => Some(DatasetName::FashionMnist),
            Self::Idx | Self::Folder | Self::Csv => None,
        }
    }
}

/// The padding of convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingChoice {
    /// The padding in the metadata of the pretrained weights, or else the network's own.
    #[default]
    Auto,
    /// torch's padding: the same on both sides.
    Symmetric,
    /// TensorFlow's padding.
    Same,
}

impl PaddingChoice {
    /// The chosen padding; `None` for `Auto`.
    pub fn chosen(self) -> Option<Padding> {
        match self {
            Self::Auto => None,
            Self::Symmetric => Some(Padding::Symmetric),
            Self::Same => Some(Padding::Same),
        }
    }
}

impl From<Padding> for PaddingChoice {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Symmetric => Self::Symmetric,
            Padding::Same => Self::Same,
        }
    }
}

/// The validation score that selects the best epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Share of validation images classified correctly; higher is better.
    ValAccuracy,
    /// F1 averaged over the classes; higher is better.
    ValMacroF1,
    /// Mean cross-entropy; lower is better.
    ValLoss,
}

impl Monitor {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ValAccuracy => "val_accuracy",
            Self::ValMacroF1 => "val_macro_f1",
            Self::ValLoss => "val_loss",
        }
    }

    /// The value of the monitored score.
    pub fn of(self, scores: &ValidationScores) -> f64 {
        match self {
            Self::ValAccuracy => scores.accuracy,
            Self::ValMacroF1 => scores.macro_f1,
            Self::ValLoss => scores.loss,
        }
    }

    /// Whether larger values are better.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::ValLoss)
    }

    /// The direction of improvement, for a plateau schedule.
    pub fn plateau_mode(self) -> PlateauMode {
        match self.higher_is_better() {
            true => PlateauMode::Max,
            false => PlateauMode::Min,
        }
    }

    /// Whether averaged weights with score `average` are preferred to weights with score `own`,
    /// both measured on `images` images.
    ///
    /// The best score of single epochs is partly luck, since scores fluctuate; averaged weights fluctuate less. So the
    /// average is preferred unless the network's own score is better by more than one standard error (the rule of
    /// Breiman et al., 1984). For the loss no standard error is known, so the lower loss is preferred.
    pub fn prefers_average(self, average: f64, own: f64, images: usize) -> bool {
        let error = match self {
            Self::ValAccuracy | Self::ValMacroF1 => (own * (1.0 - own) / images as f64).sqrt(),
            Self::ValLoss => 0.0,
        };
        self.order(own, average + error) != Ordering::Greater
    }

    /// Compares a `candidate` with the `best` so far: by this score and, if equal, by the
    /// validation loss. `Greater` is better; NaN is the worst.
    ///
    /// On a few hundred images accuracies are often equal. The loss then shows which epoch is better.
    pub fn compare(
        self,
        candidate: &ValidationScores,
        best: Option<&ValidationScores>,
    ) -> Ordering {
        let Some(best) = best else {
            return match self.of(candidate).is_nan() {
                true => Ordering::Less,
                false => Ordering::Greater,
            };
        };
        self.order(self.of(candidate), self.of(best))
            .then_with(|| Self::ValLoss.order(candidate.loss, best.loss))
    }

    /// Compares two values of this score; `Greater` is better.
    fn order(self, one: f64, other: f64) -> Ordering {
        match one.partial_cmp(&other) {
            Some(order) if self.higher_is_better() => order,
            Some(order) => order.reverse(),
            None => other.is_nan().cmp(&one.is_nan()),
        }
    }
}

/// The policy: which weights are kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointPolicy {
    /// Only the best weights. New best weights are written before the old ones are deleted.
    BestOne,
    /// The weights of each epoch that was the best so far at its end.
    BestAll,
    /// The weights of every epoch.
    EveryEpoch,
}

/// Reads and writes a type as its text.
macro_rules! written_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The device that the network runs on, written `auto`, `cpu`, `cuda`, `cuda:1` or `metal`, in any letter case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first accelerator that this build supports and finds, or else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "unknown device {text:?}, expected \"auto\", \"cpu\", \"cuda\", \"cuda:N\" or \"metal\""
            )
        };
        let lower = text.to_lowercase();
        match &lower[..] {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => match lower.strip_prefix("cuda:") {
                Some(number) => number.parse().map(Self::Cuda).map_err(|_| unknown()),
                None => Err(unknown()),
            },
        }
    }
}

written_as_text!(DeviceChoice);

/// The precision of a run, written `auto` or as a [`Precision`], in any letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// The fastest precision of the processor; see [`settle_precision`](crate::settle_precision).
    Auto,
    /// This precision.
    Fixed(Precision),
}

impl PrecisionChoice {
    /// The precision; `None` for `Auto`.
    pub fn fixed(self) -> Option<Precision> {
        match self {
            Self::Auto => None,
            Self::Fixed(precision) => Some(precision),
        }
    }
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        Self::Fixed(precision)
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(precision) => precision.fmt(f),
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let precision = text.parse().map(Self::Fixed);
        precision.map_err(|error| format!("{error}, or \"auto\""))
    }
}

written_as_text!(PrecisionChoice);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_read_as_it_is_written() {
        let fixed = Precision::ALL.map(PrecisionChoice::Fixed);
        for choice in [PrecisionChoice::Auto].into_iter().chain(fixed) {
            let text = choice.to_string();
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(text.to_uppercase().parse(), Ok(choice));
        }
        let error = "bf17".parse::<PrecisionChoice>().unwrap_err();
        assert!(
            error.contains("\"bf16_amx\"") && error.contains("\"auto\""),
            "{error}"
        );
    }

    #[test]
    fn of_equal_figures_the_lower_loss_is_better() {
        use Ordering::{Equal, Greater, Less};
        let scores = |(accuracy, loss)| ValidationScores {
            loss,
            accuracy,
            macro_f1: accuracy,
        };
        let nan = f64::NAN;
        for (monitor, candidate, best, expected) in [
            (Monitor::ValAccuracy, (0.9, 2.0), (0.8, 1.0), Greater),
            (Monitor::ValAccuracy, (0.8, 0.5), (0.9, 1.0), Less),
            (Monitor::ValAccuracy, (0.9, 0.5), (0.9, 0.6), Greater),
            (Monitor::ValAccuracy, (0.9, 0.7), (0.9, 0.6), Less),
            (Monitor::ValAccuracy, (0.9, 0.6), (0.9, 0.6), Equal),
            (Monitor::ValAccuracy, (0.9, nan), (0.9, 0.6), Less),
            (Monitor::ValAccuracy, (0.9, 0.6), (0.9, nan), Greater),
            (Monitor::ValMacroF1, (0.9, 0.5), (0.9, 0.6), Greater),
            (Monitor::ValMacroF1, (nan, 0.5), (0.9, 0.6), Less),
            (Monitor::ValLoss, (0.8, 0.5), (0.9, 0.6), Greater),
            // For the loss, only the lower value counts.
            (Monitor::ValLoss, (0.9, 0.6), (0.8, 0.6), Equal),
            (Monitor::ValLoss, (0.9, nan), (0.8, 0.6), Less),
        ] {
            assert_eq!(
                monitor.compare(&scores(candidate), Some(&scores(best))),
                expected,
                "{monitor:?}: {candidate:?}, {best:?}"
            );
        }
        let first = |accuracy| Monitor::ValAccuracy.compare(&scores((accuracy, 1.0)), None);
        assert_eq!((first(0.0), first(nan)), (Greater, Less));
    }

    #[test]
    fn an_average_is_preferred_unless_it_is_worse_beyond_doubt() {
        for (monitor, average, own, images, expected) in [
            (Monitor::ValAccuracy, 0.98, 0.97, 100, true),
            (Monitor::ValAccuracy, 1.0, 1.0, 100, true),
            // The standard error is 0.03 for 100 images, and 0.003 for 10,000.
            (Monitor::ValAccuracy, 0.88, 0.9, 100, true),
            (Monitor::ValAccuracy, 0.86, 0.9, 100, false),
            (Monitor::ValAccuracy, 0.88, 0.9, 10_000, false),
            (Monitor::ValMacroF1, 0.88, 0.9, 100, true),
            (Monitor::ValLoss, 0.2, 0.2, 100, true),
            (Monitor::ValLoss, 0.21, 0.2, 100, false),
        ] {
            let preferred = monitor.prefers_average(average, own, images);
            assert_eq!(
                preferred, expected,
                "{monitor:?}: {average}, {own}, {images}"
            );
        }
    }
}
