//! The description of a network, from a user or a weights file.

use std::fmt;

use engine::{BatchNormSpec, Builder, ConvSpec, Op, Pad, Padding, Plan};
use serde::{Deserialize, Serialize};

use super::{Entry, Family};
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
    /// Multiplier of every channel count. It is 1 in networks that have one width.
    pub width: f64,
    /// The classifier.
    pub head: HeadKind,
    /// Fraction of the head's features that are set to zero in training.
    pub dropout: f64,
    /// Stochastic depth: fraction of images that skip the last block in training. It grows linearly over the blocks. It is
    /// 0 in networks without residual blocks.
    #[serde(default)]
    pub drop_path: f64,
    /// Weight of each new batch in the running statistics of batch normalisation.
    pub batch_norm_momentum: f64,
    /// Constant that batch normalisation adds to the variance.
    pub batch_norm_epsilon: f64,
    /// Stride of the first convolution; 1 keeps resolution on small images, with the same weights.
    pub stem_stride: usize,
    /// Padding of the convolutions, in families with networks from TensorFlow. Other families have only torch's. The
    /// default, for files without this key, is torch's.
    #[serde(default, with = "PaddingWord")]
    pub padding: Padding,
    /// The implementation, in families whose implementations differ. The default, for files without this key, is
    /// torchvision's.
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
            batch_norm_epsilon: name.entry().epsilon,
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
        check_probability("drop_path", self.drop_path)?;
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
    /// If a value is invalid, or the network has no layer that depends on it; the error contains the value.
    pub fn plan(&self) -> Result<Plan> {
        let (family, entry) = self.name.of();
        self.check_width(family)?;
        let plan = (family.build)(self)?;
        self.check_effects(family, entry, &plan)?;
        Ok(plan)
    }

    fn check_width(&self, family: &Family) -> Result<()> {
        if !family.has_width {
            let expected =
                "1: this network has one width; only MobileNetV2 and MobileNetV3 have others";
            return require(self.width == 1.0, "width", self.width, expected);
        }
        let is_valid = self.width > 0.0 && self.width <= MAX_WIDTH;
        match is_valid {
            true => Ok(()),
            false => Err(Error::Width(self.width)),
        }
    }

    /// Refuses values that no layer of the network depends on. `plan` is that of this configuration.
    fn check_effects(&self, family: &Family, entry: &Entry, plan: &Plan) -> Result<()> {
        let mut layers = plan.layers.iter();
        let drops_paths = layers.any(|layer| matches!(layer.op, Op::DropPath { .. }));
        let expected = "0: this network has no layers that drop paths";
        require(
            drops_paths || self.drop_path == 0.0,
            "drop_path",
            self.drop_path,
            expected,
        )?;
        if self.padding == entry.padding {
            return Ok(());
        }
        let own = ModelConfig {
            padding: entry.padding,
            ..self.clone()
        };
        let depends = (family.build)(&own)?.layers != plan.layers;
        let expected = match entry.padding {
            Padding::Symmetric => {
                "\"symmetric\": this network has only torch's padding, so it has no weights from TensorFlow"
            }
            Padding::Same => "\"same\": this network has only TensorFlow's padding",
        };
        let found = format!("{:?}", self.padding).to_lowercase();
        require(depends, "padding", found, expected)
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
    check_probability("dropout", dropout)
}

fn check_probability(key: &'static str, found: f64) -> Result<()> {
    let expected = "a probability from 0 to below 1";
    require(is_dropout(found), key, found, expected)
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

    fn config(name: &str) -> ModelConfig {
        ModelConfig::new(name.parse().unwrap(), 2)
    }

    #[test]
    fn values_that_a_network_does_not_depend_on_are_refused() {
        let refused = |config: &ModelConfig| match config.plan() {
            Err(error @ Error::Setting { .. }) => {
                assert!(error.is_usage());
                error.to_string()
            }
            Err(error) => panic!("another refusal: {error}"),
            Ok(_) => String::new(),
        };
        for (name, padded, dropped) in [
            ("mobilenet_v2", true, true),
            ("mobilenet_v3_small", true, true),
            ("efficientnet_b0", true, true),
            ("efficientnet_v2_s", true, true),
            ("mobilenetv4_conv_small", true, true),
            ("resnet18", false, true),
            ("regnet_y_400mf", false, true),
            ("xception", false, true),
            ("convnext_atto", false, true),
            ("swin_t", false, true),
            ("densenet121", false, false),
            ("shufflenet_v2_x0_5", false, false),
        ] {
            let padding = Padding::Same;
            let same = refused(&ModelConfig {
                padding,
                ..config(name)
            });
            assert_eq!(same.is_empty(), padded, "{name}: {same}");
            let says = "`padding` is \"same\"; expected \"symmetric\"";
            assert!(padded || same.starts_with(says), "{name}: {same}");
            let drop_path = 0.1;
            let drops = refused(&ModelConfig {
                drop_path,
                ..config(name)
            });
            assert_eq!(drops.is_empty(), dropped, "{name}: {drops}");
            let says = "`drop_path` is 0.1; expected 0";
            assert!(dropped || drops.starts_with(says), "{name}: {drops}");
        }
        // A network from TensorFlow may have torch's padding.
        let torch = ModelConfig {
            padding: Padding::Symmetric,
            ..config("efficientnet_b8")
        };
        assert!(torch.plan().is_ok());
        let narrow = ModelConfig {
            width: 0.5,
            ..config("resnet18")
        };
        assert!(refused(&narrow).starts_with("`width` is 0.5; expected 1: "));
    }

    #[test]
    fn drop_path_is_a_probability() {
        for drop_path in [-0.1, 1.0, f64::NAN] {
            let wrong = ModelConfig {
                drop_path,
                ..config("resnet18")
            };
            let key = "drop_path";
            assert!(
                matches!(wrong.check(), Err(Error::Setting { key: found, .. }) if found == key)
            );
        }
    }

    #[test]
    fn mobilenets_with_drop_path_are_still_fused() {
        for name in ["mobilenet_v2", "mobilenet_v3_large"] {
            let config = ModelConfig {
                drop_path: 0.2,
                dropout: 0.5,
                ..config(name)
            };
            let plan = config.plan().unwrap();
            let rates: Vec<f64> = plan.random_layers().map(|layer| layer.rate).collect();
            assert!(rates.len() > 5 && rates.is_sorted(), "{name}: {rates:?}");
            assert!(engine::Chain::find(&plan).is_some(), "{name}");
        }
    }
}
