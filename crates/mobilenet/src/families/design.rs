//! The implementations of networks that projects build differently.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Scheme;

/// The implementation of a network. Those of MobileNetV3 differ in the rounding of channels at widths other than 1, in the
/// position of squeeze-excite, and in constants. Those of RegNet differ in the rounding of widths, those of SE-ResNeXt in
/// pooling. Other families are the same in all. Weights work only in the design they were trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// torchvision's `mobilenetv3.py`, or the network of the family's own project.
    #[default]
    Torchvision,
    /// timm's `mobilenetv3.py` (`mobilenetv3_large_100` and similar). The number of expanded channels is a multiple of
    /// the block's input channels. The hidden layer does not change with the width. Below width 0.75, the first
    /// convolution does not change either. SE-ResNeXt pools with padding. RegNet's widths are rounded as in pycls.
    Timm,
    /// github.com/kuan-wang/pytorch-mobilenet-v3. Every block has an expansion. Squeeze-excite has exactly a quarter of
    /// the channels and comes before the activation. Numbers of channels are rounded up. Squeeze-excite has no biases
    /// in the original; here the biases are zero.
    KuanWang,
    /// github.com/d-li14/mobilenetv3.pytorch. In blocks with an expansion, squeeze-excite comes before the activation.
    /// Expanded channels are as in timm.
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

    /// The design of the networks of the project with these names.
    pub fn of(scheme: Scheme) -> Design {
        match scheme {
            Scheme::Timm | Scheme::Pycls => Design::Timm,
            Scheme::KuanWang => Design::KuanWang,
            Scheme::DLi14 => Design::DLi14,
            _ => Design::Torchvision,
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
