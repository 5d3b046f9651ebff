//! MobileNetV2 (Sandler et al. 2018, table 2), as in torchvision
//! (`torchvision/models/mobilenetv2.py`).

use engine::{Activation, BlockSpec};

use super::{Backbone, Entry, Family, Naming, make_divisible};
use crate::run::initialise::Initial;
use crate::weights::schemes::{Scheme, easy_classification, timm};

pub(super) const FAMILY: Family = Family {
    name: "MobileNetV2",
    variants: &[Entry::new("mobilenet_v2", 224).dropout(0.2)],
    build: |config| v2(config.width).plan(config, engine::Naming::MobileNetV2),
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::EasyClassification,
            names: |_, plan| easy_classification::names(plan, "backbone"),
        },
        Naming {
            scheme: Scheme::Timm,
            names: |_, plan| timm::MOBILENET_V2.names(plan),
        },
    ],
    initial: Initial::MOBILENET,
    has_width: true,
};

/// Expansion factor, output channels, repetitions, and stride of the first repetition.
struct Row(usize, usize, usize, usize);

const ROWS: [Row; 7] = [
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
];

/// The convolutions of MobileNetV2 at this width.
fn v2(width: f64) -> Backbone {
    let channels = |channels: usize| make_divisible(channels as f64 * width);
    let stem_channels = channels(32);
    let mut in_channels = stem_channels;
    let mut blocks = Vec::new();
    for Row(ratio, out, count, stride) in ROWS {
        let out_channels = channels(out);
        for repetition in 0..count {
            blocks.push(BlockSpec {
                in_channels,
                expansion: ratio > 1,
                expanded: ratio * in_channels,
                out_channels,
                kernel: 3,
                stride: if repetition == 0 { stride } else { 1 },
                squeeze: None,
                activation: Activation::Relu6,
            });
            in_channels = out_channels;
        }
    }
    Backbone {
        stem_channels,
        activation: Activation::Relu6,
        blocks,
        // Below width 1, the number of features stays at its full value.
        features: make_divisible(1280.0 * width.max(1.0)),
        hidden: None,
    }
}
