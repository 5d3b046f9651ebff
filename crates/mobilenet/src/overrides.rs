//! Overrides for the metadata of a weights file.

use std::path::Path;

use framing::{Fit, Framing, ImageSize, Interpolation, Orientation};

use crate::weights::{Normalisation, WeightsMetadata};
use crate::{ClassOrder, Error, Padding, Result};

/// Overrides for metadata that a weights file lacks or has wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Padding of convolutions; the default is symmetric.
    pub padding: Option<Padding>,
    /// Epsilon added to variances; the default is the scheme's.
    pub batch_norm_epsilon: Option<f64>,
    /// The size of the images; 224 unless given.
    pub image_size: Option<ImageSize>,
    /// What becomes of an image's proportions; torchvision's crop unless given.
    pub fit: Option<Fit>,
    /// The share that a crop keeps; 0.875 unless given.
    pub crop_pct: Option<f64>,
    /// How pixels are computed in a resize; bicubic for timm's files and bilinear for others, unless given.
    pub interpolation: Option<Interpolation>,
    /// Whether images are turned by their EXIF data; ignored unless given.
    pub orientation: Option<Orientation>,
    /// In the order of the logits; the file's unless given, and numbers where it has none.
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
        metadata.framing = self.framing(metadata.framing);
        metadata.orientation = self.orientation.unwrap_or(metadata.orientation);
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

    fn framing(&self, own: Framing) -> Framing {
        let framing = Framing {
            fit: self.fit.unwrap_or(own.fit),
            crop_pct: self.crop_pct.unwrap_or(own.crop_pct),
            interpolation: self.interpolation.unwrap_or(own.interpolation),
        };
        // What a file says beside the point is left as it is, to be checked.
        match framing == own {
            true => own,
            false => framing.normal(),
        }
    }

    /// What TensorFlow's networks have, and timm's `tf_` models, which are ports of them.
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
