//! The naming scheme of github.com/d-li14/mobilenetv3.pytorch.

use super::table::Layer::{
    Classifier, Depthwise, Excite, Expand, Hidden, Last, PlainDepthwise, PlainExcite, PlainProject,
    PlainReduce, Project, Reduce, Stem,
};
use super::table::Table;

#[rustfmt::skip]
pub(crate) const MOBILENET_V3: Table = Table {
    rows: &[
        (Stem,           "features.0.0",             "features.0.1"),
        (PlainDepthwise, "features.{i}.conv.0",      "features.{i}.conv.1"),
        (PlainReduce,    "features.{i}.conv.3.fc.0", ""),
        (PlainExcite,    "features.{i}.conv.3.fc.2", ""),
        (PlainProject,   "features.{i}.conv.4",      "features.{i}.conv.5"),
        (Expand,         "features.{i}.conv.0",      "features.{i}.conv.1"),
        (Depthwise,      "features.{i}.conv.3",      "features.{i}.conv.4"),
        (Reduce,         "features.{i}.conv.5.fc.0", ""),
        (Excite,         "features.{i}.conv.5.fc.2", ""),
        (Project,        "features.{i}.conv.7",      "features.{i}.conv.8"),
        (Last,           "conv.0",                   "conv.1"),
        (Hidden,         "classifier.0",             ""),
        (Classifier,     "classifier.3",             ""),
    ],
    stages: &[],
    convolutions: &[],
    without_bias: &[],
};
