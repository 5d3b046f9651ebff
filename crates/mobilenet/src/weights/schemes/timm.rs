//! The naming scheme of timm (`timm/models/mobilenetv3.py` and `efficientnet.py`).

use super::table::Layer::{
    Classifier, Depthwise, Excite, Expand, Hidden, Last, PlainDepthwise, PlainExcite, PlainProject,
    PlainReduce, Project, Reduce, Stem,
};
use super::table::{Row, Table};

pub(crate) const MOBILENET_V3_LARGE: Table = table(V3, &[1, 2, 3, 4, 2, 3]);
pub(crate) const MOBILENET_V3_SMALL: Table = table(V3, &[1, 2, 3, 2, 3]);
pub(crate) const MOBILENET_V2: Table = table(V2, &[1, 2, 3, 4, 3, 3, 1]);

const fn table(rows: &'static [Row], stages: &'static [usize]) -> Table {
    Table {
        rows,
        stages,
        convolutions: &[PlainReduce, PlainExcite, Reduce, Excite, Hidden],
        without_bias: &[],
    }
}

#[rustfmt::skip]
const V3: &[Row] = &[
    (Stem,           "conv_stem",                                "bn1"),
    (PlainDepthwise, "blocks.{stage}.{block}.conv_dw",           "blocks.{stage}.{block}.bn1"),
    (PlainReduce,    "blocks.{stage}.{block}.se.conv_reduce",    ""),
    (PlainExcite,    "blocks.{stage}.{block}.se.conv_expand",    ""),
    (PlainProject,   "blocks.{stage}.{block}.conv_pw",           "blocks.{stage}.{block}.bn2"),
    (Expand,         "blocks.{stage}.{block}.conv_pw",           "blocks.{stage}.{block}.bn1"),
    (Depthwise,      "blocks.{stage}.{block}.conv_dw",           "blocks.{stage}.{block}.bn2"),
    (Reduce,         "blocks.{stage}.{block}.se.conv_reduce",    ""),
    (Excite,         "blocks.{stage}.{block}.se.conv_expand",    ""),
    (Project,        "blocks.{stage}.{block}.conv_pwl",          "blocks.{stage}.{block}.bn3"),
    (Last,           "blocks.{stages}.0.conv",                   "blocks.{stages}.0.bn1"),
    (Hidden,         "conv_head",                                ""),
    (Classifier,     "classifier",                               ""),
];

#[rustfmt::skip]
const V2: &[Row] = &[
    (Stem,           "conv_stem",                                "bn1"),
    (PlainDepthwise, "blocks.{stage}.{block}.conv_dw",           "blocks.{stage}.{block}.bn1"),
    (PlainProject,   "blocks.{stage}.{block}.conv_pw",           "blocks.{stage}.{block}.bn2"),
    (Expand,         "blocks.{stage}.{block}.conv_pw",           "blocks.{stage}.{block}.bn1"),
    (Depthwise,      "blocks.{stage}.{block}.conv_dw",           "blocks.{stage}.{block}.bn2"),
    (Project,        "blocks.{stage}.{block}.conv_pwl",          "blocks.{stage}.{block}.bn3"),
    (Last,           "conv_head",                                "bn2"),
    (Classifier,     "classifier",                               ""),
];
