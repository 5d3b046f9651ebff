//! Overrides for the metadata of a weights file.

use std::path::Path;

use framing::{Fit, Framing, ImageSize, Interpolation, Orientation};

use crate::weights::metadata::{Normalisation, WeightsMetadata};
use crate::{ClassOrder, Error, Padding, Result};

/// Overrides for metadata that a weights file lacks, or that are wrong in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Padding of convolutions. The default is that of the project's published weights, as far as is known.
    pub padding: Option<Padding>,
    /// Epsilon that batch normalisation adds to the variance. The default is the project's.
    pub batch_norm_epsilon: Option<f64>,
    /// Image size. The default is the network's.
    pub image_size: Option<ImageSize>,
    /// How images are fitted to the image size. The default is the project's evaluation.
    pub fit: Option<Fit>,
    /// Fraction of the shorter side that a crop keeps. The default is the project's.
    pub crop_pct: Option<f64>,
    /// Filter of the resize. The default is the project's.
    pub interpolation: Option<Interpolation>,
    /// Treatment of the EXIF orientation. The default is to ignore it.
    pub orientation: Option<Orientation>,
    /// Class names in the order of the logits. The default is the file's names, or numbers if the file has none.
    pub class_names: Option<Vec<String>>,
    /// Normalisation of pixels. The default is the network's.
    pub normalisation: Option<Normalisation>,
}

impl Overrides {
    /// Applies these overrides to the file's metadata.
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
        // If nothing was overridden, the file's values stay, even a `crop_pct` that has no effect. They are checked
        // later.
        match framing == own {
            true => own,
            false => framing.normal(),
        }
    }

    /// Overrides for networks from TensorFlow, such as timm's `tf_` models. The default normalisation is then that of
    /// TensorFlow's network of this name.
    ///
    /// They must be requested, because these files have the same names and shapes as others.
    pub fn tensorflow() -> Overrides {
        Overrides {
            padding: Some(Padding::Same),
            batch_norm_epsilon: Some(1e-3),
            ..Overrides::default()
        }
    }
}

/// Checks that there are as many names as the file has classes.
pub(crate) fn check_names(names: &[String], classes: usize, path: &Path) -> Result<()> {
    if names.len() == classes {
        return Ok(());
    }
    let names = names.len();
    let reason = format!("{names} class names are given for its {classes} classes");
    Err(Error::format(path, reason))
}
