//! MobileNetV3 (Howard et al. 2019, tables 1 and 2), as in torchvision
//! (`torchvision/models/mobilenetv3.py`) and in other implementations.

use engine::{Activation, BlockSpec, SqueezeSpec};

use super::{Backbone, Entry, Family, Naming, make_divisible};
use crate::run::initialise::Initial;
use crate::weights::schemes::{Scheme, d_li14, easy_classification, kuan_wang, timm};
use crate::{Design, Variant};

pub(super) const FAMILY: Family = Family {
    name: "MobileNetV3",
    variants: &[
        Entry::new("mobilenet_v3_large", 224)
            .dropout(0.2)
            .epsilon(1e-3),
        Entry::new("mobilenet_v3_small", 224)
            .dropout(0.2)
            .epsilon(1e-3),
    ],
    build: |config| {
        let size = match config.name {
            Variant::LARGE => Size::Large,
            _ => Size::Small,
        };
        v3(size, config.width, config.design).plan(config, engine::Naming::MobileNetV3)
    },
    native: Scheme::Torchvision,
    schemes: &[
        Naming {
            scheme: Scheme::EasyClassification,
            // The backbone is a sequence: first the features, then the pooling.
            names: |_, plan| easy_classification::names(plan, "backbone.0"),
        },
        Naming {
            scheme: Scheme::Timm,
            names: |variant, plan| match variant {
                Variant::LARGE => timm::MOBILENET_V3_LARGE.names(plan),
                _ => timm::MOBILENET_V3_SMALL.names(plan),
            },
        },
        Naming {
            scheme: Scheme::KuanWang,
            names: |_, plan| kuan_wang::MOBILENET_V3.names(plan),
        },
        Naming {
            scheme: Scheme::DLi14,
            names: |_, plan| d_li14::MOBILENET_V3.names(plan),
        },
    ],
    initial: Initial::MOBILENET,
    has_width: true,
};

/// The two block tables of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Large,
    Small,
}

/// Kernel, expanded channels, expansion factor, output channels, squeeze-excite, activation,
/// stride.
///
/// At width 1, the expanded channels equal the expansion factor times the input channels, except
/// for the rounding of [`make_divisible`]. At other widths the two differ, and the design decides
/// which of them applies.
struct Row(usize, usize, f64, usize, bool, Activation, usize);

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::Hardswish;

const LARGE: [Row; 15] = [
    Row(3, 16, 1.0, 16, false, RE, 1),
    Row(3, 64, 4.0, 24, false, RE, 2),
    Row(3, 72, 3.0, 24, false, RE, 1),
    Row(5, 72, 3.0, 40, true, RE, 2),
    Row(5, 120, 3.0, 40, true, RE, 1),
    Row(5, 120, 3.0, 40, true, RE, 1),
    Row(3, 240, 6.0, 80, false, HS, 2),
    Row(3, 200, 2.5, 80, false, HS, 1),
    Row(3, 184, 2.3, 80, false, HS, 1),
    Row(3, 184, 2.3, 80, false, HS, 1),
    Row(3, 480, 6.0, 112, true, HS, 1),
    Row(3, 672, 6.0, 112, true, HS, 1),
    Row(5, 672, 6.0, 160, true, HS, 2),
    Row(5, 960, 6.0, 160, true, HS, 1),
    Row(5, 960, 6.0, 160, true, HS, 1),
];

const SMALL: [Row; 11] = [
    Row(3, 16, 1.0, 16, true, RE, 2),
    Row(3, 72, 4.5, 24, false, RE, 2),
    Row(3, 88, 3.67, 24, false, RE, 1),
    Row(5, 96, 4.0, 40, true, HS, 2),
    Row(5, 240, 6.0, 40, true, HS, 1),
    Row(5, 240, 6.0, 40, true, HS, 1),
    Row(5, 120, 3.0, 48, true, HS, 1),
    Row(5, 144, 3.0, 48, true, HS, 1),
    Row(5, 288, 6.0, 96, true, HS, 2),
    Row(5, 576, 6.0, 96, true, HS, 1),
    Row(5, 576, 6.0, 96, true, HS, 1),
];

/// The convolutions of MobileNetV3 with this size, width and design.
fn v3(size: Size, width: f64, design: Design) -> Backbone {
    let table: &[Row] = match size {
        Size::Large => &LARGE,
        Size::Small => &SMALL,
    };
    let channels = |channels: usize| design.round(channels as f64 * width);
    let fixed_stem = match design {
        Design::Torchvision | Design::DLi14 => false,
        Design::Timm => width < 0.75,
        Design::KuanWang => true,
    };
    let stem_channels = if fixed_stem { 16 } else { channels(16) };
    let mut in_channels = stem_channels;
    let mut blocks = Vec::with_capacity(table.len());
    for &Row(kernel, wide, ratio, out, squeeze, activation, stride) in table {
        let expanded = match design {
            Design::Torchvision | Design::KuanWang => channels(wide),
            Design::Timm | Design::DLi14 => make_divisible(in_channels as f64 * ratio),
        };
        let expansion = match design {
            Design::Torchvision | Design::DLi14 => expanded != in_channels,
            Design::Timm => ratio > 1.0,
            Design::KuanWang => true,
        };
        blocks.push(BlockSpec {
            in_channels,
            expansion,
            expanded,
            out_channels: channels(out),
            kernel,
            stride,
            squeeze: squeeze.then(|| design.squeeze(expanded, expansion)),
            activation,
        });
        in_channels = channels(out);
    }
    let (last, hidden) = match size {
        Size::Large => (960, 1280),
        Size::Small => (576, 1024),
    };
    Backbone {
        stem_channels,
        activation: HS,
        blocks,
        features: match design {
            Design::Torchvision | Design::DLi14 => 6 * in_channels,
            Design::Timm | Design::KuanWang => channels(last),
        },
        hidden: Some(match design {
            Design::Torchvision => channels(hidden),
            Design::Timm => hidden,
            Design::KuanWang => design.round(1280.0 * width.max(1.0)),
            Design::DLi14 => design.round(hidden as f64 * width.max(1.0)),
        }),
    }
}

impl Design {
    /// Rounds a number of channels.
    fn round(self, channels: f64) -> usize {
        match self {
            Design::Torchvision | Design::Timm | Design::DLi14 => make_divisible(channels),
            Design::KuanWang => (channels / 8.0).ceil() as usize * 8,
        }
    }

    /// The squeeze-excite for `expanded` channels, in a block with or without expansion.
    fn squeeze(self, expanded: usize, expansion: bool) -> SqueezeSpec {
        SqueezeSpec {
            hidden: match self {
                Design::Torchvision | Design::Timm | Design::DLi14 => {
                    make_divisible((expanded / 4) as f64)
                }
                Design::KuanWang => expanded / 4,
            },
            before_activation: match self {
                Design::Torchvision | Design::Timm => false,
                Design::KuanWang => true,
                Design::DLi14 => expansion,
            },
        }
    }
}
