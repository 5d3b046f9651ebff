//! MobileNetV3's block tables (Howard et al. 2019, tables 1 and 2), as
//! torchvision builds them (`torchvision/models/mobilenetv3.py`).

use std::fmt;
use std::str::FromStr;

use engine::{Activation, BatchNormSpec, BlockSpec, HeadSpec, NetworkSpec};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// torchvision's momentum: the running statistics follow over hundreds of steps,
/// which suits fine-tuning, where they start out right.
pub const TORCHVISION_MOMENTUM: f64 = 0.01;

/// The momentum for training from scratch (torch's own default for batch norm).
///
/// With 0.01 the running statistics are still half the initial zeros and ones
/// after 70 steps, so that validation after a short first epoch measures them
/// and not the weights; with 0.1 they have caught up after a few dozen.
pub const SCRATCH_MOMENTUM: f64 = 0.1;

/// Which MobileNetV3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// 15 blocks, 960 features.
    #[serde(rename = "mobilenet_v3_large")]
    Large,
    /// 11 blocks, 576 features.
    #[serde(rename = "mobilenet_v3_small")]
    Small,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 2] = [Variant::Large, Variant::Small];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Variant::Large => "mobilenet_v3_large",
            Variant::Small => "mobilenet_v3_small",
        })
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Variant::ALL
            .into_iter()
            .find(|variant| variant.to_string() == name)
            .ok_or_else(|| {
                format!("no model {name:?}; expected mobilenet_v3_large or mobilenet_v3_small")
            })
    }
}

/// How pooled features become logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Hidden layer, Hardswish, dropout, classes (960→1280→classes, 576→1024→classes).
    #[default]
    Torchvision,
    /// Dropout, classes.
    Linear,
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadKind::Torchvision => "torchvision",
            HeadKind::Linear => "linear",
        })
    }
}

/// Everything that decides a model's shape and behaviour.
///
/// ```
/// use mobilenet::{ModelConfig, Variant};
///
/// let plan = ModelConfig::new(Variant::Small, 10).plan()?;
/// assert_eq!(plan.parameters.len(), 1_528_106); // as many as torchvision's
/// # Ok::<(), mobilenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Which network.
    pub name: Variant,
    /// Number of classes.
    pub classes: usize,
    /// Multiplier of every channel count.
    pub width: f64,
    /// The classifier.
    pub head: HeadKind,
    /// Share of the head's features set to zero in training.
    pub dropout: f64,
    /// Share of the new batch in the running statistics of batch normalisation.
    pub batch_norm_momentum: f64,
    /// Added to the variance in batch normalisation; torchvision's is 1e-3.
    pub batch_norm_epsilon: f64,
    /// Stride of the first convolution; 1 keeps resolution on small images, with the same weights.
    pub stem_stride: usize,
}

impl ModelConfig {
    /// torchvision's model for `classes` classes, with the batch-norm momentum
    /// for training from scratch ([`SCRATCH_MOMENTUM`]).
    pub fn new(name: Variant, classes: usize) -> Self {
        ModelConfig {
            name,
            classes,
            width: 1.0,
            head: HeadKind::Torchvision,
            dropout: 0.2,
            batch_norm_momentum: SCRATCH_MOMENTUM,
            batch_norm_epsilon: 1e-3,
            stem_stride: 2,
        }
    }

    /// The network as data.
    ///
    /// # Errors
    /// If the width makes no network.
    pub fn network(&self) -> Result<NetworkSpec> {
        if !(self.width > 0.0 && self.width <= 10.0) {
            return Err(Error::Width(self.width));
        }
        let channels = |channels: usize| make_divisible(channels as f64 * self.width);
        let (table, hidden): (&[Row], usize) = match self.name {
            Variant::Large => (&LARGE, 1280),
            Variant::Small => (&SMALL, 1024),
        };
        let mut in_channels = channels(16);
        let stem_channels = in_channels;
        let mut blocks = Vec::with_capacity(table.len());
        for &Row(kernel, expanded, out, squeeze, activation, stride) in table {
            let (expanded, out_channels) = (channels(expanded), channels(out));
            blocks.push(BlockSpec {
                in_channels,
                expanded,
                out_channels,
                kernel,
                stride,
                squeeze: squeeze.then(|| make_divisible((expanded / 4) as f64)),
                activation,
            });
            in_channels = out_channels;
        }
        Ok(NetworkSpec {
            name: self.name.to_string(),
            stem_channels,
            stem_stride: self.stem_stride,
            blocks,
            features: 6 * in_channels,
            head: HeadSpec {
                hidden: (self.head == HeadKind::Torchvision).then(|| channels(hidden)),
                dropout: self.dropout,
                classes: self.classes,
            },
            batch_norm: BatchNormSpec {
                epsilon: self.batch_norm_epsilon,
                momentum: self.batch_norm_momentum,
            },
        })
    }

    /// The network with every parameter in its place.
    ///
    /// # Errors
    /// Names the value that makes no network.
    pub fn plan(&self) -> Result<engine::Plan> {
        Ok(engine::Plan::new(&self.network()?)?)
    }
}

/// The nearest multiple of 8, but not below nine tenths of `value`
/// (`torchvision.models._utils._make_divisible`).
pub(crate) fn make_divisible(value: f64) -> usize {
    let rounded = ((value + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * value {
        rounded + 8
    } else {
        rounded
    }
}

/// Kernel, expanded channels, channels out, squeeze-excite, activation, stride.
struct Row(usize, usize, usize, bool, Activation, usize);

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::Hardswish;

const LARGE: [Row; 15] = [
    Row(3, 16, 16, false, RE, 1),
    Row(3, 64, 24, false, RE, 2),
    Row(3, 72, 24, false, RE, 1),
    Row(5, 72, 40, true, RE, 2),
    Row(5, 120, 40, true, RE, 1),
    Row(5, 120, 40, true, RE, 1),
    Row(3, 240, 80, false, HS, 2),
    Row(3, 200, 80, false, HS, 1),
    Row(3, 184, 80, false, HS, 1),
    Row(3, 184, 80, false, HS, 1),
    Row(3, 480, 112, true, HS, 1),
    Row(3, 672, 112, true, HS, 1),
    Row(5, 672, 160, true, HS, 2),
    Row(5, 960, 160, true, HS, 1),
    Row(5, 960, 160, true, HS, 1),
];

const SMALL: [Row; 11] = [
    Row(3, 16, 16, true, RE, 2),
    Row(3, 72, 24, false, RE, 2),
    Row(3, 88, 24, false, RE, 1),
    Row(5, 96, 40, true, HS, 2),
    Row(5, 240, 40, true, HS, 1),
    Row(5, 240, 40, true, HS, 1),
    Row(5, 120, 48, true, HS, 1),
    Row(5, 144, 48, true, HS, 1),
    Row(5, 288, 96, true, HS, 2),
    Row(5, 576, 96, true, HS, 1),
    Row(5, 576, 96, true, HS, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_torchvisions() {
        let count = |variant, classes| {
            ModelConfig::new(variant, classes)
                .plan()
                .unwrap()
                .parameters
                .len()
        };
        assert_eq!(count(Variant::Large, 1000), 5_483_032);
        assert_eq!(count(Variant::Small, 1000), 2_542_856);
        assert_eq!(count(Variant::Small, 10), 1_528_106);
    }

    #[test]
    fn multiply_adds_are_the_papers() {
        // Table 3 of the paper: 219 and 56 million (the last digits depend on what is counted).
        let cost = |variant| {
            ModelConfig::new(variant, 1000)
                .plan()
                .unwrap()
                .multiply_adds(224, 224) as f64
                / 1e6
        };
        assert!(
            (cost(Variant::Large) - 219.0).abs() < 3.0,
            "{}",
            cost(Variant::Large)
        );
        assert!(
            (cost(Variant::Small) - 56.0).abs() < 2.0,
            "{}",
            cost(Variant::Small)
        );
    }

    #[test]
    fn widths_round_as_torchvision_does() {
        assert_eq!(
            [12.0, 4.0, 18.0, 60.0, 29.0].map(make_divisible),
            [16, 8, 24, 64, 32]
        );
        for width in [0.1, 0.25, 0.35, 0.5, 0.75, 1.25, 2.0] {
            ModelConfig {
                width,
                ..ModelConfig::new(Variant::Small, 2)
            }
            .plan()
            .unwrap();
        }
        for width in [0.0, -1.0, f64::NAN, 11.0] {
            let config = ModelConfig {
                width,
                ..ModelConfig::new(Variant::Small, 2)
            };
            assert!(matches!(config.plan(), Err(Error::Width(_))));
        }
    }
}
