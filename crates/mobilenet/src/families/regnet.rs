//! RegNetX and RegNetY (Radosavovic et al. 2020), with torchvision's names (`torchvision/models/regnet.py`). The sizes
//! that torchvision lacks (600 MF, 4 GF, 6.4 GF) are those of pycls and timm.

use engine::{Activation, Builder, ConvSpec, Plan};

use super::{Entry, Family, Naming, conv_norm, growing, head, pair};
use crate::run::initialise::{Draw, Initial};
use crate::weights::schemes::Scheme;
use crate::weights::schemes::rename::{Rule, renamed, replaced};
use crate::{Design, ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "RegNet",
    variants: &[
        Entry::new("regnet_x_400mf", 224),
        Entry::new("regnet_x_600mf", 224),
        Entry::new("regnet_x_800mf", 224),
        Entry::new("regnet_x_1_6gf", 224),
        Entry::new("regnet_x_3_2gf", 224),
        Entry::new("regnet_x_4gf", 224),
        Entry::new("regnet_x_6_4gf", 224),
        Entry::new("regnet_x_8gf", 224),
        Entry::new("regnet_y_400mf", 224),
        Entry::new("regnet_y_600mf", 224),
        Entry::new("regnet_y_800mf", 224),
        Entry::new("regnet_y_1_6gf", 224),
        Entry::new("regnet_y_3_2gf", 224),
        Entry::new("regnet_y_4gf", 224),
        Entry::new("regnet_y_6_4gf", 224),
        Entry::new("regnet_y_8gf", 224),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::Timm,
            names: |_, plan| renamed(plan, |name| foreign(name, TIMM)),
        },
        Naming {
            scheme: Scheme::Pycls,
            names: |_, plan| renamed(plan, |name| foreign(name, PYCLS)),
        },
    ],
    initial: Initial {
        conv_bias: Draw::Torch,
        ..Initial::MOBILENET
    },
    has_width: false,
};

/// The paper's parameters: depth, initial width, slope, multiplier, group width.
struct Parameters(usize, f64, f64, f64, usize);

impl Parameters {
    fn of(name: &str) -> Parameters {
        match name {
            "regnet_x_400mf" => Parameters(22, 24.0, 24.48, 2.54, 16),
            "regnet_x_600mf" => Parameters(16, 48.0, 36.97, 2.24, 24),
            "regnet_x_800mf" => Parameters(16, 56.0, 35.73, 2.28, 16),
            "regnet_x_1_6gf" => Parameters(18, 80.0, 34.01, 2.25, 24),
            "regnet_x_3_2gf" => Parameters(25, 88.0, 26.31, 2.25, 48),
            "regnet_x_4gf" => Parameters(23, 96.0, 38.65, 2.43, 40),
            "regnet_x_6_4gf" => Parameters(17, 184.0, 60.83, 2.07, 56),
            "regnet_x_8gf" => Parameters(23, 80.0, 49.56, 2.88, 120),
            "regnet_y_400mf" => Parameters(16, 48.0, 27.89, 2.09, 8),
            "regnet_y_600mf" => Parameters(15, 48.0, 32.54, 2.32, 16),
            "regnet_y_800mf" => Parameters(14, 56.0, 38.84, 2.4, 16),
            "regnet_y_1_6gf" => Parameters(27, 48.0, 20.71, 2.65, 24),
            "regnet_y_3_2gf" => Parameters(21, 80.0, 42.63, 2.66, 24),
            "regnet_y_4gf" => Parameters(22, 96.0, 31.41, 2.24, 64),
            "regnet_y_6_4gf" => Parameters(25, 112.0, 33.22, 2.27, 72),
            _ => Parameters(17, 192.0, 76.82, 2.19, 56),
        }
    }

    /// The stages: blocks of one width. Widths are multiples of the group; `half_up` says how the half is rounded.
    fn stages(&self, half_up: bool) -> Vec<Stage> {
        let Parameters(depth, initial, slope, multiplier, group) = *self;
        let mut stages: Vec<Stage> = Vec::new();
        for index in 0..depth {
            let wanted = index as f64 * slope + initial;
            let power = ((wanted / initial).ln() / multiplier.ln()).round_ties_even();
            let width = (initial * multiplier.powf(power) / 8.0).round_ties_even() as usize * 8;
            match stages.last_mut() {
                Some(stage) if stage.width == width => stage.blocks += 1,
                _ => stages.push(Stage {
                    width,
                    group,
                    blocks: 1,
                }),
            }
        }
        for stage in &mut stages {
            stage.group = group.min(stage.width);
            stage.width = match half_up {
                true => multiple(stage.width, stage.group),
                false => {
                    let groups = stage.width as f64 / stage.group as f64;
                    groups.round_ties_even() as usize * stage.group
                }
            };
        }
        stages
    }
}

struct Stage {
    /// Channels.
    width: usize,
    /// Channels in a group.
    group: usize,
    blocks: usize,
}

/// The nearest multiple of `divisor`. If that is below nine tenths of `value`, the next multiple.
fn multiple(value: usize, divisor: usize) -> usize {
    let rounded = ((value + divisor / 2) / divisor * divisor).max(divisor);
    if 10 * rounded < 9 * value {
        rounded + divisor
    } else {
        rounded
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    let name = config.name.name();
    // torchvision rounds halves up, pycls and timm to even. torchvision lacks this size.
    let half_up = config.design == Design::Torchvision && !name.ends_with("_4gf");
    let stages = Parameters::of(name).stages(half_up);
    let squeezes = name.starts_with("regnet_y");
    let mut b = config.builder();
    b.block("stem");
    let image = b.image();
    let stem = ConvSpec::new(32, 3).stride(config.stem_stride);
    let mut x = conv_norm(&mut b, pair("stem", 0), image, stem, Activation::Relu);
    let all: usize = stages.iter().map(|stage| stage.blocks).sum();
    let mut before = 0;
    for (number, stage) in (1..).zip(&stages) {
        for index in 0..stage.blocks {
            let name = format!("trunk_output.block{number}.block{number}-{index}");
            b.block(&name);
            let block = Block {
                name,
                stage,
                stride: if index == 0 { 2 } else { 1 },
                squeezes,
                drop_path: growing(config.drop_path, before, all),
            };
            x = block.layers(&mut b, x);
            before += 1;
        }
    }
    x = b.global_average(x);
    let logits = head(&mut b, config, "fc", x);
    Ok(b.finish(logits)?)
}

struct Block<'a> {
    name: String,
    stage: &'a Stage,
    stride: usize,
    squeezes: bool,
    drop_path: f64,
}

impl Block<'_> {
    fn layers(&self, b: &mut Builder, input: usize) -> usize {
        let Stage { width, group, .. } = *self.stage;
        let name = |part: &str| format!("{}.{part}", self.name);
        let pointwise = ConvSpec::new(width, 1);
        let mut skip = input;
        if self.stride > 1 || b.channels(input) != width {
            let spec = pointwise.stride(self.stride);
            skip = conv_norm(b, pair(&name("proj"), 0), input, spec, Activation::Identity);
        }
        let mut x = conv_norm(b, pair(&name("f.a"), 0), input, pointwise, Activation::Relu);
        let middle = ConvSpec::new(width, 3).stride(self.stride);
        let middle = middle.groups(width / group);
        x = conv_norm(b, pair(&name("f.b"), 0), x, middle, Activation::Relu);
        if self.squeezes {
            // A quarter of the block's inputs, not of the channels here.
            let squeezed = (b.channels(input) as f64 / 4.0).round_ties_even() as usize;
            let mut factors = b.global_average(x);
            factors = b.linear_conv(name("f.se.fc1"), factors, squeezed);
            factors = b.activate(factors, Activation::Relu);
            factors = b.linear_conv(name("f.se.fc2"), factors, width);
            factors = b.activate(factors, Activation::Sigmoid);
            x = b.gate(x, factors);
        }
        x = conv_norm(b, pair(&name("f.c"), 0), x, pointwise, Activation::Identity);
        x = b.drop_path(x, self.drop_path);
        x = b.add(skip, x);
        b.activate(x, Activation::Relu)
    }
}

/// The names of timm (`timm/models/regnet.py`), within a block and outside of the blocks.
const TIMM: &[Rule] = &[
    ("proj.0", "downsample.conv"),
    ("proj.1", "downsample.bn"),
    ("f.a.0", "conv1.conv"),
    ("f.a.1", "conv1.bn"),
    ("f.b.0", "conv2.conv"),
    ("f.b.1", "conv2.bn"),
    ("f.c.0", "conv3.conv"),
    ("f.c.1", "conv3.bn"),
    ("f.se", "se"),
    ("stem.0", "stem.conv"),
    ("stem.1", "stem.bn"),
    ("fc", "head.fc"),
];

/// The names of pycls (`pycls/models/anynet.py`), within a block and outside of the blocks.
const PYCLS: &[Rule] = &[
    ("proj.0", "proj"),
    ("proj.1", "bn"),
    ("f.a.0", "f.a"),
    ("f.a.1", "f.a_bn"),
    ("f.b.0", "f.b"),
    ("f.b.1", "f.b_bn"),
    ("f.c.0", "f.c"),
    ("f.c.1", "f.c_bn"),
    ("f.se.fc1", "f.se.f_ex.0"),
    ("f.se.fc2", "f.se.f_ex.2"),
    ("stem.0", "stem.conv"),
    ("stem.1", "stem.bn"),
    ("fc", "head.fc"),
];

/// The name by these rules. Both projects call the blocks `s1.b1`, with numbers from 1 on.
fn foreign(name: &str, rules: &[Rule]) -> Option<String> {
    let Some(rest) = name.strip_prefix("trunk_output.block") else {
        return replaced(rules, name);
    };
    let (stage, rest) = rest.split_once('.')?;
    let (block, rest) = rest.split_once('.')?;
    let index: usize = block.rsplit_once('-')?.1.parse().ok()?;
    let rest = replaced(rules, rest)?;
    Some(format!("s{stage}.b{}.{rest}", index + 1))
}
