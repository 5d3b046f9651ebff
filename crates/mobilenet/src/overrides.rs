//! Overrides for the metadata of a weights file.

use std::path::Path;

use crate::weights::{Normalisation, WeightsMetadata};
use crate::{ClassOrder, Error, Padding, Result};

/// Overrides for metadata that a weights file lacks or has wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Padding of convolutions; the default is symmetric.
    pub padding: Option<Padding>,
    /// Epsilon added to variances; the default is the scheme's.
    pub batch_norm_epsilon: Option<f64>,
    /// Side of the resized images in pixels; the default is 224.
    pub image_size: Option<usize>,
    /// Class names in the order of the logits. The default is the file's names, or else numbers.
    pub class_names: Option<Vec<String>>,
    /// Normalisation of pixels; the default is ImageNet's.
    pub normalisation: Option<Normalisation>,
}

impl Overrides {
    /// The file's metadata with these overrides applied.
    pub(crate) fn over(
        self,
        mut metadata: WeightsMetadata,
        path: &Path,
    ) -> Result<WeightsMetadata> {
        metadata.image_size = self.image_size.unwrap_or(metadata.image_size);
        metadata.normalisation = self.normalisation.unwrap_or(metadata.normalisation);
        if let Some(names) = self.class_names {
            check_names(&names, metadata.model.classes(), path)?;
            let sorted = |names: &[String]| {
                let mut names = names.to_vec();
                names.sort();
                names
            };
            let own = &metadata.class_names;
            if metadata.class_order.is_named() && *own != names && sorted(own) == sorted(&names) {
                let reason = "the class names given are the file's own in another order: leave them out, since the \
                              file says which output is which class";
                return Err(Error::format(path, reason));
            }
            metadata.class_names = names;
            metadata.class_order = ClassOrder::Named;
        }
        let checked = metadata.check();
        checked.map_err(|e| Error::format(path, format!("cannot be used as given: {e}")))?;
        Ok(metadata)
    }

    /// The overrides for TensorFlow's networks, and for timm's `tf_` models, which are ports of
    /// them.
    ///
    /// Their files have the same names and shapes as the others.
    pub fn tensorflow() -> Overrides {
        Overrides {
            padding: Some(Padding::Same),
            batch_norm_epsilon: Some(1e-3),
            normalisation: Some(Normalisation {
                mean: [0.5; 3],
                std: [0.5; 3],
            }),
            ..Overrides::default()
        }
    }
}

/// Checks that the number of names equals the file's number of classes.
pub(crate) fn check_names(names: &[String], classes: usize, path: &Path) -> Result<()> {
    if names.len() == classes {
        return Ok(());
    }
    let names = names.len();
    let reason = format!("{names} class names are given for its {classes} classes");
    Err(Error::format(path, reason))
}
