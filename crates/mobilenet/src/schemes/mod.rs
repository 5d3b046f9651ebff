//! Naming schemes of weights files.
//!
//! A scheme is a table from the layers of a network to module names, for both reading and writing.
//! The tensor names within a module (`weight`, `bias`, `running_mean`, ...) are the same in all
//! schemes, because all projects use PyTorch modules.

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

/// A project with its own names for the tensors of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `features.1.block.0.0.weight`; also used by this crate's own files.
    #[default]
    Torchvision,
    /// `blocks.0.0.conv_dw.weight`.
    Timm,
    /// `features.1.conv.0.weight`, with the hidden layer in `features`:
    /// github.com/kuan-wang/pytorch-mobilenet-v3.
    KuanWang,
    /// `features.1.conv.0.weight`, with `conv.0.weight` after the features:
    /// github.com/d-li14/mobilenetv3.pytorch.
    DLi14,
    /// `match_model.backbone.0.1.block.0.0.weight`: used by Easy-Classification, for torchvision's
    /// network with a linear head.
    EasyClassification,
}

impl Scheme {
    /// How the project fits images of any size to the network in evaluation, as far as is known.
    pub fn framing(self) -> Framing {
        match self {
            Scheme::Torchvision | Scheme::KuanWang | Scheme::DLi14 => Framing::TORCHVISION,
            Scheme::Timm => Framing::TIMM,
            // It resizes images without keeping the proportions.
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

/// A tensor of a network, and its name in a scheme.
#[derive(Clone, Debug)]
pub(crate) struct TensorName {
    /// torchvision's name, as in the plan.
    pub(crate) native: String,
    /// The scheme's name, without the prefix in the file. `None` if the scheme has no such tensor;
    /// the tensor is then zero.
    pub(crate) foreign: Option<String>,
    /// Shape in the scheme, in torch's order. `None` for a batch counter.
    pub(crate) shape: Option<Vec<usize>>,
}

impl TensorName {
    /// Every tensor of a network (parameters, statistics and counters), under torchvision's name.
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

    /// Whether the tensor is a batch counter, `num_batches_tracked`.
    pub(crate) fn is_counter(&self) -> bool {
        self.shape.is_none()
    }
}

impl Scheme {
    /// Every scheme. If two fit a file equally well, the first is used.
    pub(crate) const ALL: [Scheme; 5] = [
        Scheme::EasyClassification,
        Scheme::Torchvision,
        Scheme::Timm,
        Scheme::KuanWang,
        Scheme::DLi14,
    ];

    /// The design of the networks that use these names.
    pub(crate) fn design(self) -> Design {
        match self {
            Scheme::Torchvision | Scheme::EasyClassification => Design::Torchvision,
            Scheme::Timm => Design::Timm,
            Scheme::KuanWang => Design::KuanWang,
            Scheme::DLi14 => Design::DLi14,
        }
    }

    /// Every tensor of a network (parameters, statistics and counters). `None` if the scheme has no
    /// names for the network.
    pub(crate) fn names(self, variant: Variant, plan: &Plan) -> Option<Vec<TensorName>> {
        let table = match self {
            Scheme::Torchvision => return Some(TensorName::all(plan).collect()),
            Scheme::EasyClassification => {
                return TensorName::all(plan)
                    .map(|name| easy_classification::rename(variant, name))
                    .collect();
            }
            Scheme::Timm => timm::table(variant),
            // These projects have only MobileNetV3.
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
