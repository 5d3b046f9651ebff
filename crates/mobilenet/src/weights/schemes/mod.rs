//! Naming schemes of weights files.
//!
//! A scheme is a table from the layers of a network to module names, for both reading and writing.
//! The tensor names within a module (`weight`, `bias`, `running_mean`, ...) are the same in all
//! schemes, because all projects use PyTorch modules.

pub(crate) mod constants;
pub(crate) mod d_li14;
pub(crate) mod easy_classification;
pub(crate) mod kuan_wang;
pub(crate) mod rename;
mod table;
pub(crate) mod timm;

use std::fmt;

use engine::Plan;

use crate::run::parameters::counters;
use constants::Constant;

/// A project with its own names for the tensors of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `features.1.block.0.0.weight`: the names of most networks in this crate's own files.
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
    /// torchvision's first names of DenseNets, `denselayer1.norm.1.weight`; its published files have them.
    OldTorchvision,
    /// `last_linear.weight`, `layer1.0.se_module.fc1.weight`: github.com/Cadene/pretrained-models.pytorch.
    PretrainedModels,
    /// `_blocks.0._depthwise_conv.weight`: github.com/lukemelas/EfficientNet-PyTorch.
    EfficientNetPytorch,
    /// `s1.b1.f.a.weight`: github.com/facebookresearch/pycls.
    Pycls,
    /// `layers.0.blocks.0.attn.qkv.weight`: github.com/microsoft/Swin-Transformer.
    Microsoft,
    /// `downsample_layers.0.0.weight`: github.com/facebookresearch/ConvNeXt.
    Facebook,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Torchvision => "torchvision",
            Scheme::Timm => "timm",
            Scheme::KuanWang => "kuan-wang",
            Scheme::DLi14 => "d-li14",
            Scheme::EasyClassification => "easy-classification",
            Scheme::OldTorchvision => "old torchvision",
            Scheme::PretrainedModels => "pretrainedmodels",
            Scheme::EfficientNetPytorch => "efficientnet-pytorch",
            Scheme::Pycls => "pycls",
            Scheme::Microsoft => "microsoft",
            Scheme::Facebook => "facebookresearch",
        })
    }
}

impl Scheme {
    /// Every scheme. If two fit a file equally well, the first is used.
    pub const ALL: [Scheme; 11] = [
        Scheme::EasyClassification,
        Scheme::Torchvision,
        Scheme::Timm,
        Scheme::KuanWang,
        Scheme::DLi14,
        Scheme::OldTorchvision,
        Scheme::PretrainedModels,
        Scheme::EfficientNetPytorch,
        Scheme::Pycls,
        Scheme::Microsoft,
        Scheme::Facebook,
    ];

    /// Whether the project's networks take blue, green and red, so that the first convolution's inputs are in that order.
    pub(crate) fn is_bgr(self) -> bool {
        self == Scheme::Pycls
    }

    /// Converts a tensor's name behind the prefix of a file. `None` if the tensor is not part of the network.
    pub(crate) fn inside(self, name: &str) -> Option<&str> {
        let unused =
            self == Scheme::EasyClassification && name.starts_with(easy_classification::UNUSED);
        (!unused && !constants::is_constant(name)).then_some(name)
    }
}

/// A tensor of a network, and its name in a scheme.
#[derive(Clone, Debug)]
pub(crate) struct TensorName {
    /// The name in the plan, which is that of the network's own project.
    pub(crate) native: String,
    /// The scheme's name, without the prefix in the file. `None` if the scheme has no such tensor;
    /// the tensor is then zero.
    pub(crate) foreign: Option<String>,
    /// Shape in the scheme, in torch's order. `None` for a batch counter.
    pub(crate) shape: Option<Vec<usize>>,
    /// What the tensor contains.
    pub(crate) content: Content,
}

/// What a tensor contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A parameter or a running statistic.
    Values,
    /// The number of batches, `num_batches_tracked`. Files of older versions of torch have none.
    Counter,
    /// Numbers that follow from the network. Files may lack them.
    Constant(Constant),
}

impl TensorName {
    /// Every tensor of a network (parameters, statistics, counters, constants), under its name in the plan.
    pub(crate) fn all(plan: &Plan) -> impl Iterator<Item = TensorName> {
        let tables = [&plan.parameters, &plan.statistics];
        let segments = tables.into_iter().flat_map(|table| table.segments());
        let values = segments.map(|segment| {
            let shape = Some(segment.shape.clone());
            (segment.name.clone(), shape, Content::Values)
        });
        let counters = counters(plan).map(|name| (name, None, Content::Counter));
        let constants = constants::of(plan).map(|(name, shape, constant)| {
            let content = Content::Constant(constant);
            (name, Some(shape), content)
        });
        (values.chain(counters).chain(constants)).map(|(native, shape, content)| TensorName {
            foreign: Some(native.clone()),
            native,
            shape,
            content,
        })
    }

    /// Whether every file has the tensor.
    pub(crate) fn is_required(&self) -> bool {
        self.content == Content::Values && self.foreign.is_some()
    }
}
