//! MobileNetV4's convolutional networks (Qin et al. 2024), as in timm (`timm/models/mobilenetv3.py`), with timm's names.

use engine::{Activation, Builder, Plan};

use framing::Interpolation::Bicubic;

use super::{Entry, Family, conv_norm, head, make_divisible};
use crate::run::initialise::{Draw, Initial};
use crate::weights::schemes::Scheme;
use crate::{ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "MobileNetV4",
    variants: &[
        Entry::new("mobilenetv4_conv_small", 224)
            .framing(0.875, Bicubic)
            .dropout(0.2),
        Entry::new("mobilenetv4_conv_medium", 256)
            .framing(0.95, Bicubic)
            .dropout(0.2),
        Entry::new("mobilenetv4_conv_large", 384)
            .framing(0.95, Bicubic)
            .dropout(0.2),
    ],
    build,
    native: Scheme::Timm,
    schemes: &[],
    initial: Initial {
        conv: Draw::HeOutputsOfGroup,
        linear: Draw::UniformOutputs,
        ..Initial::MOBILENET
    },
    has_width: false,
};

/// Blocks of one shape. The first has the stride, the others stride 1.
#[derive(Clone, Copy)]
struct Row {
    kind: Kind,
    stride: usize,
    out_channels: usize,
    count: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A convolution with this kernel (timm's `ConvBnAct`).
    Conv(usize),
    /// A 3×3 convolution that expands by this factor, and a projection (timm's `EdgeResidual`).
    Edge(usize),
    /// Depthwise k×k, expand 1×1, depthwise k×k, project 1×1 (timm's `UniversalInvertedResidual`): the two kernels, 0
    /// for no convolution, and the expansion.
    Universal(usize, usize, usize),
}
use Kind::{Conv, Edge, Universal};

const fn row(kind: Kind, stride: usize, out_channels: usize, count: usize) -> Row {
    Row {
        kind,
        stride,
        out_channels,
        count,
    }
}

type Stages = [&'static [Row]; 5];

const SMALL: Stages = [
    &[row(Conv(3), 2, 32, 1), row(Conv(1), 1, 32, 1)],
    &[row(Conv(3), 2, 96, 1), row(Conv(1), 1, 64, 1)],
    &[
        row(Universal(5, 5, 3), 2, 96, 1),
        row(Universal(0, 3, 2), 1, 96, 4),
        row(Universal(3, 0, 4), 1, 96, 1),
    ],
    &[
        row(Universal(3, 3, 6), 2, 128, 1),
        row(Universal(5, 5, 4), 1, 128, 1),
        row(Universal(0, 5, 4), 1, 128, 1),
        row(Universal(0, 5, 3), 1, 128, 1),
        row(Universal(0, 3, 4), 1, 128, 2),
    ],
    &[row(Conv(1), 1, 960, 1)],
];

const MEDIUM: Stages = [
    &[row(Edge(4), 2, 48, 1)],
    &[
        row(Universal(3, 5, 4), 2, 80, 1),
        row(Universal(3, 3, 2), 1, 80, 1),
    ],
    &[
        row(Universal(3, 5, 6), 2, 160, 1),
        row(Universal(3, 3, 4), 1, 160, 2),
        row(Universal(3, 5, 4), 1, 160, 1),
        row(Universal(3, 3, 4), 1, 160, 1),
        row(Universal(3, 0, 4), 1, 160, 1),
        row(Universal(0, 0, 2), 1, 160, 1),
        row(Universal(3, 0, 4), 1, 160, 1),
    ],
    &[
        row(Universal(5, 5, 6), 2, 256, 1),
        row(Universal(5, 5, 4), 1, 256, 1),
        row(Universal(3, 5, 4), 1, 256, 2),
        row(Universal(0, 0, 4), 1, 256, 1),
        row(Universal(3, 0, 4), 1, 256, 1),
        row(Universal(3, 5, 2), 1, 256, 1),
        row(Universal(5, 5, 4), 1, 256, 1),
        row(Universal(0, 0, 4), 1, 256, 2),
        row(Universal(5, 0, 2), 1, 256, 1),
    ],
    &[row(Conv(1), 1, 960, 1)],
];

const LARGE: Stages = [
    &[row(Edge(4), 2, 48, 1)],
    &[
        row(Universal(3, 5, 4), 2, 96, 1),
        row(Universal(3, 3, 4), 1, 96, 1),
    ],
    &[
        row(Universal(3, 5, 4), 2, 192, 1),
        row(Universal(3, 3, 4), 1, 192, 3),
        row(Universal(3, 5, 4), 1, 192, 1),
        row(Universal(5, 3, 4), 1, 192, 5),
        row(Universal(3, 0, 4), 1, 192, 1),
    ],
    &[
        row(Universal(5, 5, 4), 2, 512, 4),
        row(Universal(5, 0, 4), 1, 512, 1),
        row(Universal(5, 3, 4), 1, 512, 1),
        row(Universal(5, 0, 4), 1, 512, 2),
        row(Universal(5, 3, 4), 1, 512, 1),
        row(Universal(5, 5, 4), 1, 512, 1),
        row(Universal(5, 0, 4), 1, 512, 3),
    ],
    &[row(Conv(1), 1, 960, 1)],
];

fn build(config: &ModelConfig) -> Result<Plan> {
    let (stem_channels, stages) = match config.name.name() {
        "mobilenetv4_conv_large" => (24, LARGE),
        "mobilenetv4_conv_medium" => (32, MEDIUM),
        _ => (32, SMALL),
    };
    let mut b = config.builder();
    b.block("conv_stem");
    let image = b.image();
    let stem = config.conv(stem_channels, 3).stride(config.stem_stride);
    let names = ["conv_stem".to_owned(), "bn1".to_owned()];
    let mut x = conv_norm(&mut b, names, image, stem, Activation::Relu);
    let rows = stages.iter().flat_map(|stage| stage.iter());
    let count: usize = rows.map(|row| row.count).sum();
    let mut before = 0;
    for (stage, rows) in stages.iter().enumerate() {
        let blocks = rows.iter().flat_map(|&row| {
            (0..row.count).map(move |place| Row {
                stride: if place == 0 { row.stride } else { 1 },
                ..row
            })
        });
        for (place, row) in blocks.enumerate() {
            let name = format!("blocks.{stage}.{place}");
            b.block(&name);
            let drop_path = config.drop_path * before as f64 / count as f64;
            x = block(&mut b, config, &name, row, drop_path, x);
            before += 1;
        }
    }
    b.block("conv_head");
    x = b.global_average(x);
    x = b.linear_conv_without_bias("conv_head", x, 1280);
    x = b.batch_norm("norm_head", x);
    x = b.activate(x, Activation::Relu);
    let logits = head(&mut b, config, "classifier", x);
    Ok(b.finish(logits)?)
}

/// Appends the block with this name and shape; its stride is that of the row.
fn block(
    b: &mut Builder,
    config: &ModelConfig,
    name: &str,
    row: Row,
    drop_path: f64,
    input: usize,
) -> usize {
    let Row {
        kind,
        stride,
        out_channels,
        ..
    } = row;
    let inputs = b.channels(input);
    let expanded = |expansion: usize| make_divisible((inputs * expansion) as f64);
    let names = |conv: &str, norm: &str| [format!("{name}.{conv}"), format!("{name}.{norm}")];
    let x = match kind {
        Conv(kernel) => {
            let conv = config.conv(out_channels, kernel).stride(stride);
            return conv_norm(b, names("conv", "bn1"), input, conv, Activation::Relu);
        }
        Edge(expansion) => {
            let expand = config.conv(expanded(expansion), 3).stride(stride);
            let names_of_first = names("conv_exp", "bn1");
            let x = conv_norm(b, names_of_first, input, expand, Activation::Relu);
            let project = config.conv(out_channels, 1);
            conv_norm(
                b,
                names("conv_pwl", "bn2"),
                x,
                project,
                Activation::Identity,
            )
        }
        Universal(first, middle, expansion) => {
            let names = |part: &str| names(&format!("{part}.conv"), &format!("{part}.bn"));
            let mut x = input;
            if first > 0 {
                // The stride is that of the second depthwise convolution, if there is one.
                let stride = if middle > 0 { 1 } else { stride };
                let depthwise = config.conv(inputs, first).stride(stride).groups(inputs);
                x = conv_norm(b, names("dw_start"), x, depthwise, Activation::Identity);
            }
            let wide = expanded(expansion);
            let expand = config.conv(wide, 1);
            x = conv_norm(b, names("pw_exp"), x, expand, Activation::Relu);
            if middle > 0 {
                let depthwise = config.conv(wide, middle).stride(stride).groups(wide);
                x = conv_norm(b, names("dw_mid"), x, depthwise, Activation::Relu);
            }
            let project = config.conv(out_channels, 1);
            conv_norm(b, names("pw_proj"), x, project, Activation::Identity)
        }
    };
    if stride != 1 || inputs != out_channels {
        return x;
    }
    let x = b.drop_path(x, drop_path);
    b.add(x, input)
}
