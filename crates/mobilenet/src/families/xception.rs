//! Xception (Chollet 2016), with the names of pretrainedmodels (`pretrainedmodels/models/xception.py`).

use engine::{Activation, Builder, ConvSpec, Pad, Plan, Window};

use framing::Interpolation::Bilinear;

use super::{Entry, Family, Naming, conv_norm, growing, head};
use crate::run::initialise::Initial;
use crate::weights::Normalisation;
use crate::weights::schemes::Scheme;
use crate::weights::schemes::rename::by_rules;
use crate::{ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "Xception",
    variants: &[Entry::new("xception", 299)
        .framing(0.8975, Bilinear)
        .normalisation(Normalisation::HALF)],
    build,
    native: Scheme::PretrainedModels,
    // pretrainedmodels' first file has timm's names.
    schemes: &[Naming {
        scheme: Scheme::Timm,
        names: |_, plan| by_rules(plan, &[("last_linear", "fc")]),
    }],
    initial: Initial::TORCH,
    has_width: false,
};

/// Input and output channels of each block, and its number of separable convolutions.
const BLOCKS: [[usize; 3]; 12] = [
    [64, 128, 2],
    [128, 256, 2],
    [256, 728, 2],
    [728, 728, 3],
    [728, 728, 3],
    [728, 728, 3],
    [728, 728, 3],
    [728, 728, 3],
    [728, 728, 3],
    [728, 728, 3],
    [728, 728, 3],
    [728, 1024, 2],
];

fn build(config: &ModelConfig) -> Result<Plan> {
    let mut b = config.builder();
    b.block("conv1");
    let image = b.image();
    let unpadded = |channels| ConvSpec::new(channels, 3).pad(Pad::Zeros(0));
    let stem = unpadded(32).stride(config.stem_stride);
    let names = |number: usize| ["conv", "bn"].map(|part| format!("{part}{number}"));
    let mut x = conv_norm(&mut b, names(1), image, stem, Activation::Relu);
    b.block("conv2");
    x = conv_norm(&mut b, names(2), x, unpadded(64), Activation::Relu);
    for index in 0..BLOCKS.len() {
        b.block(format!("block{}", index + 1));
        x = block(&mut b, config, index, x);
    }
    for (number, channels) in [(3, 1536), (4, 2048)] {
        b.block(format!("conv{number}"));
        x = separable(&mut b, &format!("conv{number}"), x, channels);
        x = b.batch_norm(format!("bn{number}"), x);
        x = b.activate(x, Activation::Relu);
    }
    x = b.global_average(x);
    let logits = head(&mut b, config, "last_linear", x);
    Ok(b.finish(logits)?)
}

/// A depthwise and a pointwise convolution, without a normalisation in between.
fn separable(b: &mut Builder, name: &str, input: usize, channels: usize) -> usize {
    let depthwise = ConvSpec::new(b.channels(input), 3).groups(b.channels(input));
    let x = b.conv(format!("{name}.conv1"), input, depthwise);
    b.conv(format!("{name}.pointwise"), x, ConvSpec::new(channels, 1))
}

/// Block `index`. Each convolution follows an activation, except the very first. The first three blocks and the last
/// one halve the map.
fn block(b: &mut Builder, config: &ModelConfig, index: usize, input: usize) -> usize {
    let [inputs, outputs, convolutions] = BLOCKS[index];
    let name = |part: &str| format!("block{}.{part}", index + 1);
    let halves = inputs != outputs;
    let mut skip = input;
    if halves {
        let names = [name("skip"), name("skipbn")];
        let spec = ConvSpec::new(outputs, 1).stride(2);
        skip = conv_norm(b, names, input, spec, Activation::Identity);
    }
    let last = index + 1 == BLOCKS.len();
    let mut x = input;
    // The number of the next module in the sequence `rep`.
    let mut part = 0;
    for convolution in 0..convolutions {
        if index > 0 || convolution > 0 {
            x = b.activate(x, Activation::Relu);
            part += 1;
        }
        // The last block grows with its last convolution, the others with their first.
        let channels = if last && convolution + 1 < convolutions {
            inputs
        } else {
            outputs
        };
        x = separable(b, &name(&format!("rep.{part}")), x, channels);
        x = b.batch_norm(name(&format!("rep.{}", part + 1)), x);
        part += 2;
    }
    if halves {
        let pool = Window {
            stride: 2,
            ..Window::new(3)
        };
        x = b.max_pool(x, pool);
    }
    x = b.drop_path(x, growing(config.drop_path, index, BLOCKS.len()));
    b.add(x, skip)
}
