//! Whose names a weights file uses.
//!
//! A scheme is a table from the layers of a network to the names of their modules; both
//! directions, reading and writing, come from it. Within a module tensors have the same names in
//! all of them (`weight`, `bias`, `running_mean`, ...), since all are PyTorch's modules.

mod d_li14;
mod easy_classification;
mod kuan_wang;
mod recognise;
mod table;
mod timm;

use std::fmt;

use engine::Plan;
use framing::Framing;

use crate::parameters::counters;
use crate::{Design, Variant};

pub(crate) use recognise::{Origin, recognise};

/// A project that names the tensors of a network in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `features.1.block.0.0.weight`; also what this crate writes.
    #[default]
    Torchvision,
    /// `blocks.0.0.conv_dw.weight`.
    Timm,
    /// `features.1.conv.0.weight`, with the hidden layer in `features`:
    /// github.com/kuan-wang/pytorch-mobilenet-v3.
    KuanWang,
    /// `features.1.conv.0.weight`, with `conv.0.weight` behind the features:
    /// github.com/d-li14/mobilenetv3.pytorch.
    DLi14,
    /// `match_model.backbone.0.1.block.0.0.weight`: Easy-Classification's, which is torchvision's
    /// network with a linear head.
    EasyClassification,
}

impl Scheme {
    /// How the project evaluates its networks on images of any size, as far as is known.
    pub fn framing(self) -> Framing {
        match self {
            Scheme::Torchvision | Scheme::KuanWang | Scheme::DLi14 => Framing::TORCHVISION,
            Scheme::Timm => Framing::TIMM,
            // It resizes without regard to proportions.
            Scheme::EasyClassification => Framing::default(),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Torchvision => "torchvision",
            Scheme::Timm => "timm",
            Scheme::KuanWang => "kuan-wang",
            Scheme::DLi14 => "d-li14",
            Scheme::EasyClassification => "easy-classification",
        })
    }
}

/// A tensor of a network, and what a scheme calls it.
#[derive(Clone, Debug)]
pub(crate) struct TensorName {
    /// torchvision's name, which is the plan's.
    pub(crate) native: String,
    /// Without what stands in front of all names of a file. None where the scheme has no such
    /// tensor, which is then zero.
    pub(crate) foreign: Option<String>,
    /// In the scheme, in torch's order; none of a batch counter.
    pub(crate) shape: Option<Vec<usize>>,
}

impl TensorName {
    /// Every tensor of a network under its own name: parameters, statistics, counters.
    fn all(plan: &Plan) -> impl Iterator<Item = TensorName> {
        let tables = [&plan.parameters, &plan.statistics];
        let segments = tables.into_iter().flat_map(|table| table.segments());
        segments
            .map(|segment| (segment.name.clone(), Some(segment.shape.clone())))
            .chain(counters(plan).map(|name| (name, None)))
            .map(|(native, shape)| TensorName {
                foreign: Some(native.clone()),
                native,
                shape,
            })
    }

    /// Whether it counts batches, as `num_batches_tracked` does.
    pub(crate) fn is_counter(&self) -> bool {
        self.shape.is_none()
    }
}

impl Scheme {
    /// Every scheme. Where two fit a file equally, the first is meant.
    pub(crate) const ALL: [Scheme; 5] = [
        Scheme::EasyClassification,
        Scheme::Torchvision,
        Scheme::Timm,
        Scheme::KuanWang,
        Scheme::DLi14,
    ];

    /// Whose network has these names.
    pub(crate) fn design(self) -> Design {
        match self {
            Scheme::Torchvision | Scheme::EasyClassification => Design::Torchvision,
            Scheme::Timm => Design::Timm,
            Scheme::KuanWang => Design::KuanWang,
            Scheme::DLi14 => Design::DLi14,
        }
    }

    /// Every tensor of a network: parameters, statistics, counters. None if the scheme has no
    /// names for it.
    pub(crate) fn names(self, variant: Variant, plan: &Plan) -> Option<Vec<TensorName>> {
        let table = match self {
            Scheme::Torchvision => return Some(TensorName::all(plan).collect()),
            Scheme::EasyClassification => {
                return TensorName::all(plan)
                    .map(|name| easy_classification::rename(variant, name))
                    .collect();
            }
            Scheme::Timm => timm::table(variant),
            // These projects have MobileNetV3 only.
            Scheme::KuanWang | Scheme::DLi14 if variant == Variant::V2 => return None,
            Scheme::KuanWang => kuan_wang::MOBILENET_V3,
            Scheme::DLi14 => d_li14::MOBILENET_V3,
        };
        let modules = table.modules(plan)?;
        TensorName::all(plan)
            .map(|name| table.rename(&modules, name))
            .collect()
    }
}
