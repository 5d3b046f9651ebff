//! The description of a network, from a user or a weights file.

use std::fmt;
use std::str::FromStr;

use engine::{BatchNormSpec, HeadSpec, Naming, NetworkSpec, Padding};
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::tables::{Size, v2, v3};
use crate::{Design, Error, Result};

/// torchvision's batch-norm momentum in MobileNetV3. With it the running statistics need hundreds
/// of steps. That suits fine-tuning, where they start from good values.
pub const TORCHVISION_MOMENTUM: f64 = 0.01;

/// The batch-norm momentum for training from scratch (torch's default).
///
/// After 70 steps with 0.01, half of the running statistics is still the initial zeros and ones.
/// Validation after a short first epoch would then measure those values instead of the weights.
/// With 0.1 the statistics converge within a few dozen steps.
pub const SCRATCH_MOMENTUM: f64 = 0.1;

/// The largest width multiplier.
pub const MAX_WIDTH: f64 = 10.0;

/// The MobileNet variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// MobileNetV3, 15 blocks, 960 features.
    #[serde(rename = "mobilenet_v3_large")]
    Large,
    /// MobileNetV3, 11 blocks, 576 features.
    #[serde(rename = "mobilenet_v3_small")]
    Small,
    /// MobileNetV2, 17 blocks, 1280 features.
    #[serde(rename = "mobilenet_v2")]
    V2,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 3] = [Variant::Large, Variant::Small, Variant::V2];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Variant::Large => "mobilenet_v3_large",
            Variant::Small => "mobilenet_v3_small",
            Variant::V2 => "mobilenet_v2",
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
                let names = Variant::ALL.map(|variant| variant.to_string()).join(", ");
                format!("no model {name:?}; expected one of {names}")
            })
    }
}

/// The layers from pooled features to logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// The same as in torchvision. In MobileNetV3: a hidden layer, Hardswish, dropout, classes
    /// (960→1280→classes, 576→1024→classes). In MobileNetV2: the same as `Linear`.
    #[default]
    Torchvision,
    /// Dropout, then one layer to the classes.
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

/// The names of [`Padding`] in a file. They are here because the `engine` crate does not serialize.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Padding", rename_all = "lowercase")]
enum PaddingWord {
    Symmetric,
    Same,
}

/// The complete configuration of a model.
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
    /// The variant.
    pub name: Variant,
    /// Number of classes.
    pub classes: usize,
    /// Multiplier of every channel count.
    pub width: f64,
    /// The classifier.
    pub head: HeadKind,
    /// Fraction of the head's features that are set to zero in training.
    pub dropout: f64,
    /// Weight of each new batch in the running statistics of batch normalisation.
    pub batch_norm_momentum: f64,
    /// Constant that batch normalisation adds to the variance; see [`Design::batch_norm_epsilon`].
    pub batch_norm_epsilon: f64,
    /// Stride of the first convolution; 1 keeps resolution on small images, with the same weights.
    pub stem_stride: usize,
    /// Padding of the first convolution and of the depthwise convolutions. The default, for files
    /// without this key, is torch's.
    #[serde(default, with = "PaddingWord")]
    pub padding: Padding,
    /// The MobileNetV3 implementation. The default, for files without this key, is torchvision's.
    #[serde(default)]
    pub design: Design,
}

impl ModelConfig {
    /// The configuration of torchvision's model for `classes` classes, but with the batch-norm
    /// momentum for training from scratch ([`SCRATCH_MOMENTUM`]).
    pub fn new(name: Variant, classes: usize) -> Self {
        ModelConfig {
            name,
            classes,
            width: 1.0,
            head: HeadKind::Torchvision,
            dropout: 0.2,
            batch_norm_momentum: SCRATCH_MOMENTUM,
            batch_norm_epsilon: Design::Torchvision.batch_norm_epsilon(name),
            stem_stride: 2,
            padding: Padding::Symmetric,
            design: Design::Torchvision,
        }
    }

    /// Refuses invalid values. [`ModelConfig::plan`] checks the shapes.
    ///
    /// # Errors
    /// [`Error::Setting`] if a value is invalid.
    pub fn check(&self) -> Result<()> {
        check_dropout(self.dropout)?;
        let momentum = self.batch_norm_momentum;
        let expected = "a share above 0 and at most 1";
        require(
            is_momentum(momentum),
            "batch_norm_momentum",
            momentum,
            expected,
        )?;
        let epsilon = self.batch_norm_epsilon;
        let expected = "a number between 0 and 1";
        require(is_epsilon(epsilon), "batch_norm_epsilon", epsilon, expected)
    }

    /// The layers of the network.
    ///
    /// # Errors
    /// If the width is invalid.
    pub fn network(&self) -> Result<NetworkSpec> {
        if !(self.width > 0.0 && self.width <= MAX_WIDTH) {
            return Err(Error::Width(self.width));
        }
        let (naming, backbone) = match self.name {
            Variant::Large => {
                let backbone = v3(Size::Large, self.width, self.design);
                (Naming::MobileNetV3, backbone)
            }
            Variant::Small => {
                let backbone = v3(Size::Small, self.width, self.design);
                (Naming::MobileNetV3, backbone)
            }
            Variant::V2 => (Naming::MobileNetV2, v2(self.width)),
        };
        let hidden = match self.head {
            HeadKind::Torchvision => backbone.hidden,
            HeadKind::Linear => None,
        };
        Ok(NetworkSpec {
            name: self.name.to_string(),
            naming,
            stem_channels: backbone.stem_channels,
            stem_stride: self.stem_stride,
            padding: self.padding,
            activation: backbone.activation,
            blocks: backbone.blocks,
            features: backbone.features,
            head: HeadSpec {
                hidden,
                dropout: self.dropout,
                classes: self.classes,
            },
            batch_norm: BatchNormSpec {
                epsilon: self.batch_norm_epsilon,
                momentum: self.batch_norm_momentum,
            },
        })
    }

    /// The network's layers, with the range of every parameter.
    ///
    /// # Errors
    /// If a value is invalid; the error contains it.
    pub fn plan(&self) -> Result<engine::Plan> {
        Ok(engine::Plan::new(&self.network()?)?)
    }
}

/// Whether `dropout` is a valid probability: `0 <= dropout < 1`.
pub fn is_dropout(dropout: f64) -> bool {
    (0.0..1.0).contains(&dropout)
}

/// Whether a batch-norm momentum is valid: `0 < momentum <= 1`.
pub fn is_momentum(momentum: f64) -> bool {
    momentum > 0.0 && momentum <= 1.0
}

/// Whether a batch-norm epsilon is valid: `0 < epsilon < 1`.
pub fn is_epsilon(epsilon: f64) -> bool {
    epsilon > 0.0 && epsilon < 1.0
}

pub(crate) fn check_dropout(dropout: f64) -> Result<()> {
    require(
        is_dropout(dropout),
        "dropout",
        dropout,
        "a probability from 0 to below 1",
    )
}

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
        assert_eq!(count(Variant::V2, 1000), 3_504_872);
    }

    #[test]
    fn multiply_adds_are_the_papers() {
        // Table 3 of the V3 paper: 219 and 56 million. Table 4 of the V2 paper: 300 million. The
        // last digits depend on which operations are counted.
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
        assert!(
            (cost(Variant::V2) - 300.0).abs() < 2.0,
            "{}",
            cost(Variant::V2)
        );
    }

    #[test]
    fn mobilenet_v2_has_torchvisions_head_and_constants() {
        let config = ModelConfig::new(Variant::V2, 5);
        let plan = config.plan().unwrap();
        assert_eq!(plan.hidden, None);
        assert_eq!(plan.spec.batch_norm.epsilon, 1e-5);
        let last = plan.parameters.segments().last().unwrap();
        assert_eq!(last.name, "classifier.1.bias");
        let features = |width| {
            let config = ModelConfig {
                width,
                ..config.clone()
            };
            config.plan().unwrap().spec.features
        };
        assert_eq!([0.5, 1.0, 1.4].map(features), [1280, 1280, 1792]);
    }

    #[test]
    fn a_file_that_does_not_say_padding_and_design_has_torchvisions() {
        let config = ModelConfig::new(Variant::V2, 3);
        let mut file = serde_json::to_value(&config).unwrap();
        let entries = file.as_object_mut().unwrap();
        assert_eq!(entries.remove("padding").unwrap(), "symmetric");
        assert_eq!(entries.remove("design").unwrap(), "torchvision");
        let read: ModelConfig = serde_json::from_value(file.clone()).unwrap();
        assert_eq!(read, config);
        file["padding"] = "same".into();
        for design in Design::ALL {
            file["design"] = design.to_string().into();
            let read: ModelConfig = serde_json::from_value(file.clone()).unwrap();
            assert_eq!((read.padding, read.design), (Padding::Same, design));
        }
        file["design"] = "mine".into();
        assert!(serde_json::from_value::<ModelConfig>(file).is_err());
    }

    #[test]
    fn every_width_makes_a_network() {
        for width in [0.1, 0.25, 0.35, 0.5, 0.75, 1.25, 2.0] {
            for variant in Variant::ALL {
                ModelConfig {
                    width,
                    ..ModelConfig::new(variant, 2)
                }
                .plan()
                .unwrap();
            }
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
