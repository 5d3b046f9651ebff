//! The closed sets of words a configuration may contain.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use mnist_data::DatasetName;
use mobilenet::Padding;
use optim::PlateauMode;
use serde::{Deserialize, Serialize};

use crate::ValidationScores;

/// Where the images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSource {
    /// MNIST: fetched and unpacked into `data.root` when it is not there yet.
    Mnist,
    /// Fashion-MNIST, treated likewise.
    FashionMnist,
    /// IDX files that are already in `data.idx_dir`; unpacked into `data.root`.
    Idx,
    /// `data.root` already holds `train`, `val` and (for a test score) `test`, a folder per class
    /// in each. Without `val`, a tenth of the training images is held out.
    Folder,
    /// `data.root` holds `train.csv`, `val.csv` and (for a test score) `test.csv`, each with the
    /// columns `path`, `label` and, if wanted, `weight`. Without `val.csv` as with a folder.
    Csv,
}

impl DataSource {
    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => DatasetName::Mnist.as_str(),
            Self::FashionMnist => DatasetName::FashionMnist.as_str(),
            Self::Idx => "idx",
            Self::Folder => "folder",
            Self::Csv => "csv",
        }
    }

    /// The public data set behind this source, if it is one.
    pub fn dataset(self) -> Option<DatasetName> {
        match self {
            Self::Mnist => Some(DatasetName::Mnist),
            Self::FashionMnist => Some(DatasetName::FashionMnist),
            Self::Idx | Self::Folder | Self::Csv => None,
        }
    }
}

/// How convolutions are padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingChoice {
    /// As the weights file says that the network starts from; symmetric, if it says nothing.
    #[default]
    Auto,
    /// As in torch.
    Symmetric,
    /// As in TensorFlow.
    Same,
}

impl PaddingChoice {
    /// The padding, if one was chosen.
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

/// The validation figure that decides which epoch was the best.
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
    /// The figure, of all that were measured.
    pub fn of(self, scores: &ValidationScores) -> f64 {
        match self {
            Self::ValAccuracy => scores.accuracy,
            Self::ValMacroF1 => scores.macro_f1,
            Self::ValLoss => scores.loss,
        }
    }

    /// Whether larger values are better ones.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::ValLoss)
    }

    /// Which way a plateau's figure has to move to count as better.
    pub fn plateau_mode(self) -> PlateauMode {
        match self.higher_is_better() {
            true => PlateauMode::Max,
            false => PlateauMode::Min,
        }
    }

    /// Whether averaged weights of score `average` are to be preferred to weights of score `own`,
    /// both measured on so many `images`.
    ///
    /// Weights as a step leaves them score better and worse from epoch to epoch, so that the best
    /// of them owes something to luck; an average hardly does. So it is preferred unless the other
    /// score is better by more than one standard error (the rule of Breiman et al., 1984). A loss
    /// comes without one: the lower is preferred.
    pub fn prefers_average(self, average: f64, own: f64, images: usize) -> bool {
        let error = match self {
            Self::ValAccuracy | Self::ValMacroF1 => (own * (1.0 - own) / images as f64).sqrt(),
            Self::ValLoss => 0.0,
        };
        self.order(own, average + error) != Ordering::Greater
    }

    /// How a `candidate` compares with the `best` so far: by this figure and, where that is equal,
    /// by the validation loss. `Greater` is better; a figure that is not a number is the worst.
    ///
    /// On a few hundred images accuracies are often equal while the loss still tells which
    /// epoch is surer of its answers.
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

    /// How one value of this figure compares with another; `Greater` is better.
    fn order(self, one: f64, other: f64) -> Ordering {
        match one.partial_cmp(&other) {
            Some(order) if self.higher_is_better() => order,
            Some(order) => order.reverse(),
            None => other.is_nan().cmp(&one.is_nan()),
        }
    }
}

/// Which weights stay on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointPolicy {
    /// Only the best; a new best is on disk before the old one is deleted.
    BestOne,
    /// Each epoch that was the best when it ended.
    BestAll,
    /// Every epoch.
    EveryEpoch,
}

/// Where the network runs; written `auto`, `cpu`, `cuda`, `cuda:1` or `metal`, in any letter case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first accelerator this build supports and finds, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by number.
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

impl Serialize for DeviceChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            // The loss is all that counts.
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
            // The standard error is 0.03 of 100 images, and 0.003 of 10,000.
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
