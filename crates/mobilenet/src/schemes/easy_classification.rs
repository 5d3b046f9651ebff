//! Easy-Classification, which wraps torchvision's networks: `backbone` is what lies before
//! their classifier, `head` a new one of dropout and a linear layer. The whole wrapped network
//! is a second time in its files, as `model`, together with the classifier it no longer uses.

use super::TensorName;
use crate::Variant;

/// What stands in front of the names of the wrapped network, which nothing is read from.
pub(super) const UNUSED: &str = "model.";

/// A tensor under the project's name; none if it has no such one.
pub(super) fn rename(variant: Variant, tensor: TensorName) -> Option<TensorName> {
    // In MobileNetV3 the backbone is a sequence of the features and the pooling.
    let features = match variant {
        Variant::Large | Variant::Small => "backbone.0",
        Variant::V2 => "backbone",
    };
    let foreign = match tensor.native.strip_prefix("features.") {
        Some(rest) => format!("{features}.{rest}"),
        None => format!("head.1.{}", tensor.native.strip_prefix("classifier.1.")?),
    };
    Some(TensorName {
        foreign: Some(foreign),
        ..tensor
    })
}
