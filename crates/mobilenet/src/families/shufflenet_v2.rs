//! ShuffleNetV2 (Ma et al. 2018), with torchvision's names (`torchvision/models/shufflenetv2.py`).

use engine::{Activation, Builder, ConvSpec, Plan, Window};

use framing::Interpolation::Bilinear;

use super::{Entry, Family, conv_norm, head, pair};
use crate::run::initialise::Initial;
use crate::weights::schemes::Scheme;
use crate::{ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "ShuffleNetV2",
    variants: &[
        Entry::new("shufflenet_v2_x0_5", 224),
        Entry::new("shufflenet_v2_x1_0", 224),
        Entry::new("shufflenet_v2_x1_5", 224).framing(224.0 / 232.0, Bilinear),
        Entry::new("shufflenet_v2_x2_0", 224).framing(224.0 / 232.0, Bilinear),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[],
    initial: Initial::TORCH,
    has_width: false,
};

/// The number of units of stages 2 to 4.
const UNITS: [usize; 3] = [4, 8, 4];

/// Output channels of stages 2 to 4, and of the last convolution.
fn channels(name: &str) -> ([usize; 3], usize) {
    match name {
        "shufflenet_v2_x0_5" => ([48, 96, 192], 1024),
        "shufflenet_v2_x1_0" => ([116, 232, 464], 1024),
        "shufflenet_v2_x1_5" => ([176, 352, 704], 1024),
        _ => ([244, 488, 976], 2048),
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    let (stages, features) = channels(config.name.name());
    let mut b = config.builder();
    b.block("conv1");
    let image = b.image();
    let stem = ConvSpec::new(24, 3).stride(config.stem_stride);
    let mut x = conv_norm(&mut b, pair("conv1", 0), image, stem, Activation::Relu);
    let pool = Window {
        stride: 2,
        ..Window::new(3)
    };
    x = b.max_pool(x, pool);
    for (stage, (channels, units)) in (2..).zip(stages.into_iter().zip(UNITS)) {
        for index in 0..units {
            let name = format!("stage{stage}.{index}");
            b.block(&name);
            x = unit(&mut b, &name, x, channels, index == 0);
        }
    }
    b.block("conv5");
    let last = ConvSpec::new(features, 1);
    x = conv_norm(&mut b, pair("conv5", 0), x, last, Activation::Relu);
    x = b.global_average(x);
    let logits = head(&mut b, config, "fc", x);
    Ok(b.finish(logits)?)
}

/// A unit with `channels` outputs. If it halves the map, both branches see all channels; otherwise the first half of the
/// channels passes unchanged.
fn unit(b: &mut Builder, name: &str, input: usize, channels: usize, halves: bool) -> usize {
    let half = channels / 2;
    let stride = if halves { 2 } else { 1 };
    let depthwise = |channels| ConvSpec::new(channels, 3).stride(stride).groups(channels);
    let pointwise = ConvSpec::new(half, 1);
    let (first, second) = if halves {
        let branch = format!("{name}.branch1");
        let all = depthwise(b.channels(input));
        let x = conv_norm(b, pair(&branch, 0), input, all, Activation::Identity);
        let x = conv_norm(b, pair(&branch, 2), x, pointwise, Activation::Relu);
        (x, input)
    } else {
        let first = b.slice(input, 0, half);
        (first, b.slice(input, half, half))
    };
    let branch = format!("{name}.branch2");
    let x = conv_norm(b, pair(&branch, 0), second, pointwise, Activation::Relu);
    let x = conv_norm(
        b,
        pair(&branch, 3),
        x,
        depthwise(half),
        Activation::Identity,
    );
    let x = conv_norm(b, pair(&branch, 5), x, pointwise, Activation::Relu);
    let x = b.concat(vec![first, x]);
    b.shuffle(x, 2)
}
