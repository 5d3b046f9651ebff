//! MobileNetV3 (Howard et al. 2019, tables 1 and 2), as torchvision builds it
//! (`torchvision/models/mobilenetv3.py`).

use engine::{Activation, BlockSpec, SqueezeSpec};

use super::{Backbone, make_divisible};

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Large,
    Small,
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

/// MobileNetV3 of a size and a width.
pub(crate) fn v3(size: Size, width: f64) -> Backbone {
    let channels = |channels: usize| make_divisible(channels as f64 * width);
    let (table, hidden): (&[Row], usize) = match size {
        Size::Large => (&LARGE, 1280),
        Size::Small => (&SMALL, 1024),
    };
    let stem_channels = channels(16);
    let mut in_channels = stem_channels;
    let mut blocks = Vec::with_capacity(table.len());
    for &Row(kernel, expanded, out, squeeze, activation, stride) in table {
        let (expanded, out_channels) = (channels(expanded), channels(out));
        blocks.push(BlockSpec {
            in_channels,
            expansion: expanded != in_channels,
            expanded,
            out_channels,
            kernel,
            stride,
            squeeze: squeeze.then(|| SqueezeSpec {
                hidden: make_divisible((expanded / 4) as f64),
                before_activation: false,
            }),
            activation,
        });
        in_channels = out_channels;
    }
    Backbone {
        stem_channels,
        activation: HS,
        blocks,
        features: 6 * in_channels,
        hidden: Some(channels(hidden)),
    }
}
