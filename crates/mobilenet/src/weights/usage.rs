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
                ..own.images_of_tensorflow(variant)
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
            ..self.images_of_tensorflow(variant)
        }
    }

    /// The image size and the framing of TensorFlow's network of this name. AdvProp's network of the same layers has them
    /// in its table, if there is one.
    fn images_of_tensorflow(self, variant: Variant) -> Usage {
        let is_adversarial =
            |other: &Variant| other.name().strip_prefix("adv-") == Some(variant.name());
        match Variant::all().find(is_adversarial) {
            Some(adversarial) => Usage {
                image_size: ImageSize::square(adversarial.image_size()),
                framing: adversarial.entry().framing,
                ..self
            },
            None => self,
        }
    }
}

impl Scheme {
    /// How the project fits images of any size to this network in evaluation, as far as is known.
    pub fn framing(self, variant: Variant) -> Framing {
        Usage::of(self, variant).framing
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn efficientnets_from_tensorflow_have_its_images() {
        let variant = |name: &str| name.parse::<Variant>().unwrap();
        let images = |usage: Usage| (usage.image_size, usage.framing.to_string());
        for (name, size, framing) in [
            ("efficientnet_b0", 224, "crop 0.875, bicubic"),
            ("efficientnet_b2", 260, "crop 0.89, bicubic"),
            ("efficientnet_b8", 672, "crop 0.954, bicubic"),
            ("adv-efficientnet_b7", 600, "crop 0.949, bicubic"),
        ] {
            let expected = (ImageSize::square(size), framing.to_owned());
            let own = Usage::of(Scheme::EfficientNetPytorch, variant(name));
            assert_eq!(images(own), expected, "{name}");
            let timm = Usage::of(Scheme::Timm, variant(name));
            assert_eq!(images(timm.tensorflow(variant(name))), expected, "{name}");
        }
        // The pixels are those of each network's own project.
        let pixels = |name| {
            let usage = Usage::of(Scheme::Timm, variant(name));
            usage.tensorflow(variant(name)).normalisation
        };
        assert_eq!(pixels("efficientnet_b2"), Normalisation::IMAGENET);
        assert_eq!(pixels("adv-efficientnet_b2"), Normalisation::HALF);
        // Other networks have no images of their own in TensorFlow.
        let v3 = Usage::of(Scheme::Timm, Variant::LARGE);
        assert_eq!(images(v3.tensorflow(Variant::LARGE)), images(v3));
        let torch = Usage::of(Scheme::Torchvision, variant("efficientnet_b2"));
        assert_eq!(torch.image_size, ImageSize::square(288));
    }
}
