//! Small random networks of the kind of EfficientNet: SiLU, sigmoid gates, stochastic depth.

use engine::{Activation, BatchNormSpec, Builder, ConvSpec, Pad, Plan};

use crate::common::Random;

/// A small network with blocks of every kind.
pub(crate) fn plan(random: &mut Random) -> Plan {
    let batch_norm = BatchNormSpec {
        epsilon: random.one_of(&[1e-3, 1e-5]),
        momentum: 0.01,
    };
    let mut b = Builder::new("random", batch_norm);
    let same = random.one_of(&[true, false]);
    let conv = |out: usize, kernel: usize, stride: usize| {
        let pad = if same {
            Pad::Same
        } else {
            Pad::Zeros(kernel / 2)
        };
        ConvSpec::new(out, kernel).stride(stride).pad(pad)
    };
    let silu = Activation::Silu;
    let (mut channels, stride) = (random.in_range(1..=20), random.in_range(1..=2));
    b.block("stem");
    let mut x = b.conv("stem.conv", b.image(), conv(channels, 3, stride));
    x = b.batch_norm("stem.norm", x);
    x = b.activate(x, silu);
    for index in 0..random.in_range(1..=5) {
        b.block(format!("blocks.{index}"));
        let name = |part: &str| format!("blocks.{index}.{part}");
        let input = x;
        let mut expanded = channels;
        if random.one_of(&[true, true, false]) {
            expanded = random.one_of(&[channels, channels + 9, random.0 as usize % 70 + 1]);
            x = b.conv(name("expand"), x, conv(expanded, 1, 1));
            x = b.batch_norm(name("expand_norm"), x);
            x = b.activate(x, silu);
        }
        let (kernel, stride) = (random.one_of(&[3, 5]), random.in_range(1..=2));
        let spec = conv(expanded, kernel, stride).groups(expanded);
        x = b.conv(name("depthwise"), x, spec);
        x = b.batch_norm(name("depthwise_norm"), x);
        x = b.activate(x, silu);
        if random.one_of(&[true, true, false]) {
            let mut factors = b.global_average(x);
            factors = b.linear_conv(name("fc1"), factors, random.in_range(1..=20));
            factors = b.activate(factors, random.one_of(&[silu, Activation::Relu]));
            factors = b.linear_conv(name("fc2"), factors, expanded);
            let gates = [Activation::Sigmoid, Activation::Hardsigmoid];
            factors = b.activate(factors, random.one_of(&gates));
            x = b.gate(x, factors);
        }
        let residual = stride == 1 && random.one_of(&[true, true, false]);
        if !residual {
            channels = random.in_range(1..=40);
        }
        x = b.conv(name("project"), x, conv(channels, 1, 1));
        x = b.batch_norm(name("project_norm"), x);
        if residual {
            x = b.drop_path(x, random.one_of(&[0.0, 0.2]));
            x = b.add(x, input);
        }
    }
    b.block("last");
    x = b.conv("last.conv", x, conv(random.in_range(1..=80), 1, 1));
    x = b.batch_norm("last.norm", x);
    x = b.activate(x, silu);
    x = b.global_average(x);
    b.features(x);
    x = b.dropout(x, random.one_of(&[0.0, 0.2]));
    x = b.linear("classifier", x, random.in_range(1..=20));
    b.finish(x).unwrap()
}
