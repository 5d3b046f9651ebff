//! ConvNeXt (Liu et al. 2022), with torchvision's names (`torchvision/models/convnext.py`). Atto to nano are timm's
//! (`timm/models/convnext.py`).

use engine::{Activation, Builder, ConvSpec, Pad, Plan};

use framing::Interpolation::{Bicubic, Bilinear};

use super::{Entry, Family, Naming, growing, head, staged};
use crate::run::initialise::{Draw, Initial};
use crate::weights::schemes::rename::{Rule, renamed_tensors, replaced};
use crate::weights::schemes::{Scheme, TensorName};
use crate::{ModelConfig, Result, Variant};

pub(super) const FAMILY: Family = Family {
    name: "ConvNeXt",
    variants: &[
        Entry::new("convnext_atto", 224).framing(0.875, Bicubic),
        Entry::new("convnext_femto", 224).framing(0.875, Bicubic),
        Entry::new("convnext_pico", 224).framing(0.875, Bicubic),
        Entry::new("convnext_nano", 224).framing(0.875, Bicubic),
        Entry::new("convnext_tiny", 224)
            .framing(224.0 / 236.0, Bilinear)
            .drop_path(0.1),
        Entry::new("convnext_small", 224)
            .framing(224.0 / 230.0, Bilinear)
            .drop_path(0.4),
        Entry::new("convnext_base", 224)
            .framing(224.0 / 232.0, Bilinear)
            .drop_path(0.5),
        Entry::new("convnext_large", 224)
            .framing(224.0 / 232.0, Bilinear)
            .drop_path(0.5),
    ],
    build,
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::Timm,
            names: |variant, plan| names(plan, TIMM, has_convolutions(variant)),
        },
        Naming {
            scheme: Scheme::Facebook,
            names: |_, plan| names(plan, FACEBOOK, false),
        },
    ],
    initial: Initial {
        conv: Draw::Normal(0.02),
        linear: Draw::Normal(0.02),
        ..Initial::MOBILENET
    },
    has_width: false,
};

const TIMM: &[Rule] = &[
    ("stage.*.*.block.0", "stages.{0}.blocks.{1}.conv_dw"),
    ("stage.*.*.block.2", "stages.{0}.blocks.{1}.norm"),
    ("stage.*.*.block.3", "stages.{0}.blocks.{1}.mlp.fc1"),
    ("stage.*.*.block.5", "stages.{0}.blocks.{1}.mlp.fc2"),
    ("stage.*.*.layer_scale", "stages.{0}.blocks.{1}.gamma"),
    ("down.*", "stages.{0}.downsample"),
    ("classifier.0", "head.norm"),
    ("classifier.2", "head.fc"),
];

const FACEBOOK: &[Rule] = &[
    ("stem", "downsample_layers.0"),
    ("stage.*.*.block.0", "stages.{0}.{1}.dwconv"),
    ("stage.*.*.block.2", "stages.{0}.{1}.norm"),
    ("stage.*.*.block.3", "stages.{0}.{1}.pwconv1"),
    ("stage.*.*.block.5", "stages.{0}.{1}.pwconv2"),
    ("stage.*.*.layer_scale", "stages.{0}.{1}.gamma"),
    ("down.*", "downsample_layers.{0}"),
    ("classifier.0", "norm"),
    ("classifier.2", "head"),
];

/// The names by these rules. Factors of channels are flat in other projects.
fn names(plan: &Plan, rules: &[Rule], convolutions: bool) -> Option<Vec<TensorName>> {
    renamed_tensors(plan, |tensor| {
        let name = staged(&tensor.native);
        let foreign = replaced(rules, &name).unwrap_or(name);
        let mut shape = tensor.shape;
        if tensor.native.ends_with("layer_scale") {
            shape = shape.map(|shape| shape[..1].to_vec());
        }
        if convolutions && foreign.contains(".mlp.") && foreign.ends_with(".weight") {
            shape = shape.map(|shape| [&shape[..], &[1, 1]].concat());
        }
        Some(TensorName {
            foreign: Some(foreign),
            shape,
            ..tensor
        })
    })
}

/// Whether timm computes the fully connected layers of the blocks as 1×1 convolutions.
fn has_convolutions(variant: Variant) -> bool {
    matches!(
        variant.name(),
        "convnext_atto" | "convnext_femto" | "convnext_pico" | "convnext_nano"
    )
}

/// Constant that normalisations add to the variance.
const EPSILON: f64 = 1e-6;

/// Blocks in each stage, and channels of the first stage; each further stage has twice as many.
fn sizes(name: &str) -> ([usize; 4], usize) {
    match name {
        "convnext_atto" => ([2, 2, 6, 2], 40),
        "convnext_femto" => ([2, 2, 6, 2], 48),
        "convnext_pico" => ([2, 2, 6, 2], 64),
        "convnext_nano" => ([2, 2, 8, 2], 80),
        "convnext_tiny" => ([3, 3, 9, 3], 96),
        "convnext_small" => ([3, 3, 27, 3], 96),
        "convnext_base" => ([3, 3, 27, 3], 128),
        _ => ([3, 3, 27, 3], 192),
    }
}

fn build(config: &ModelConfig) -> Result<Plan> {
    config.check_squares()?;
    let (stages, width) = sizes(config.name.name());
    let mut b = config.builder();
    b.block("features.0");
    let mut x = b.conv("features.0.0", b.image(), squares(width, 4));
    x = b.layer_norm("features.0.1", x, EPSILON);
    let count: usize = stages.iter().sum();
    let mut before = 0;
    for (stage, blocks) in stages.into_iter().enumerate() {
        let channels = width << stage;
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            b.block(&name);
            x = b.layer_norm(format!("{name}.0"), x, EPSILON);
            x = b.conv(format!("{name}.1"), x, squares(channels, 2));
        }
        for place in 0..blocks {
            let name = format!("features.{}.{place}", 2 * stage + 1);
            b.block(&name);
            let drop_path = growing(config.drop_path, before, count);
            x = block(&mut b, &name, drop_path, x);
            before += 1;
        }
    }
    x = b.global_average(x);
    // torchvision has this normalisation in the classifier, other projects in the backbone. The classifier of other
    // classes needs it too.
    x = b.layer_norm("classifier.0", x, EPSILON);
    let logits = head(&mut b, config, "classifier.2", x);
    Ok(b.finish(logits)?)
}

/// A convolution of squares that do not overlap.
fn squares(channels: usize, side: usize) -> ConvSpec {
    let spec = ConvSpec::new(channels, side).stride(side);
    spec.pad(Pad::Zeros(0)).bias()
}

/// Appends the block with this name.
fn block(b: &mut Builder, name: &str, drop_path: f64, input: usize) -> usize {
    let channels = b.channels(input);
    let depthwise = ConvSpec::new(channels, 7).groups(channels).bias();
    let mut x = b.conv(format!("{name}.block.0"), input, depthwise);
    x = b.layer_norm(format!("{name}.block.2"), x, EPSILON);
    x = b.linear(format!("{name}.block.3"), x, 4 * channels);
    x = b.activate(x, Activation::Gelu);
    x = b.linear(format!("{name}.block.5"), x, channels);
    x = b.scale(format!("{name}.layer_scale"), x, vec![channels, 1, 1]);
    x = b.drop_path(x, drop_path);
    b.add(x, input)
}
