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
    /// Image size; the default is 224.
    pub image_size: Option<ImageSize>,
    /// The fit to the image size; the default is torchvision's crop.
    pub fit: Option<Fit>,
    /// The share of the shorter side that a crop keeps; the default is 0.875.
    pub crop_pct: Option<f64>,
    /// The filter of the resize; the default is bicubic for timm's files and bilinear for others.
    pub interpolation: Option<Interpolation>,
    /// The treatment of the EXIF orientation; the default is to ignore it.
    pub orientation: Option<Orientation>,
    /// Class names in the order of the logits; the default is the file's names, or numbers if it has none.
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
        // Without a change the file's values stay, even a `crop_pct` that its fit ignores: they are checked later.
        match framing == own {
            true => own,
            false => framing.normal(),
        }
    }

    /// The overrides for networks from TensorFlow, such as timm's ports, the `tf_` models.
    ///
    /// Nothing in their files tells them apart: names and shapes are the same.
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
