//! Easy-Classification, which wraps torchvision's networks: `backbone` is everything before their
//! classifier, `head` a new dropout and linear layer. Its files also contain the whole wrapped
//! network again, as `model`, with its unused classifier.

use super::TensorName;
use crate::Variant;

/// Prefix of the wrapped network's names, which are ignored.
pub(super) const UNUSED: &str = "model.";

/// The tensor under the project's name; `None` if the project has none.
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
