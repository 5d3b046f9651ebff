//! The naming scheme of github.com/kuan-wang/pytorch-mobilenet-v3. In this implementation every
//! block has an expansion, and squeeze-excite has no biases.

use super::table::Layer::{
    Classifier, Depthwise, Excite, Expand, Hidden, Last, Project, Reduce, Stem,
};
use super::table::Table;

#[rustfmt::skip]
pub(crate) const MOBILENET_V3: Table = Table {
    rows: &[
        (Stem,       "features.0.0",             "features.0.1"),
        (Expand,     "features.{i}.conv.0",      "features.{i}.conv.1"),
        (Depthwise,  "features.{i}.conv.3",      "features.{i}.conv.4"),
        (Reduce,     "features.{i}.conv.5.fc.0", ""),
        (Excite,     "features.{i}.conv.5.fc.2", ""),
        (Project,    "features.{i}.conv.7",      "features.{i}.conv.8"),
        (Last,       "features.{after}.0",       "features.{after}.1"),
        (Hidden,     "features.{after+2}",       ""),
        (Classifier, "classifier.1",             ""),
    ],
    stages: &[],
    convolutions: &[Hidden],
    without_bias: &[Reduce, Excite],
};
