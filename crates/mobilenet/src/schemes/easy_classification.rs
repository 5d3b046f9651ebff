//! The naming scheme of Easy-Classification, which wraps torchvision's networks. `backbone` is
//! everything before torchvision's classifier, and `head` is a new dropout and linear layer. The
//! files also contain a second copy of the wrapped network as `model`, with torchvision's
//! classifier, which is not used.

use super::TensorName;
use crate::Variant;

/// Prefix of the second copy, which is ignored.
pub(super) const UNUSED: &str = "model.";

/// The tensor under this project's name; `None` if the project has no such tensor.
pub(super) fn rename(variant: Variant, tensor: TensorName) -> Option<TensorName> {
    // In MobileNetV3 the backbone is a sequence: first the features, then the pooling.
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
