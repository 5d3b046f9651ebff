//! The description of a network, from a user or a weights file.

use std::fmt;

use engine::{BatchNormSpec, Builder, ConvSpec, Pad, Padding};
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::{Design, Error, Result, Variant};

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

/// The layers from pooled features to logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
/// let plan = ModelConfig::new(Variant::SMALL, 10).plan()?;
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
    /// Stochastic depth: fraction of images that skip the last block in training. It grows linearly over the blocks.
    /// Networks without residual blocks ignore it.
    #[serde(default)]
    pub drop_path: f64,
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
            dropout: name.entry().dropout,
            drop_path: name.entry().drop_path,
            batch_norm_momentum: SCRATCH_MOMENTUM,
            batch_norm_epsilon: Design::Torchvision.batch_norm_epsilon(name),
            stem_stride: 2,
            padding: name.entry().padding,
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

    /// The network's layers, with the range of every parameter.
    ///
    /// # Errors
    /// If a value is invalid; the error contains it.
    pub fn plan(&self) -> Result<engine::Plan> {
        let (family, _) = self.name.of();
        let has_width = self.width > 0.0 && self.width <= MAX_WIDTH;
        if !has_width || (!family.has_width && self.width != 1.0) {
            return Err(Error::Width(self.width));
        }
        (family.build)(self)
    }

    /// A network of this name without layers.
    pub(crate) fn builder(&self) -> Builder {
        Builder::new(self.name.name(), self.batch_norm())
    }

    /// A convolution with stride 1 and the network's padding, without bias.
    pub(crate) fn conv(&self, out_channels: usize, kernel: usize) -> ConvSpec {
        let spec = ConvSpec::new(out_channels, kernel);
        match self.padding {
            Padding::Symmetric => spec,
            Padding::Same => spec.pad(Pad::Same),
        }
    }

    /// Refuses another stride of the first convolution, for networks whose first convolution cuts the images into
    /// squares.
    pub(crate) fn check_squares(&self) -> Result<()> {
        let expected = "2: the stride of this network's first convolution cannot be changed";
        require(
            self.stem_stride == 2,
            "stem_stride",
            self.stem_stride,
            expected,
        )
    }

    /// The constants of batch normalisation.
    pub(crate) fn batch_norm(&self) -> BatchNormSpec {
        BatchNormSpec {
            epsilon: self.batch_norm_epsilon,
            momentum: self.batch_norm_momentum,
        }
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
        assert_eq!(count(Variant::LARGE, 1000), 5_483_032);
        assert_eq!(count(Variant::SMALL, 1000), 2_542_856);
        assert_eq!(count(Variant::SMALL, 10), 1_528_106);
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
            (cost(Variant::LARGE) - 219.0).abs() < 3.0,
            "{}",
            cost(Variant::LARGE)
        );
        assert!(
            (cost(Variant::SMALL) - 56.0).abs() < 2.0,
            "{}",
            cost(Variant::SMALL)
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
        assert_eq!(plan.head.len(), 5 * 1280 + 5);
        assert_eq!(plan.batch_norm.epsilon, 1e-5);
        let last = plan.parameters.segments().last().unwrap();
        assert_eq!(last.name, "classifier.1.bias");
        let features = |width| {
            let config = ModelConfig {
                width,
                ..config.clone()
            };
            config.plan().unwrap().feature_count()
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
            for variant in [Variant::LARGE, Variant::SMALL, Variant::V2] {
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
                ..ModelConfig::new(Variant::SMALL, 2)
            };
            assert!(matches!(config.plan(), Err(Error::Width(_))));
        }
    }
}
