//! EfficientNet (Tan and Le 2019) and EfficientNetV2 (Tan and Le 2021), with torchvision's names
//! (`torchvision/models/efficientnet.py`).
//!
//! The `adv-` networks are those of AdvProp (Xie et al. 2020): the layers are the same, but the weights expect pixels
//! between -1 and 1.

mod names;

use engine::{Activation, Builder, ConvSpec, Padding, Plan};

use framing::Interpolation::{Bicubic, Bilinear};

use super::{Entry, Family, Naming, conv_norm, head, make_divisible, pair};
use crate::run::initialise::{Draw, Initial};
use crate::weights::Normalisation;
use crate::weights::schemes::Scheme;
use crate::{ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "EfficientNet",
    variants: &[
        torch("efficientnet_b0", 224, 0.2).framing(224.0 / 256.0, Bicubic),
        torch("efficientnet_b1", 240, 0.2).framing(240.0 / 256.0, Bicubic),
        torch("efficientnet_b2", 288, 0.3).framing(1.0, Bicubic),
        torch("efficientnet_b3", 300, 0.3).framing(300.0 / 320.0, Bicubic),
        torch("efficientnet_b4", 380, 0.4).framing(380.0 / 384.0, Bicubic),
        torch("efficientnet_b5", 456, 0.4)
            .framing(1.0, Bicubic)
            .epsilon(1e-3),
        torch("efficientnet_b6", 528, 0.5)
            .framing(1.0, Bicubic)
            .epsilon(1e-3),
        torch("efficientnet_b7", 600, 0.5)
            .framing(1.0, Bicubic)
            .epsilon(1e-3),
        tensorflow("efficientnet_b8", 672, 0.5).framing(0.954, Bicubic),
        torch("efficientnet_v2_s", 384, 0.2)
            .framing(1.0, Bilinear)
            .epsilon(1e-3),
        tensorflow("efficientnet_v2_b0", 224, 0.2).framing(0.875, Bicubic),
        adversarial("adv-efficientnet_b0", 224, 0.2).framing(0.875, Bicubic),
        adversarial("adv-efficientnet_b1", 240, 0.2).framing(0.882, Bicubic),
        adversarial("adv-efficientnet_b2", 260, 0.3).framing(0.89, Bicubic),
        adversarial("adv-efficientnet_b3", 300, 0.3).framing(0.904, Bicubic),
        adversarial("adv-efficientnet_b4", 380, 0.4).framing(0.922, Bicubic),
        adversarial("adv-efficientnet_b5", 456, 0.4).framing(0.934, Bicubic),
        adversarial("adv-efficientnet_b6", 528, 0.5).framing(0.942, Bicubic),
        adversarial("adv-efficientnet_b7", 600, 0.5).framing(0.949, Bicubic),
        adversarial("adv-efficientnet_b8", 672, 0.5).framing(0.954, Bicubic),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::Timm,
            names: names::timm,
        },
        Naming {
            scheme: Scheme::EfficientNetPytorch,
            names: names::efficientnet_pytorch,
        },
        Naming {
            scheme: Scheme::Pycls,
            names: names::pycls,
        },
    ],
    initial: Initial {
        linear: Draw::UniformOutputs,
        ..Initial::MOBILENET
    },
    has_width: false,
};

/// A network of torchvision.
const fn torch(name: &'static str, image_size: u32, dropout: f64) -> Entry {
    let entry = Entry::new(name, image_size);
    entry.dropout(dropout).drop_path(0.2)
}

/// A network whose published weights were trained with TensorFlow.
const fn tensorflow(name: &'static str, image_size: u32, dropout: f64) -> Entry {
    let entry = torch(name, image_size, dropout);
    entry.epsilon(1e-3).padding(Padding::Same)
}

/// A network of AdvProp.
const fn adversarial(name: &'static str, image_size: u32, dropout: f64) -> Entry {
    let entry = tensorflow(name, image_size, dropout);
    entry.normalisation(Normalisation::HALF)
}

/// Blocks of one shape.
#[derive(Clone, Copy)]
struct Stage {
    kind: Kind,
    /// Factor for the channels inside a block.
    expansion: usize,
    kernel: usize,
    /// Stride of the first block.
    stride: usize,
    out_channels: usize,
    blocks: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Expand 1×1, depthwise k×k, squeeze-excite, project 1×1 (`MBConv`).
    Inverted,
    /// Expand k×k, project 1×1 (`FusedMBConv`).
    Fused,
}

/// Expansion, kernel, stride, output channels, number of blocks.
const fn inverted(
    expansion: usize,
    kernel: usize,
    stride: usize,
    out_channels: usize,
    blocks: usize,
) -> Stage {
    Stage {
        kind: Kind::Inverted,
        expansion,
        kernel,
        stride,
        out_channels,
        blocks,
    }
}

/// Expansion, stride, output channels, number of blocks. The kernel is 3×3.
const fn fused(expansion: usize, stride: usize, out_channels: usize, blocks: usize) -> Stage {
    let stage = inverted(expansion, 3, stride, out_channels, blocks);
    Stage {
        kind: Kind::Fused,
        ..stage
    }
}

const B0: [Stage; 7] = [
    inverted(1, 3, 1, 16, 1),
    inverted(6, 3, 2, 24, 2),
    inverted(6, 5, 2, 40, 2),
    inverted(6, 3, 2, 80, 3),
    inverted(6, 5, 1, 112, 3),
    inverted(6, 5, 2, 192, 4),
    inverted(6, 3, 1, 320, 1),
];

/// Factors for the channels and for the number of blocks, of B0 to B8.
const SCALES: [(f64, f64); 9] = [
    (1.0, 1.0),
    (1.0, 1.1),
    (1.1, 1.2),
    (1.2, 1.4),
    (1.4, 1.8),
    (1.6, 2.2),
    (1.8, 2.6),
    (2.0, 3.1),
    (2.2, 3.6),
];

const V2_S: [Stage; 6] = [
    fused(1, 1, 24, 2),
    fused(4, 2, 48, 4),
    fused(4, 2, 64, 4),
    inverted(4, 3, 2, 128, 6),
    inverted(6, 3, 1, 160, 9),
    inverted(6, 3, 2, 256, 15),
];

const V2_B0: [Stage; 6] = [
    fused(1, 1, 16, 1),
    fused(4, 2, 32, 2),
    fused(4, 2, 48, 2),
    inverted(4, 3, 2, 96, 3),
    inverted(6, 3, 1, 112, 5),
    inverted(6, 3, 2, 192, 8),
];

/// The convolutions of a network.
struct Backbone {
    stem_channels: usize,
    stages: Vec<Stage>,
    /// Channels of the last convolution.
    features: usize,
}

impl Backbone {
    fn of(name: &str) -> Backbone {
        let (stem_channels, stages, features) = match name {
            "efficientnet_v2_s" => (24, V2_S, 1280),
            "efficientnet_v2_b0" => (32, V2_B0, 1280),
            _ => return Backbone::scaled(name),
        };
        Backbone {
            stem_channels,
            stages: stages.to_vec(),
            features,
        }
    }

    /// B0 to B8; the last character of the name is the number.
    fn scaled(name: &str) -> Backbone {
        let number = usize::from(name.as_bytes()[name.len() - 1] - b'0');
        let (width, depth) = SCALES[number];
        let channels = |channels: usize| make_divisible(channels as f64 * width);
        let scaled = |stage: Stage| Stage {
            out_channels: channels(stage.out_channels),
            blocks: (stage.blocks as f64 * depth).ceil() as usize,
            ..stage
        };
        Backbone {
            stem_channels: channels(32),
            stages: B0.map(scaled).to_vec(),
            features: 4 * channels(320),
        }
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    let Backbone {
        stem_channels,
        stages,
        features,
    } = Backbone::of(config.name.name());
    let mut b = config.builder();
    b.block("features.0");
    let image = b.image();
    let stem = config.conv(stem_channels, 3).stride(config.stem_stride);
    let mut x = conv_norm(&mut b, pair("features.0", 0), image, stem, Activation::Silu);
    let count: usize = stages.iter().map(|stage| stage.blocks).sum();
    let mut before = 0;
    for (index, stage) in (1..).zip(&stages) {
        for place in 0..stage.blocks {
            let name = format!("features.{index}.{place}");
            b.block(&name);
            let stride = if place == 0 { stage.stride } else { 1 };
            let block = Block {
                config,
                stage: Stage { stride, ..*stage },
                // torchvision divides by the number of blocks, so the last block has a little less than the rate.
                drop_path: config.drop_path * before as f64 / count as f64,
            };
            x = block.layers(&mut b, &name, x);
            before += 1;
        }
    }
    let last = format!("features.{}", stages.len() + 1);
    b.block(&last);
    let spec = config.conv(features, 1);
    x = conv_norm(&mut b, pair(&last, 0), x, spec, Activation::Silu);
    x = b.global_average(x);
    let logits = head(&mut b, config, "classifier.1", x);
    Ok(b.finish(logits)?)
}

struct Block<'a> {
    config: &'a ModelConfig,
    /// The block's shape, with the block's own stride.
    stage: Stage,
    drop_path: f64,
}

impl Block<'_> {
    /// Appends the block with this name.
    fn layers(&self, b: &mut Builder, name: &str, input: usize) -> usize {
        let x = match self.stage.kind {
            Kind::Inverted => self.inverted(b, name, input),
            Kind::Fused => self.fused(b, name, input),
        };
        if self.stage.stride != 1 || b.channels(input) != b.channels(x) {
            return x;
        }
        let x = b.drop_path(x, self.drop_path);
        b.add(x, input)
    }

    fn conv(&self, out_channels: usize, kernel: usize) -> ConvSpec {
        self.config.conv(out_channels, kernel)
    }

    fn inverted(&self, b: &mut Builder, name: &str, input: usize) -> usize {
        let Stage {
            expansion,
            kernel,
            stride,
            out_channels,
            ..
        } = self.stage;
        let expanded = b.channels(input) * expansion;
        let mut index = 0;
        let mut next = || {
            index += 1;
            format!("{name}.block.{}", index - 1)
        };
        let mut x = input;
        if expansion > 1 {
            let expand = self.conv(expanded, 1);
            x = conv_norm(b, pair(&next(), 0), x, expand, Activation::Silu);
        }
        let depthwise = self.conv(expanded, kernel).stride(stride).groups(expanded);
        x = conv_norm(b, pair(&next(), 0), x, depthwise, Activation::Silu);
        let squeeze = next();
        let hidden = (b.channels(input) / 4).max(1);
        let mut factors = b.global_average(x);
        factors = b.linear_conv(format!("{squeeze}.fc1"), factors, hidden);
        factors = b.activate(factors, Activation::Silu);
        factors = b.linear_conv(format!("{squeeze}.fc2"), factors, expanded);
        factors = b.activate(factors, Activation::Sigmoid);
        x = b.gate(x, factors);
        let project = self.conv(out_channels, 1);
        conv_norm(b, pair(&next(), 0), x, project, Activation::Identity)
    }

    fn fused(&self, b: &mut Builder, name: &str, input: usize) -> usize {
        let Stage {
            expansion,
            kernel,
            stride,
            out_channels,
            ..
        } = self.stage;
        let first = pair(&format!("{name}.block.0"), 0);
        if expansion == 1 {
            let only = self.conv(out_channels, kernel).stride(stride);
            return conv_norm(b, first, input, only, Activation::Silu);
        }
        let expand = self.conv(b.channels(input) * expansion, kernel);
        let x = conv_norm(b, first, input, expand.stride(stride), Activation::Silu);
        let project = self.conv(out_channels, 1);
        let second = pair(&format!("{name}.block.1"), 0);
        conv_norm(b, second, x, project, Activation::Identity)
    }
}
