//! Small networks with the blocks of many families.

use engine::{Activation, BatchNormSpec, Builder, ConvSpec, Pad, Plan, Window};

fn builder(name: &str) -> Builder {
    let batch_norm = BatchNormSpec {
        epsilon: 1e-3,
        momentum: 0.01,
    };
    let mut b = Builder::new(name, batch_norm);
    b.block("all");
    b
}

fn conv_norm(b: &mut Builder, x: usize, spec: ConvSpec, activation: Activation) -> usize {
    let name = format!("conv{x}");
    let x = b.conv(name.clone(), x, spec);
    let x = b.batch_norm(format!("{name}.norm"), x);
    b.activate(x, activation)
}

fn head(mut b: Builder, x: usize, dropout: f64, classes: usize) -> Plan {
    let x = b.global_average(x);
    b.features(x);
    let x = b.dropout(x, dropout);
    let x = b.linear("fc", x, classes);
    b.finish(x).unwrap()
}

fn pool(kernel: usize, stride: usize, pad: usize, ceil: bool) -> Window {
    Window {
        kernel,
        stride,
        pad: Pad::Zeros(pad),
        ceil,
    }
}

const RELU: Activation = Activation::Relu;
const NONE: Activation = Activation::Identity;

/// Basic and bottleneck blocks, grouped convolutions, stride 2, squeeze-excite.
fn residual() -> Plan {
    let mut b = builder("residual");
    let x = conv_norm(&mut b, 0, ConvSpec::new(20, 7).stride(2), RELU);
    let mut x = b.max_pool(x, pool(3, 2, 0, true));
    for (out, stride) in [(20, 1), (36, 2), (36, 1)] {
        let y = conv_norm(&mut b, x, ConvSpec::new(out, 3).stride(stride), RELU);
        let y = conv_norm(&mut b, y, ConvSpec::new(out, 3), NONE);
        if stride > 1 {
            x = conv_norm(&mut b, x, ConvSpec::new(out, 1).stride(stride), NONE);
        }
        let sum = b.add(y, x);
        x = b.activate(sum, RELU);
    }
    for (out, stride) in [(48, 2), (48, 1)] {
        let y = conv_norm(&mut b, x, ConvSpec::new(24, 1), RELU);
        let y = conv_norm(
            &mut b,
            y,
            ConvSpec::new(24, 3).stride(stride).groups(3),
            RELU,
        );
        let y = conv_norm(&mut b, y, ConvSpec::new(out, 1), NONE);
        let s = b.global_average(y);
        let s = b.linear_conv(format!("reduce{x}"), s, 5);
        let s = b.activate(s, RELU);
        let s = b.linear_conv(format!("expand{x}"), s, out);
        let s = b.activate(s, Activation::Hardsigmoid);
        let y = b.gate(y, s);
        if stride > 1 {
            x = conv_norm(&mut b, x, ConvSpec::new(out, 1).stride(2), NONE);
        }
        let sum = b.add(y, x);
        x = b.activate(sum, RELU);
    }
    head(b, x, 0.0, 7)
}

/// Channels that are split, joined and shuffled, with halves that are no whole planes.
fn shuffled() -> Plan {
    let mut b = builder("shuffled");
    let x = conv_norm(&mut b, 0, ConvSpec::new(24, 3).stride(2), RELU);
    let mut x = b.max_pool(x, pool(3, 2, 1, false));
    let half = 22;
    let branch = |b: &mut Builder, x: usize, stride: usize| {
        let y = conv_norm(b, x, ConvSpec::new(half, 1), RELU);
        let y = conv_norm(
            b,
            y,
            ConvSpec::new(half, 3).stride(stride).groups(half),
            NONE,
        );
        conv_norm(b, y, ConvSpec::new(half, 1), RELU)
    };
    let left = conv_norm(&mut b, x, ConvSpec::new(24, 3).stride(2).groups(24), NONE);
    let left = conv_norm(&mut b, left, ConvSpec::new(half, 1), RELU);
    let right = branch(&mut b, x, 2);
    x = b.concat(vec![left, right]);
    x = b.shuffle(x, 2);
    for _ in 0..3 {
        let kept = b.slice(x, 0, half);
        let y = b.slice(x, half, half);
        let y = branch(&mut b, y, 1);
        x = b.concat(vec![kept, y]);
        x = b.shuffle(x, 2);
    }
    x = conv_norm(&mut b, x, ConvSpec::new(50, 1), RELU);
    head(b, x, 0.2, 5)
}

/// Dense blocks: all earlier features are joined, of whole planes or not.
fn dense(growth: usize) -> Plan {
    let mut b = builder("dense");
    let x = conv_norm(&mut b, 0, ConvSpec::new(2 * growth, 7).stride(2), RELU);
    let mut x = b.max_pool(x, pool(3, 2, 1, false));
    for block in 0..2 {
        let mut features = vec![x];
        for layer in 0..3 {
            let y = b.concat(features.clone());
            let y = b.batch_norm(format!("{block}.{layer}.norm1"), y);
            let y = b.activate(y, RELU);
            let y = b.conv(format!("{block}.{layer}.conv1"), y, ConvSpec::new(40, 1));
            let y = b.batch_norm(format!("{block}.{layer}.norm2"), y);
            let y = b.activate(y, RELU);
            features.push(b.conv(
                format!("{block}.{layer}.conv2"),
                y,
                ConvSpec::new(growth, 3),
            ));
        }
        let y = b.concat(features);
        let y = b.batch_norm(format!("{block}.norm"), y);
        x = b.activate(y, RELU);
        if block == 0 {
            let y = b.conv("transition", x, ConvSpec::new(2 * growth, 1));
            x = b.average_pool(y, pool(2, 2, 0, false));
        }
    }
    head(b, x, 0.0, 6)
}

/// Activations before convolutions, separable convolutions, convolutions with biases, windows of 7, padding of every
/// kind, stochastic depth.
fn separable() -> Plan {
    let mut b = builder("separable");
    let valid = ConvSpec::new(18, 3).pad(Pad::Zeros(0)).stride(2);
    let mut x = conv_norm(&mut b, 0, valid, Activation::Hardswish);
    x = b.max_pool(x, pool(2, 1, 0, false));
    for (block, out) in [18, 33].into_iter().enumerate() {
        let mut y = x;
        for part in 0..2 {
            let channels = b.channels(y);
            y = b.activate(y, RELU);
            let depthwise = ConvSpec::new(channels, 3 + 2 * part).groups(channels);
            y = b.conv(format!("{block}.{part}.depthwise"), y, depthwise);
            y = b.conv(
                format!("{block}.{part}.pointwise"),
                y,
                ConvSpec::new(out, 1),
            );
            y = b.batch_norm(format!("{block}.{part}.norm"), y);
        }
        y = b.max_pool(y, pool(3, 2, 1, false));
        y = b.drop_path(y, 0.3);
        let shortcut = ConvSpec::new(out, 1).stride(2).pad(Pad::Same);
        let shortcut = conv_norm(&mut b, x, shortcut, NONE);
        x = b.add(y, shortcut);
    }
    x = b.activate(x, Activation::Hardswish);
    let wide = ConvSpec::new(33, 7).groups(33).bias();
    x = b.conv("wide", x, wide);
    let biased = ConvSpec::new(20, 3).pad(Pad::Same).stride(2).bias();
    x = b.conv("biased", x, biased);
    let y = b.activate(x, Activation::Relu6);
    x = b.add(x, y);
    x = b.batch_norm("last", x);
    head(b, x, 0.5, 3)
}

/// Inverted residual blocks, which the fused engine runs too.
fn inverted() -> Plan {
    let mut b = builder("inverted");
    let mut x = conv_norm(
        &mut b,
        0,
        ConvSpec::new(9, 3).stride(2),
        Activation::Hardswish,
    );
    for (stride, out, drop_path) in [(1, 9, 0.0), (2, 17, 0.1), (1, 17, 0.1)] {
        let y = conv_norm(&mut b, x, ConvSpec::new(30, 1), Activation::Relu6);
        let depthwise = ConvSpec::new(30, 5).stride(stride).groups(30);
        let y = conv_norm(&mut b, y, depthwise, Activation::Hardswish);
        let s = b.global_average(y);
        let s = b.linear_conv(format!("reduce{x}"), s, 8);
        let s = b.activate(s, RELU);
        let s = b.linear_conv(format!("expand{x}"), s, 30);
        let s = b.activate(s, Activation::Hardsigmoid);
        let y = b.gate(y, s);
        let y = conv_norm(&mut b, y, ConvSpec::new(out, 1), NONE);
        let y = b.drop_path(y, drop_path);
        x = if b.channels(x) == out && stride == 1 {
            b.add(x, y)
        } else {
            y
        };
    }
    x = conv_norm(&mut b, x, ConvSpec::new(40, 1), Activation::Hardswish);
    let x = b.global_average(x);
    b.features(x);
    let x = b.linear("hidden", x, 25);
    let x = b.activate(x, Activation::Hardswish);
    let x = b.dropout(x, 0.2);
    let x = b.linear("fc", x, 4);
    b.finish(x).unwrap()
}

/// Sums of activated values, with and without stochastic depth, as in EfficientNetV2. The features are activated, but
/// a fully connected layer reads them before their activation.
fn summed() -> Plan {
    let mut b = builder("summed");
    let stem = ConvSpec::new(24, 3).stride(2);
    let mut x = conv_norm(&mut b, 0, stem, Activation::Silu);
    for drop_path in [0.0, 0.2, 0.3] {
        let y = conv_norm(&mut b, x, ConvSpec::new(24, 3), Activation::Silu);
        let y = b.drop_path(y, drop_path);
        x = b.add(y, x);
    }
    let y = conv_norm(&mut b, x, ConvSpec::new(50, 3), Activation::Silu);
    let y = conv_norm(&mut b, y, ConvSpec::new(24, 1), NONE);
    let y = b.drop_path(y, 0.4);
    x = b.add(y, x);
    let x = b.global_average(x);
    let x = b.linear("hidden", x, 30);
    let y = b.activate(x, Activation::Silu);
    b.features(y);
    let x = b.linear("plain", x, 12);
    let y = b.linear("activated", y, 12);
    let x = b.add(x, y);
    let x = b.linear("fc", x, 5);
    b.finish(x).unwrap()
}

pub(crate) fn all() -> Vec<Plan> {
    vec![
        residual(),
        summed(),
        shuffled(),
        dense(16),
        dense(12),
        separable(),
        inverted(),
    ]
}
