//! The metadata of a weights file.

use std::ops::RangeInclusive;

use framing::{Framing, ImageSize, Orientation};
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::model::ModelDescription;
use crate::run::images::ByteTable;
use crate::weights::classes::ClassOrder;
use crate::weights::tensor_file::TensorFile;
use crate::{Error, Result};

/// Key of the only metadata entry in a file.
pub(super) const METADATA_KEY: &str = "classify";

/// Accepted lengths of an image's sides, in pixels.
pub const IMAGE_SIZES: RangeInclusive<u32> = 8..=2048;

/// Accepted range of the mean of pixel values in 0..1.
pub const MEANS: RangeInclusive<f32> = 0.0..=1.0;

/// Accepted standard deviations of pixel values scaled to 0..1.
pub const STDS: RangeInclusive<f32> = 1e-4..=1.0;

/// Mean and standard deviation of each colour, for pixel values in 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Mean of red, green, blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green, blue.
    pub std: [f32; 3],
}

impl Normalisation {
    /// Refuses a mean or standard deviation that is impossible for pixel values in 0..1, such as
    /// one for pixel values in 0..255.
    ///
    /// # Errors
    /// [`Error::Setting`] with the key `mean` or `std`.
    pub fn check(&self) -> Result<()> {
        let all = |values: [f32; 3], range: RangeInclusive<f32>| {
            values.iter().all(|value| range.contains(value))
        };
        let mean = all(self.mean, MEANS);
        require(mean, "mean", self.mean, "three numbers from 0 to 1")?;
        let std = all(self.std, STDS);
        require(std, "std", self.std, "three numbers from 0.0001 to 1")
    }

    /// The normalisation of torchvision's ImageNet weights.
    pub const IMAGENET: Normalisation = Normalisation {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// Pixels from -1 to 1.
    pub const HALF: Normalisation = Normalisation {
        mean: [0.5; 3],
        std: [0.5; 3],
    };

    /// The value of each byte of red, green and blue: `(byte / 255 - mean) / std`.
    pub fn table(&self) -> ByteTable {
        std::array::from_fn(|colour| {
            let (mean, std) = (self.mean[colour], self.std[colour]);
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
        })
    }
}

/// The metadata of a weights file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsMetadata {
    /// The model's configuration.
    pub model: ModelDescription,
    /// The name of each class, in the order of the logits.
    pub class_names: Vec<String>,
    /// Whether `class_names` are real names or only numbers.
    #[serde(default, skip_serializing_if = "ClassOrder::is_named")]
    pub class_order: ClassOrder,
    /// The image size that the network was trained for.
    pub image_size: ImageSize,
    /// How images are fitted to that size. The default, for files without this entry, is squash and
    /// bilinear.
    #[serde(default, skip_serializing_if = "Framing::is_default")]
    pub framing: Framing,
    /// Whether the EXIF orientation is applied. The default, for files without this entry, is to
    /// ignore it.
    #[serde(default, skip_serializing_if = "Orientation::is_ignored")]
    pub orientation: Orientation,
    /// Normalisation of the pixels. It is applied after the resize.
    pub normalisation: Normalisation,
    /// The epoch in which the weights were saved, counted from 1.
    pub epoch: Option<usize>,
    /// The monitored score after that epoch.
    pub score: Option<f64>,
    /// The temperature that calibrates the probabilities: `softmax(logits / temperature)`. Training fits it on the
    /// validation images (Guo et al., 2017). `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Data of the trainer, for continuing the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<serde_json::Value>,
}

impl WeightsMetadata {
    /// The metadata of a network that was not trained yet: real class names, the default framing and orientation, ImageNet's
    /// normalisation.
    #[must_use]
    pub fn new(model: ModelDescription, class_names: Vec<String>, image_size: ImageSize) -> Self {
        Self {
            model,
            class_names,
            class_order: ClassOrder::Named,
            image_size,
            framing: Framing::default(),
            orientation: Orientation::default(),
            normalisation: Normalisation::IMAGENET,
            epoch: None,
            score: None,
            temperature: None,
            training: None,
        }
    }

    /// Refuses an invalid image size, framing, normalisation or temperature.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        let size = self.image_size;
        require(
            size.sides().iter().all(|side| IMAGE_SIZES.contains(side)),
            "image_size",
            format_args!("{size}"),
            "8 to 2048 pixels",
        )?;
        let share = self.framing.crop_pct;
        require(
            Framing::is_share(share),
            "crop_pct",
            share,
            "a share above 0 and at most 1",
        )?;
        self.normalisation.check()?;
        let temperature = self.temperature.unwrap_or(1.0);
        require(
            temperature.is_finite() && temperature > 0.0,
            "temperature",
            temperature,
            "a finite number above 0",
        )?;
        match &self.model {
            ModelDescription::MobileNet(model) => model.check(),
            ModelDescription::Zoo(model) => model.check(),
        }
    }

    /// The class names. `None` if the file only numbers its outputs.
    pub fn named_classes(&self) -> Option<&[String]> {
        self.class_order.is_named().then_some(&self.class_names[..])
    }
}

/// The metadata of a file. `None` if [`save`] did not write the file.
pub(crate) fn metadata(file: &TensorFile) -> Result<Option<WeightsMetadata>> {
    let format = |reason: String| Error::format(file.path(), reason);
    let Some(json) = file.text(METADATA_KEY) else {
        return Ok(None);
    };
    let metadata: WeightsMetadata = serde_json::from_str(json)
        .map_err(|e| format(format!("its metadata cannot be understood: {e}")))?;
    let (names, classes) = (metadata.class_names.len(), metadata.model.classes());
    if names != classes {
        return Err(format(format!(
            "it names {names} classes for a model of {classes}"
        )));
    }
    let checked = metadata.check();
    checked.map_err(|e| format(format!("its metadata cannot be used: {e}")))?;
    Ok(Some(metadata))
}
