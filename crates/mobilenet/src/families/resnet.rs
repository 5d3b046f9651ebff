//! ResNet (He et al. 2015) and ResNeXt (Xie et al. 2016), with torchvision's names (`torchvision/models/resnet.py`), and
//! SE-ResNeXt (Hu et al. 2017), with the names of pretrainedmodels (`pretrainedmodels/models/senet.py`).
//!
//! `resnext101_32x16d` has weights of WSL (Mahajan et al. 2018, github.com/facebookresearch/WSL-Images), whose files use
//! torchvision's names.

use engine::{Activation, Builder, ConvSpec, Pad, Plan, Window};

use super::{Entry, Family, Naming, conv_norm, growing, head};
use crate::run::initialise::{Draw, Initial};
use crate::weights::schemes::Scheme;
use crate::weights::schemes::rename::{Rule, by_rules};
use crate::{Design, ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "ResNet",
    variants: &[
        Entry::new("resnet18", 224),
        Entry::new("resnet34", 224),
        Entry::new("resnet50", 224),
        Entry::new("resnet101", 224),
        Entry::new("resnet152", 224),
        Entry::new("resnext50_32x4d", 224),
        Entry::new("resnext101_32x8d", 224),
        Entry::new("resnext101_32x16d", 224),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::Timm,
            names: |_, plan| by_rules(plan, &[]),
        },
        Naming {
            scheme: Scheme::PretrainedModels,
            names: |_, plan| by_rules(plan, &[("fc", "last_linear")]),
        },
    ],
    initial: Initial {
        conv: Draw::HeOutputs,
        ..Initial::TORCH
    },
    has_width: false,
};

pub(super) const SE_RESNEXT: Family = Family {
    name: "SE-ResNeXt",
    variants: &[
        Entry::new("se_resnext50_32x4d", 224),
        Entry::new("se_resnext101_32x4d", 224),
    ],
    build,
    native: Scheme::PretrainedModels,
    schemes: &[Naming {
        scheme: Scheme::Timm,
        names: |_, plan| by_rules(plan, SE_TIMM),
    }],
    initial: Initial::TORCH,
    has_width: false,
};

/// timm's names of `seresnext50_32x4d`; its `legacy_seresnext50_32x4d` has those of pretrainedmodels.
const SE_TIMM: &[Rule] = &[
    ("layer0", ""),
    ("layer*.*.se_module", "layer{0}.{1}.se"),
    ("last_linear", "fc"),
];

/// The blocks of a network.
#[derive(Clone, Copy)]
struct Shape {
    /// Number of blocks in each layer.
    blocks: [usize; 4],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 in groups, 1×1. `width` is the number of channels in a group at 64 channels.
    Bottleneck { groups: usize, width: usize },
    /// The same with squeeze-excite, 32 groups of 4.
    Squeezed,
}

impl Shape {
    fn of(name: &str) -> Shape {
        let plain = Kind::Bottleneck {
            groups: 1,
            width: 64,
        };
        let grouped = |width| Kind::Bottleneck { groups: 32, width };
        let (blocks, kind) = match name {
            "resnet18" => ([2, 2, 2, 2], Kind::Basic),
            "resnet34" => ([3, 4, 6, 3], Kind::Basic),
            "resnet50" => ([3, 4, 6, 3], plain),
            "resnet101" => ([3, 4, 23, 3], plain),
            "resnet152" => ([3, 8, 36, 3], plain),
            "resnext50_32x4d" => ([3, 4, 6, 3], grouped(4)),
            "resnext101_32x8d" => ([3, 4, 23, 3], grouped(8)),
            "resnext101_32x16d" => ([3, 4, 23, 3], grouped(16)),
            "se_resnext50_32x4d" => ([3, 4, 6, 3], Kind::Squeezed),
            _ => ([3, 4, 23, 3], Kind::Squeezed),
        };
        Shape { blocks, kind }
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    let shape = Shape::of(config.name.name());
    let squeezed = shape.kind == Kind::Squeezed;
    let mut b = config.builder();
    b.block("conv1");
    let image = b.image();
    let stem = ConvSpec::new(64, 7).stride(config.stem_stride);
    let prefix = if squeezed { "layer0." } else { "" };
    let names = ["conv1", "bn1"].map(|part| format!("{prefix}{part}"));
    let mut x = conv_norm(&mut b, names, image, stem, Activation::Relu);
    let mut pool = Window {
        stride: 2,
        ..Window::new(3)
    };
    // The first project keeps Caffe's windows, timm does not.
    if squeezed && config.design != Design::Timm {
        (pool.pad, pool.ceil) = (Pad::Zeros(0), true);
    }
    x = b.max_pool(x, pool);
    let all: usize = shape.blocks.iter().sum();
    let mut before = 0;
    for (layer, (channels, blocks)) in (1..).zip([64, 128, 256, 512].into_iter().zip(shape.blocks))
    {
        for index in 0..blocks {
            let block = Block {
                name: format!("layer{layer}.{index}"),
                channels,
                stride: if layer > 1 && index == 0 { 2 } else { 1 },
                kind: shape.kind,
                drop_path: growing(config.drop_path, before, all),
            };
            b.block(&block.name);
            x = block.layers(&mut b, x);
            before += 1;
        }
    }
    x = b.global_average(x);
    let classifier = if squeezed { "last_linear" } else { "fc" };
    let logits = head(&mut b, config, classifier, x);
    Ok(b.finish(logits)?)
}

struct Block {
    name: String,
    /// Channels of the basic block, and a quarter of the bottleneck's outputs.
    channels: usize,
    stride: usize,
    kind: Kind,
    drop_path: f64,
}

impl Block {
    fn layers(&self, b: &mut Builder, input: usize) -> usize {
        let relu = Activation::Relu;
        let mut x = match self.kind {
            Kind::Basic => {
                let first = ConvSpec::new(self.channels, 3).stride(self.stride);
                let x = conv_norm(b, self.pair(1), input, first, relu);
                let second = ConvSpec::new(self.channels, 3);
                conv_norm(b, self.pair(2), x, second, Activation::Identity)
            }
            Kind::Bottleneck { groups, width } => self.bottleneck(b, input, groups, width),
            Kind::Squeezed => {
                let x = self.bottleneck(b, input, 32, 4);
                self.squeeze(b, x)
            }
        };
        let mut skip = input;
        if self.stride > 1 || b.channels(input) != b.channels(x) {
            let names = [0, 1].map(|part| format!("{}.downsample.{part}", self.name));
            let spec = ConvSpec::new(b.channels(x), 1).stride(self.stride);
            skip = conv_norm(b, names, input, spec, Activation::Identity);
        }
        x = b.drop_path(x, self.drop_path);
        x = b.add(x, skip);
        b.activate(x, relu)
    }

    fn bottleneck(&self, b: &mut Builder, input: usize, groups: usize, width: usize) -> usize {
        let relu = Activation::Relu;
        let inner = self.channels * width / 64 * groups;
        let x = conv_norm(b, self.pair(1), input, ConvSpec::new(inner, 1), relu);
        let middle = ConvSpec::new(inner, 3).stride(self.stride).groups(groups);
        let x = conv_norm(b, self.pair(2), x, middle, relu);
        let last = ConvSpec::new(4 * self.channels, 1);
        conv_norm(b, self.pair(3), x, last, Activation::Identity)
    }

    fn squeeze(&self, b: &mut Builder, x: usize) -> usize {
        let channels = b.channels(x);
        let name = |part: &str| format!("{}.se_module.{part}", self.name);
        let mut factors = b.global_average(x);
        factors = b.linear_conv(name("fc1"), factors, channels / 16);
        factors = b.activate(factors, Activation::Relu);
        factors = b.linear_conv(name("fc2"), factors, channels);
        factors = b.activate(factors, Activation::Sigmoid);
        b.gate(x, factors)
    }

    /// The names of a convolution and of its normalisation.
    fn pair(&self, number: usize) -> [String; 2] {
        ["conv", "bn"].map(|part| format!("{}.{part}{number}", self.name))
    }
}
