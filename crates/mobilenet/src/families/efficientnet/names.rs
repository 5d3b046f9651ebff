//! The names of EfficientNet's tensors in other projects.

use engine::Plan;

use super::Backbone;
use crate::Variant;
use crate::weights::schemes::TensorName;
use crate::weights::schemes::rename::{Rule, by_rules, renamed, replaced};

pub(super) fn timm(variant: Variant, plan: &Plan) -> Option<Vec<TensorName>> {
    let first = if is_v2(variant) { TIMM_V2 } else { TIMM_V1 };
    by_rules(plan, &[first, TIMM].concat())
}

pub(super) fn efficientnet_pytorch(variant: Variant, plan: &Plan) -> Option<Vec<TensorName>> {
    let place = |name: &str| replaced(EFFICIENTNET_PYTORCH, name).map(flat(variant));
    renamed(plan, place).filter(|_| !is_v2(variant))
}

/// pycls has EN-B0 to EN-B5.
pub(super) fn pycls(variant: Variant, plan: &Plan) -> Option<Vec<TensorName>> {
    let number = variant.name().strip_prefix("efficientnet_b");
    let is_theirs =
        number.is_some_and(|number| matches!(number, "0" | "1" | "2" | "3" | "4" | "5"));
    by_rules(plan, PYCLS).filter(|_| is_theirs)
}

/// timm's names of the layers that V1 alone has.
const TIMM_V1: &[Rule] = &[
    ("features.8.0", "conv_head"),
    ("features.8.1", "bn2"),
    ("features.1.*.block.0.0", "blocks.0.{0}.conv_dw"),
    ("features.1.*.block.0.1", "blocks.0.{0}.bn1"),
    ("features.1.*.block.1.fc1", "blocks.0.{0}.se.conv_reduce"),
    ("features.1.*.block.1.fc2", "blocks.0.{0}.se.conv_expand"),
    ("features.1.*.block.2.0", "blocks.0.{0}.conv_pw"),
    ("features.1.*.block.2.1", "blocks.0.{0}.bn2"),
];

/// timm's names of the layers that V2 alone has.
const TIMM_V2: &[Rule] = &[
    ("features.7.0", "conv_head"),
    ("features.7.1", "bn2"),
    ("features.1.*.block.0.0", "blocks.0.{0}.conv"),
    ("features.1.*.block.0.1", "blocks.0.{0}.bn1"),
    ("features.2.*.block.0.0", "blocks.1.{0}.conv_exp"),
    ("features.2.*.block.0.1", "blocks.1.{0}.bn1"),
    ("features.2.*.block.1.0", "blocks.1.{0}.conv_pwl"),
    ("features.2.*.block.1.1", "blocks.1.{0}.bn2"),
    ("features.3.*.block.0.0", "blocks.2.{0}.conv_exp"),
    ("features.3.*.block.0.1", "blocks.2.{0}.bn1"),
    ("features.3.*.block.1.0", "blocks.2.{0}.conv_pwl"),
    ("features.3.*.block.1.1", "blocks.2.{0}.bn2"),
];

/// timm's names of the other layers.
const TIMM: &[Rule] = &[
    ("features.0.0", "conv_stem"),
    ("features.0.1", "bn1"),
    ("features.*.*.block.0.0", "blocks.{0-1}.{1}.conv_pw"),
    ("features.*.*.block.0.1", "blocks.{0-1}.{1}.bn1"),
    ("features.*.*.block.1.0", "blocks.{0-1}.{1}.conv_dw"),
    ("features.*.*.block.1.1", "blocks.{0-1}.{1}.bn2"),
    (
        "features.*.*.block.2.fc1",
        "blocks.{0-1}.{1}.se.conv_reduce",
    ),
    (
        "features.*.*.block.2.fc2",
        "blocks.{0-1}.{1}.se.conv_expand",
    ),
    ("features.*.*.block.3.0", "blocks.{0-1}.{1}.conv_pwl"),
    ("features.*.*.block.3.1", "blocks.{0-1}.{1}.bn3"),
    ("classifier.1", "classifier"),
];

/// efficientnet-pytorch's names, but with stage and place of a block instead of its number.
const EFFICIENTNET_PYTORCH: &[Rule] = &[
    ("features.0.0", "_conv_stem"),
    ("features.0.1", "_bn0"),
    ("features.8.0", "_conv_head"),
    ("features.8.1", "_bn1"),
    ("features.1.*.block.0.0", "_blocks.1.{0}._depthwise_conv"),
    ("features.1.*.block.0.1", "_blocks.1.{0}._bn1"),
    ("features.1.*.block.1.fc1", "_blocks.1.{0}._se_reduce"),
    ("features.1.*.block.1.fc2", "_blocks.1.{0}._se_expand"),
    ("features.1.*.block.2.0", "_blocks.1.{0}._project_conv"),
    ("features.1.*.block.2.1", "_blocks.1.{0}._bn2"),
    ("features.*.*.block.0.0", "_blocks.{0}.{1}._expand_conv"),
    ("features.*.*.block.0.1", "_blocks.{0}.{1}._bn0"),
    ("features.*.*.block.1.0", "_blocks.{0}.{1}._depthwise_conv"),
    ("features.*.*.block.1.1", "_blocks.{0}.{1}._bn1"),
    ("features.*.*.block.2.fc1", "_blocks.{0}.{1}._se_reduce"),
    ("features.*.*.block.2.fc2", "_blocks.{0}.{1}._se_expand"),
    ("features.*.*.block.3.0", "_blocks.{0}.{1}._project_conv"),
    ("features.*.*.block.3.1", "_blocks.{0}.{1}._bn2"),
    ("classifier.1", "_fc"),
];

const PYCLS: &[Rule] = &[
    ("features.0.0", "stem.conv"),
    ("features.0.1", "stem.bn"),
    ("features.8.0", "head.conv"),
    ("features.8.1", "head.conv_bn"),
    ("features.1.*.block.0.0", "s1.b{0+1}.dwise"),
    ("features.1.*.block.0.1", "s1.b{0+1}.dwise_bn"),
    ("features.1.*.block.1.fc1", "s1.b{0+1}.se.f_ex.0"),
    ("features.1.*.block.1.fc2", "s1.b{0+1}.se.f_ex.2"),
    ("features.1.*.block.2.0", "s1.b{0+1}.lin_proj"),
    ("features.1.*.block.2.1", "s1.b{0+1}.lin_proj_bn"),
    ("features.*.*.block.0.0", "s{0}.b{1+1}.exp"),
    ("features.*.*.block.0.1", "s{0}.b{1+1}.exp_bn"),
    ("features.*.*.block.1.0", "s{0}.b{1+1}.dwise"),
    ("features.*.*.block.1.1", "s{0}.b{1+1}.dwise_bn"),
    ("features.*.*.block.2.fc1", "s{0}.b{1+1}.se.f_ex.0"),
    ("features.*.*.block.2.fc2", "s{0}.b{1+1}.se.f_ex.2"),
    ("features.*.*.block.3.0", "s{0}.b{1+1}.lin_proj"),
    ("features.*.*.block.3.1", "s{0}.b{1+1}.lin_proj_bn"),
    ("classifier.1", "head.fc"),
];

fn is_v2(variant: Variant) -> bool {
    variant.name().contains("_v2_")
}

/// Replaces stage and place of a block, `_blocks.2.0`, by its number in the network, `_blocks.1`.
fn flat(variant: Variant) -> impl Fn(String) -> String {
    let stages = Backbone::of(variant.name()).stages;
    move |name| {
        let number = |stage: usize, place: usize| -> usize {
            let before = stages.iter().take(stage - 1);
            before.map(|stage| stage.blocks).sum::<usize>() + place
        };
        let parts = name.strip_prefix("_blocks.").and_then(|rest| {
            let (stage, rest) = rest.split_once('.')?;
            let (place, rest) = rest.split_once('.')?;
            Some((stage.parse().ok()?, place.parse().ok()?, rest))
        });
        match parts {
            Some((stage, place, rest)) => format!("_blocks.{}.{rest}", number(stage, place)),
            None => name,
        }
    }
}
