//! Whose MobileNetV3.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Variant;

/// Whose implementation a MobileNetV3 follows where they differ: in how channels are rounded at
/// other widths than 1, where squeeze-excite comes, and in constants. Weights trained with one of
/// them mean something in that design only. MobileNetV2 is the same in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// torchvision's `mobilenetv3.py`.
    #[default]
    Torchvision,
    /// timm's `mobilenetv3.py` (`mobilenetv3_large_100` and its like): expanded channels are so many
    /// times those the block is given; neither the hidden layer nor, below width 0.75, the first
    /// convolution changes with the width.
    Timm,
    /// github.com/kuan-wang/pytorch-mobilenet-v3: every block has an expansion, and squeeze-excite,
    /// of exactly a quarter of the channels, comes before the activation; channels are rounded up.
    /// Its squeeze-excite has no biases: ours are zero then.
    KuanWang,
    /// github.com/d-li14/mobilenetv3.pytorch: squeeze-excite comes before the activation in
    /// blocks with an expansion; expanded channels as timm's.
    #[serde(rename = "d-li14")]
    DLi14,
}

impl Design {
    /// Every design.
    pub const ALL: [Design; 4] = [
        Design::Torchvision,
        Design::Timm,
        Design::KuanWang,
        Design::DLi14,
    ];

    /// What it adds to the variance in batch normalisation.
    pub fn batch_norm_epsilon(self, variant: Variant) -> f64 {
        match (self, variant) {
            (Design::Torchvision, Variant::Large | Variant::Small) => 1e-3,
            // torch's default.
            _ => 1e-5,
        }
    }
}

impl fmt::Display for Design {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Design::Torchvision => "torchvision",
            Design::Timm => "timm",
            Design::KuanWang => "kuan-wang",
            Design::DLi14 => "d-li14",
        })
    }
}
