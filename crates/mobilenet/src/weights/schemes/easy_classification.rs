//! The naming scheme of Easy-Classification, which wraps torchvision's networks. `backbone` is
//! everything before torchvision's classifier, and `head` is a new dropout and linear layer. The
//! files also contain a second copy of the wrapped network as `model`, with torchvision's
//! classifier, which is not used.

use engine::Plan;

use super::TensorName;
use super::rename::renamed;

/// Prefix of the second copy, which is ignored.
pub(super) const UNUSED: &str = "model.";

/// Every tensor of a network; `None` if the network has a head that this project has not. `features` is this project's
/// name of torchvision's module `features`.
pub(crate) fn names(plan: &Plan, features: &str) -> Option<Vec<TensorName>> {
    renamed(plan, |native| match native.strip_prefix("features.") {
        Some(rest) => Some(format!("{features}.{rest}")),
        None => native
            .strip_prefix("classifier.1.")
            .map(|leaf| format!("head.1.{leaf}")),
    })
}
