//! The implementations of MobileNetV3.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Variant;

/// A MobileNetV3 implementation. They differ in the rounding of channels at widths other than 1, the
/// position of squeeze-excite, and constants. Weights work only in the design they were trained
/// with. MobileNetV2 is the same in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// torchvision's `mobilenetv3.py`.
    #[default]
    Torchvision,
    /// timm's `mobilenetv3.py` (`mobilenetv3_large_100` and similar). Expanded channels are a
    /// multiple of the block's input channels. The hidden layer does not change with the width;
    /// below width 0.75, neither does the first convolution.
    Timm,
    /// github.com/kuan-wang/pytorch-mobilenet-v3. Every block has an expansion. Squeeze-excite, of
    /// exactly a quarter of the channels, comes before the activation; channels are rounded up. Its
    /// squeeze-excite has no biases; ours are then zero.
    KuanWang,
    /// github.com/d-li14/mobilenetv3.pytorch. Squeeze-excite comes before the activation in blocks
    /// with an expansion; expanded channels are as in timm.
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

    /// The epsilon added to the variance in batch normalisation.
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
