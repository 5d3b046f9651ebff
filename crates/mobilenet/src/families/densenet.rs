//! DenseNet (Huang et al. 2016), with torchvision's names (`torchvision/models/densenet.py`).

use engine::{Activation, Builder, ConvSpec, Pad, Plan, Window};

use super::{Entry, Family, Naming, conv_norm, head};
use crate::run::initialise::{Draw, Initial};
use crate::weights::schemes::Scheme;
use crate::weights::schemes::rename::{Rule, by_rules};
use crate::{ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "DenseNet",
    variants: &[
        Entry::new("densenet121", 224),
        Entry::new("densenet169", 224),
        Entry::new("densenet201", 224),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::OldTorchvision,
            names: |_, plan| by_rules(plan, OLD),
        },
        Naming {
            scheme: Scheme::Timm,
            names: |_, plan| by_rules(plan, &[]),
        },
        Naming {
            scheme: Scheme::PretrainedModels,
            names: |_, plan| by_rules(plan, &[("classifier", "last_linear")]),
        },
    ],
    initial: Initial {
        conv: Draw::HeInputs,
        linear: Draw::Torch,
        ..Initial::MOBILENET
    },
    has_width: false,
};

/// torchvision's first names, which its published files still have.
#[rustfmt::skip]
const OLD: &[Rule] = &[
    ("features.denseblock*.denselayer*.norm1", "features.denseblock{0}.denselayer{1}.norm.1"),
    ("features.denseblock*.denselayer*.conv1", "features.denseblock{0}.denselayer{1}.conv.1"),
    ("features.denseblock*.denselayer*.norm2", "features.denseblock{0}.denselayer{1}.norm.2"),
    ("features.denseblock*.denselayer*.conv2", "features.denseblock{0}.denselayer{1}.conv.2"),
];

/// Channels that each dense layer adds.
const GROWTH: usize = 32;
/// Channels inside a dense layer.
const BOTTLENECK: usize = 4 * GROWTH;

/// Number of dense layers in each block.
fn layers(name: &str) -> [usize; 4] {
    match name {
        "densenet121" => [6, 12, 24, 16],
        "densenet169" => [6, 12, 32, 32],
        _ => [6, 12, 48, 32],
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    let mut b = config.builder();
    b.block("features.conv0");
    let image = b.image();
    let stem = ConvSpec::new(64, 7).stride(config.stem_stride);
    let names = ["features.conv0", "features.norm0"].map(String::from);
    let mut x = conv_norm(&mut b, names, image, stem, Activation::Relu);
    let pool = Window {
        stride: 2,
        ..Window::new(3)
    };
    x = b.max_pool(x, pool);
    for (number, layers) in (1..).zip(layers(config.name.name())) {
        for layer in 1..=layers {
            let name = format!("features.denseblock{number}.denselayer{layer}");
            b.block(&name);
            x = dense(&mut b, &name, x);
        }
        if number < 4 {
            let name = format!("features.transition{number}");
            b.block(&name);
            x = norm_relu(&mut b, format!("{name}.norm"), x);
            let half = ConvSpec::new(b.channels(x) / 2, 1);
            x = b.conv(format!("{name}.conv"), x, half);
            let halving = Window {
                stride: 2,
                pad: Pad::Zeros(0),
                ..Window::new(2)
            };
            x = b.average_pool(x, halving);
        }
    }
    b.block("features.norm5");
    x = norm_relu(&mut b, "features.norm5".into(), x);
    x = b.global_average(x);
    let logits = head(&mut b, config, "classifier", x);
    Ok(b.finish(logits)?)
}

fn norm_relu(b: &mut Builder, name: String, input: usize) -> usize {
    let x = b.batch_norm(name, input);
    b.activate(x, Activation::Relu)
}

/// A dense layer: its input, and [`GROWTH`] more channels.
fn dense(b: &mut Builder, name: &str, input: usize) -> usize {
    let name = |part: &str| format!("{name}.{part}");
    let x = norm_relu(b, name("norm1"), input);
    let x = b.conv(name("conv1"), x, ConvSpec::new(BOTTLENECK, 1));
    let x = norm_relu(b, name("norm2"), x);
    let x = b.conv(name("conv2"), x, ConvSpec::new(GROWTH, 3));
    b.concat(vec![input, x])
}
