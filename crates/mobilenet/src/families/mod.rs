//! The networks: one file for each family. A family's file has the table of its networks, builds their layers, and knows
//! the names that other projects give to their tensors. [`FAMILIES`] lists the families.

pub(crate) mod config;
mod convnext;
mod densenet;
pub(crate) mod design;
mod efficientnet;
mod mobilenet_v2;
mod mobilenet_v3;
mod mobilenet_v4;
mod regnet;
mod resnet;
mod shufflenet_v2;
mod swin;
pub(crate) mod variant;
mod xception;

use engine::{Activation, BlockSpec, Builder, ConvSpec, Padding, Plan};
use framing::{Framing, Interpolation};

use crate::run::initialise::Initial;
use crate::weights::metadata::Normalisation;
use crate::weights::schemes::{Scheme, TensorName};
use crate::{HeadKind, ModelConfig, Result, Variant};

/// Every family.
pub(crate) const FAMILIES: &[Family] = &[
    mobilenet_v3::FAMILY,
    mobilenet_v2::FAMILY,
    efficientnet::FAMILY,
    mobilenet_v4::FAMILY,
    shufflenet_v2::FAMILY,
    resnet::FAMILY,
    resnet::SE_RESNEXT,
    regnet::FAMILY,
    densenet::FAMILY,
    xception::FAMILY,
    convnext::FAMILY,
    swin::FAMILY,
];

/// A family of networks.
pub(crate) struct Family {
    /// The family's name in papers.
    pub(crate) name: &'static str,
    /// The networks.
    pub(crate) variants: &'static [Entry],
    /// Builds the layers of a network.
    pub(crate) build: fn(&ModelConfig) -> Result<Plan>,
    /// The scheme of the names in the plan.
    pub(crate) native: Scheme,
    /// The names in other schemes.
    pub(crate) schemes: &'static [Naming],
    /// The first values of a new network.
    pub(crate) initial: Initial,
    /// Whether `width` applies.
    pub(crate) has_width: bool,
}

/// The names of a family's tensors in one scheme.
pub(crate) struct Naming {
    pub(crate) scheme: Scheme,
    /// Every tensor of a network. `None` if the scheme has no names for this network.
    pub(crate) names: fn(Variant, &Plan) -> Option<Vec<TensorName>>,
}

/// A network of a family, with the defaults of its published weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Name in configurations.
    pub(crate) name: &'static str,
    /// Side of the square images, in pixels.
    pub(crate) image_size: u32,
    /// Fraction of the head's inputs that are zeroed in training.
    pub(crate) dropout: f64,
    /// Stochastic depth: fraction of images that skip the last block, in training. It grows linearly over the blocks.
    pub(crate) drop_path: f64,
    /// Constant that batch normalisation adds to the variance.
    pub(crate) epsilon: f64,
    /// Padding of convolutions.
    pub(crate) padding: Padding,
    /// How images are fitted in evaluation.
    pub(crate) framing: Framing,
    /// Mean and standard deviation of pixels.
    pub(crate) normalisation: Normalisation,
}

impl Entry {
    /// A network for images of this size, with ImageNet's normalisation, torchvision's framing, torch's epsilon and no
    /// dropout.
    pub(crate) const fn new(name: &'static str, image_size: u32) -> Entry {
        Entry {
            name,
            image_size,
            dropout: 0.0,
            drop_path: 0.0,
            epsilon: 1e-5,
            padding: Padding::Symmetric,
            framing: Framing::TORCHVISION,
            normalisation: Normalisation::IMAGENET,
        }
    }

    pub(crate) const fn dropout(self, dropout: f64) -> Entry {
        Entry { dropout, ..self }
    }

    pub(crate) const fn drop_path(self, drop_path: f64) -> Entry {
        Entry { drop_path, ..self }
    }

    pub(crate) const fn epsilon(self, epsilon: f64) -> Entry {
        Entry { epsilon, ..self }
    }

    pub(crate) const fn padding(self, padding: Padding) -> Entry {
        Entry { padding, ..self }
    }

    /// The share of the shorter side that evaluation keeps, and the filter of the resize.
    pub(crate) const fn framing(self, crop_pct: f64, interpolation: Interpolation) -> Entry {
        let framing = Framing {
            crop_pct,
            interpolation,
            ..self.framing
        };
        Entry { framing, ..self }
    }

    pub(crate) const fn normalisation(self, normalisation: Normalisation) -> Entry {
        Entry {
            normalisation,
            ..self
        }
    }
}

/// Appends a convolution, its batch normalisation and its activation. The names are those of the first two.
pub(crate) fn conv_norm(
    b: &mut Builder,
    [convolution, norm]: [String; 2],
    input: usize,
    spec: ConvSpec,
    activation: Activation,
) -> usize {
    let x = b.conv(convolution, input, spec);
    let x = b.batch_norm(norm, x);
    b.activate(x, activation)
}

/// The names of a convolution and of its normalisation: two modules of a sequence, from this index on.
pub(crate) fn pair(sequence: &str, first: usize) -> [String; 2] {
    [first, first + 1].map(|part| format!("{sequence}.{part}"))
}

/// The drop-path rate of a block: it grows evenly from 0 at the first block to `last` at the last one.
pub(crate) fn growing(last: f64, block: usize, blocks: usize) -> f64 {
    last * block as f64 / (blocks - 1) as f64
}

/// Appends the head of most networks: dropout, and the fully connected layer `name`.
pub(crate) fn head(b: &mut Builder, config: &ModelConfig, name: &str, pooled: usize) -> usize {
    b.features(pooled);
    let x = b.dropout(pooled, config.dropout);
    b.linear(name, x, config.classes)
}

/// The name of a tensor of ConvNeXt or Swin, with words instead of torchvision's numbers of modules: `stem.0`,
/// `stage.2.0` and `down.2.1` for `features.0.0`, `features.5.0` and `features.4.1`.
pub(crate) fn staged(name: &str) -> String {
    let parts = name.strip_prefix("features.").and_then(|rest| {
        let (module, rest) = rest.split_once('.')?;
        Some((module.parse::<usize>().ok()?, rest))
    });
    match parts {
        Some((0, rest)) => format!("stem.{rest}"),
        Some((module, rest)) if module % 2 == 1 => format!("stage.{}.{rest}", module / 2),
        Some((module, rest)) => format!("down.{}.{rest}", module / 2),
        None => name.to_owned(),
    }
}

/// The convolutions of a MobileNet at one width.
pub(crate) struct Backbone {
    pub(crate) stem_channels: usize,
    /// The activation after the first and after the last convolution.
    pub(crate) activation: Activation,
    pub(crate) blocks: Vec<BlockSpec>,
    /// Channels of the last convolution.
    pub(crate) features: usize,
    /// Channels of the fully connected layer before the dropout, if any.
    pub(crate) hidden: Option<usize>,
}

impl Backbone {
    fn plan(self, config: &ModelConfig, naming: engine::Naming) -> Result<Plan> {
        let hidden = match config.head {
            HeadKind::Torchvision => self.hidden,
            HeadKind::Linear => None,
        };
        let network = engine::NetworkSpec {
            name: config.name.to_string(),
            naming,
            stem_channels: self.stem_channels,
            stem_stride: config.stem_stride,
            padding: config.padding,
            activation: self.activation,
            blocks: self.blocks,
            features: self.features,
            head: engine::HeadSpec {
                hidden,
                dropout: config.dropout,
                classes: config.classes,
            },
            drop_path: config.drop_path,
            batch_norm: config.batch_norm(),
        };
        Ok(network.plan()?)
    }
}

/// The nearest multiple of 8. If that is below nine tenths of `value`, the next multiple
/// (`torchvision.models._utils._make_divisible`).
pub(crate) fn make_divisible(value: f64) -> usize {
    let rounded = ((value + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * value {
        rounded + 8
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::make_divisible;

    #[test]
    fn widths_round_as_torchvision_does() {
        assert_eq!(
            [12.0, 4.0, 18.0, 60.0, 29.0].map(make_divisible),
            [16, 8, 24, 64, 32]
        );
    }
}
