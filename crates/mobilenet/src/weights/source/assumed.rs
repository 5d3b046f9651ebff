//! Properties of a file's network that neither names nor shapes tell.

use engine::Plan;

use super::Source;
use crate::weights::metadata::{Normalisation, WeightsMetadata};
use crate::{ModelConfig, Padding, Scheme};

impl Source {
    /// Properties of the network that had to be assumed, because names and shapes do not determine them. `plan` is that
    /// of `model`.
    pub(super) fn assumed(&self, model: &ModelConfig, plan: &Plan) -> Vec<String> {
        let mut assumed = Vec::new();
        if self.metadata.is_some() {
            return assumed;
        }
        if self.overrides.batch_norm_epsilon.is_none() && !plan.statistics.is_empty() {
            let epsilon = model.batch_norm_epsilon;
            assumed.push(format!(
                "batch-norm epsilon {epsilon}, as {}'s",
                self.scheme()
            ));
        }
        if self.overrides.padding.is_none() && has_padding(model, plan) {
            assumed.push(match (model.padding, self.scheme()) {
                (Padding::Symmetric, Scheme::Timm) => {
                    "symmetric padding (timm's tf_ models have \"same\" and epsilon \
                                                       0.001, under the same names)"
                        .to_owned()
                }
                (Padding::Symmetric, _) => "symmetric padding".to_owned(),
                (Padding::Same, _) => "padding \"same\", as in TensorFlow".to_owned(),
            });
        }
        assumed
    }

    /// Class order, image size and normalisation that had to be assumed, for a file that contains only tensors.
    pub(super) fn assumed_use(&self, metadata: &WeightsMetadata) -> Vec<String> {
        let overrides = &self.overrides;
        let mut assumed = Vec::new();
        if overrides.image_size.is_none() {
            assumed.push(format!("images of {} pixels", metadata.image_size));
        }
        if overrides.fit.is_none() {
            assumed.push(format!("images fitted by {}", metadata.framing));
        }
        if overrides.normalisation.is_none() {
            assumed.push(match metadata.normalisation {
                Normalisation::IMAGENET => "ImageNet's mean and standard deviation".to_owned(),
                Normalisation { mean, std } => {
                    format!("mean {mean:?} and standard deviation {std:?}")
                }
            });
        }
        assumed
    }
}

/// Whether the network's layers depend on the padding.
fn has_padding(model: &ModelConfig, plan: &Plan) -> bool {
    let padding = match model.padding {
        Padding::Symmetric => Padding::Same,
        Padding::Same => Padding::Symmetric,
    };
    let other = ModelConfig {
        padding,
        ..model.clone()
    };
    (other.plan()).is_ok_and(|other| other.layers != plan.layers)
}
