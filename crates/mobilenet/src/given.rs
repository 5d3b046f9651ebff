//! What the user of a weights file knows of it.

use std::path::Path;

use crate::weights::{Normalisation, WeightsMetadata};
use crate::{Error, Padding, Result};

/// What a file does not say and its user knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// How convolutions are padded; symmetric unless given.
    pub padding: Option<Padding>,
    /// Added to variances; the scheme's unless given.
    pub batch_norm_epsilon: Option<f64>,
    /// Pixels a side that images are resized to; 224 unless given.
    pub image_size: Option<usize>,
    /// In the order of the logits; the indices unless given.
    pub class_names: Option<Vec<String>>,
    /// Of pixels; ImageNet's unless given.
    pub normalisation: Option<Normalisation>,
}

impl Given {
    /// What a file says of itself, with what was given in its place.
    pub(crate) fn over(
        self,
        mut metadata: WeightsMetadata,
        path: &Path,
    ) -> Result<WeightsMetadata> {
        metadata.image_size = self.image_size.unwrap_or(metadata.image_size);
        metadata.normalisation = self.normalisation.unwrap_or(metadata.normalisation);
        if let Some(names) = self.class_names {
            let classes = metadata.model.classes();
            if names.len() != classes {
                let reason = format!(
                    "{} class names are given for its {classes} classes",
                    names.len()
                );
                return Err(Error::format(path, reason));
            }
            metadata.class_names = names;
        }
        let checked = metadata.check();
        checked.map_err(|e| Error::format(path, format!("cannot be used as given: {e}")))?;
        Ok(metadata)
    }

    /// What TensorFlow's networks have, and timm's `tf_` models, which are ports of them.
    ///
    /// Their files have the very names and shapes of the others.
    pub fn tensorflow() -> Given {
        Given {
            padding: Some(Padding::Same),
            batch_norm_epsilon: Some(1e-3),
            normalisation: Some(Normalisation {
                mean: [0.5; 3],
                std: [0.5; 3],
            }),
            ..Given::default()
        }
    }
}
