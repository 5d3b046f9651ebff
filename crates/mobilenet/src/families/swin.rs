//! Swin transformers (Liu et al. 2021), with torchvision's names (`torchvision/models/swin_transformer.py`). The large
//! network is Microsoft's.

use engine::{Activation, Builder, ConvSpec, Pad, Plan};

use framing::Interpolation::Bicubic;

use super::{Entry, Family, Naming, growing, head, staged};
use crate::run::initialise::{Draw, Initial};
use crate::weights::schemes::rename::{Rule, renamed, replaced};
use crate::weights::schemes::{Scheme, TensorName, constants};
use crate::{ModelConfig, Result};

pub(super) const FAMILY: Family = Family {
    name: "Swin",
    variants: &[
        Entry::new("swin_t", 224)
            .framing(224.0 / 232.0, Bicubic)
            .drop_path(0.2),
        Entry::new("swin_s", 224)
            .framing(224.0 / 246.0, Bicubic)
            .drop_path(0.3),
        Entry::new("swin_b", 224)
            .framing(224.0 / 238.0, Bicubic)
            .drop_path(0.5),
        Entry::new("swin_l", 224)
            .framing(0.875, Bicubic)
            .drop_path(0.2),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::Timm,
            names: |_, plan| names(plan, TIMM).map(constants::without),
        },
        Naming {
            scheme: Scheme::Microsoft,
            names: |_, plan| names(plan, MICROSOFT).map(|names| constants::microsoft(plan, names)),
        },
    ],
    initial: Initial {
        linear: Draw::Normal(0.02),
        linear_bias: Draw::Zeros,
        ..Initial::TORCH
    },
    has_width: false,
};

const MICROSOFT: &[Rule] = &[
    ("stem.0", "patch_embed.proj"),
    ("stem.2", "patch_embed.norm"),
    ("stage.*.*.mlp.0", "layers.{0}.blocks.{1}.mlp.fc1"),
    ("stage.*.*.mlp.3", "layers.{0}.blocks.{1}.mlp.fc2"),
    ("stage.*.*", "layers.{0}.blocks.{1}"),
    ("down.*", "layers.{0-1}.downsample"),
];

/// timm has the merging of patches at the beginning of a stage, where Microsoft has it at the end.
const TIMM: &[Rule] = &[
    ("stem.0", "patch_embed.proj"),
    ("stem.2", "patch_embed.norm"),
    ("stage.*.*.mlp.0", "layers.{0}.blocks.{1}.mlp.fc1"),
    ("stage.*.*.mlp.3", "layers.{0}.blocks.{1}.mlp.fc2"),
    ("stage.*.*", "layers.{0}.blocks.{1}"),
    ("down.*", "layers.{0}.downsample"),
    ("head", "head.fc"),
];

fn names(plan: &Plan, rules: &[Rule]) -> Option<Vec<TensorName>> {
    renamed(plan, |name| {
        let name = staged(name);
        Some(replaced(rules, &name).unwrap_or(name))
    })
}

/// Constant that normalisations add to the variance.
const EPSILON: f64 = 1e-5;

/// Side of an attention window.
const WINDOW: usize = 7;

/// Blocks and heads in each stage, and channels of the first stage; each further stage has twice as many.
fn sizes(name: &str) -> ([usize; 4], [usize; 4], usize) {
    match name {
        "swin_t" => ([2, 2, 6, 2], [3, 6, 12, 24], 96),
        "swin_s" => ([2, 2, 18, 2], [3, 6, 12, 24], 96),
        "swin_b" => ([2, 2, 18, 2], [4, 8, 16, 32], 128),
        _ => ([2, 2, 18, 2], [6, 12, 24, 48], 192),
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    config.check_squares()?;
    let (stages, heads, width) = sizes(config.name.name());
    let mut b = config.builder();
    b.block("features.0");
    let squares = ConvSpec::new(width, 4).stride(4).pad(Pad::Zeros(0)).bias();
    let mut x = b.conv("features.0.0", b.image(), squares);
    x = b.layer_norm("features.0.2", x, EPSILON);
    let count: usize = stages.iter().sum();
    let mut before = 0;
    for (stage, (blocks, heads)) in stages.into_iter().zip(heads).enumerate() {
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            b.block(&name);
            x = b.merge(x);
            x = b.layer_norm(format!("{name}.norm"), x, EPSILON);
            x = b.linear_without_bias(format!("{name}.reduction"), x, width << stage);
        }
        for place in 0..blocks {
            let block = Block {
                name: format!("features.{}.{place}", 2 * stage + 1),
                heads,
                shift: if place % 2 == 0 { 0 } else { WINDOW / 2 },
                drop_path: growing(config.drop_path, before, count),
            };
            b.block(&block.name);
            x = block.layers(&mut b, x);
            before += 1;
        }
    }
    x = b.layer_norm("norm", x, EPSILON);
    x = b.global_average(x);
    let logits = head(&mut b, config, "head", x);
    Ok(b.finish(logits)?)
}

struct Block {
    name: String,
    heads: usize,
    shift: usize,
    drop_path: f64,
}

impl Block {
    fn layers(&self, b: &mut Builder, input: usize) -> usize {
        let Block {
            name,
            heads,
            shift,
            drop_path,
        } = self;
        let channels = b.channels(input);
        let mut x = b.layer_norm(format!("{name}.norm1"), input, EPSILON);
        x = b.attention(format!("{name}.attn"), x, *heads, WINDOW, *shift);
        x = b.drop_path(x, *drop_path);
        let attended = b.add(x, input);
        x = b.layer_norm(format!("{name}.norm2"), attended, EPSILON);
        x = b.linear(format!("{name}.mlp.0"), x, 4 * channels);
        x = b.activate(x, Activation::Gelu);
        x = b.linear(format!("{name}.mlp.3"), x, channels);
        x = b.drop_path(x, *drop_path);
        b.add(x, attended)
    }
}
