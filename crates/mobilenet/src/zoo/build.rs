//! Builds a feature extractor from the name of its backbone.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::Backbone;
use super::efficientnet::{EfficientNet, Scaling};

/// Computes features of images.
pub(super) enum Extractor {
    EfficientNet(EfficientNet),
    #[cfg(feature = "zoo")]
    Candle(candle_nn::Func<'static>),
}

impl Extractor {
    /// Builds the backbone from `tensors`. The classifier's weight must be replaced by the
    /// identity.
    pub(super) fn new(backbone: Backbone, tensors: VarBuilder<'static>) -> Result<Self> {
        let scaling = |width, depth| Scaling { width, depth };
        let scaling = match backbone {
            Backbone::EfficientNetB0 => scaling(1.0, 1.0),
            Backbone::EfficientNetB1 => scaling(1.0, 1.1),
            Backbone::EfficientNetB2 => scaling(1.1, 1.2),
            Backbone::EfficientNetB3 => scaling(1.2, 1.4),
            Backbone::EfficientNetB4 => scaling(1.4, 1.8),
            #[cfg(feature = "zoo")]
            other => return super::candle::model(other, tensors).map(Extractor::Candle),
            #[cfg(not(feature = "zoo"))]
            other => candle_core::bail!("{other} is not built"),
        };
        EfficientNet::new(scaling, &tensors).map(Extractor::EfficientNet)
    }

    /// Features `[n, features]` of normalised images `[n, h, w, 3]`.
    pub(super) fn features(&self, images: &Tensor) -> Result<Tensor> {
        match self {
            Extractor::EfficientNet(model) => model.features(images),
            #[cfg(feature = "zoo")]
            Extractor::Candle(model) => {
                candle_nn::Module::forward(model, &images.permute((0, 3, 1, 2))?.contiguous()?)
            }
        }
    }

    /// The backbone with its maps, if it has them.
    pub(super) fn stages(&self) -> Option<&EfficientNet> {
        match self {
            Extractor::EfficientNet(model) => Some(model),
            #[cfg(feature = "zoo")]
            Extractor::Candle(_) => None,
        }
    }
}
