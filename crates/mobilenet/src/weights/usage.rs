//! How projects use the weights that they publish.

use engine::Padding;
use framing::{Framing, ImageSize};

use crate::weights::metadata::Normalisation;
use crate::weights::schemes::Scheme;
use crate::{Design, Variant};

/// The constants of a network's published weights, and the preparation of images. Names and shapes of tensors do not
/// determine them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) design: Design,
    pub(crate) padding: Padding,
    /// Constant that batch normalisation adds to the variance.
    pub(crate) epsilon: f64,
    pub(crate) image_size: ImageSize,
    pub(crate) framing: Framing,
    pub(crate) normalisation: Normalisation,
}

impl Usage {
    /// The usage of a project's weights, as far as is known.
    pub(crate) fn of(scheme: Scheme, variant: Variant) -> Usage {
        let (family, entry) = variant.of();
        let own = Usage {
            design: Design::Torchvision,
            padding: entry.padding,
            epsilon: entry.epsilon,
            image_size: ImageSize::square(entry.image_size),
            framing: entry.framing,
            normalisation: entry.normalisation,
        };
        let design = Design::of(scheme);
        let torch = 1e-5;
        match scheme {
            _ if scheme == family.native => own,
            // timm has these from TensorFlow.
            Scheme::Timm if entry.padding == Padding::Same => Usage { design, ..own },
            Scheme::Timm => Usage {
                design,
                epsilon: torch,
                framing: match family.native {
                    Scheme::Torchvision => Framing::TIMM,
                    _ => entry.framing,
                },
                ..own
            },
            Scheme::KuanWang | Scheme::DLi14 | Scheme::Pycls => Usage {
                design,
                epsilon: torch,
                framing: Framing::TORCHVISION,
                ..own
            },
            // It resizes images without keeping the proportions.
            Scheme::EasyClassification => Usage {
                framing: Framing::default(),
                ..own
            },
            // Its networks are TensorFlow's.
            Scheme::EfficientNetPytorch => Usage {
                padding: Padding::Same,
                epsilon: 1e-3,
                ..own
            },
            Scheme::Microsoft | Scheme::Facebook => Usage {
                framing: Framing::TIMM,
                ..own
            },
            _ => own,
        }
    }

    /// The usage of this network's weights from TensorFlow.
    pub(crate) fn tensorflow(self, variant: Variant) -> Usage {
        let is_half = matches!(variant, Variant::LARGE | Variant::SMALL | Variant::V2)
            || variant.name() == "efficientnet_v2_s";
        Usage {
            normalisation: match is_half {
                true => Normalisation::HALF,
                false => self.normalisation,
            },
            ..self
        }
    }
}

impl Scheme {
    /// How the project fits images of any size to this network in evaluation, as far as is known.
    pub fn framing(self, variant: Variant) -> Framing {
        Usage::of(self, variant).framing
    }
}
