//! Weights files: safetensors with torchvision's names and with this project's metadata.
//!
//! The header's `__metadata__` has one entry, `classify`. It is a JSON object with everything that
//! evaluation and prediction need. A single entry is used because safetensors writes several
//! entries in random order, and equal models should give equal files.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::Path;

use candle_core::{Device, Tensor};
use framing::{Framing, ImageSize, Orientation};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::require;
use crate::tensor_file::TensorFile;
use crate::zoo::ZooNetwork;
use crate::{
    ByteTable, ClassOrder, Error, LoadReport, Model, ModelConfig, ModelDescription, Network,
    Result, Scheme,
};

pub use crate::overrides::Overrides;
pub use crate::source::{Loaded, Source};

/// Key of the only metadata entry in a file.
const METADATA_KEY: &str = "classify";

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
}

/// Writes the network's weights to `path` with torchvision's names. The weights are first written
/// to a temporary file next to `path`. That file is renamed once it is complete and on disk.
///
/// # Errors
/// If the file cannot be written. An existing file at `path` is then unchanged.
pub fn save(path: &Path, network: &dyn Model, metadata: &WeightsMetadata) -> Result<()> {
    write(path, &network.tensors()?, metadata)
}

/// The bytes of the file that [`save`] would write, to be written later. `path` is only used in
/// errors.
///
/// # Errors
/// If the device fails.
pub fn to_bytes(path: &Path, network: &dyn Model, metadata: &WeightsMetadata) -> Result<Vec<u8>> {
    serialize(path, &network.tensors()?, metadata)
}

/// As [`save`], but with a naming scheme's names and shapes.
///
/// # Errors
/// As [`save`]. Also if the scheme's project does not have the network.
pub fn save_as(
    path: &Path,
    network: &Network,
    metadata: &WeightsMetadata,
    scheme: Scheme,
) -> Result<()> {
    let model = network.config();
    let theirs = ModelConfig {
        design: scheme.design(),
        ..model.clone()
    };
    let names = scheme.names(model.name, network.plan());
    let names = names.filter(|_| {
        theirs
            .network()
            .is_ok_and(|theirs| theirs == network.plan().spec)
    });
    let names = names.ok_or_else(|| {
        let reason = format!(
            "{scheme} has no such {}: this one is of {} design, width {}, with the {} head",
            model.name, model.design, model.width, model.head
        );
        Error::format(path, reason)
    })?;
    let mut own = network.parameters().named()?;
    let mut tensors = BTreeMap::new();
    for name in names {
        if let (Some(foreign), Some(tensor)) = (name.foreign, own.remove(&name.native)) {
            let shape = name.shape.unwrap_or_default();
            tensors.insert(foreign, tensor.reshape(shape)?);
        }
    }
    write(path, &tensors, metadata)
}

fn write(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &WeightsMetadata,
) -> Result<()> {
    atomic::write(path, &serialize(path, tensors, metadata)?, |_| Ok(()))
}

fn serialize(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &WeightsMetadata,
) -> Result<Vec<u8>> {
    let json = serde_json::to_string(metadata).map_err(|e| Error::format(path, e.to_string()))?;
    let header = HashMap::from([(METADATA_KEY.to_string(), json)]);
    safetensors::serialize(tensors.iter(), Some(header))
        .map_err(|e| Error::format(path, e.to_string()))
}

/// Loads the network in a weights file. The file's metadata describe the network if [`save`] wrote
/// it; otherwise [`Source`] recognises the network.
///
/// # Errors
/// If the file is incomplete or contains no known network. If its tensors do not match its model;
/// the message lists them. [`Error::BadNumbers`] if a value is NaN, infinite or a negative
/// variance.
pub fn load(path: &Path, device: &Device) -> Result<(Network, WeightsMetadata)> {
    let loaded = Source::open(path, Overrides::default())?.load(device)?;
    Ok((loaded.network, loaded.metadata))
}

/// Loads a weights file of any model. For a model of the zoo, the file must contain metadata.
///
/// # Errors
/// As [`load`], and if the overrides do not fit the file. [`Error::NotBuilt`] for a model of the
/// zoo in a build without it.
pub fn load_model(
    path: &Path,
    overrides: Overrides,
    device: &Device,
) -> Result<Loaded<Box<dyn Model>>> {
    let loaded = inspect(path, overrides, device)?;
    loaded.report.check_numbers(path)?;
    Ok(loaded)
}

/// As [`load_model`], but only for inspection: unusable values are not an error, but are listed in
/// [`LoadReport::bad_numbers`].
///
/// # Errors
/// As [`load_model`], except [`Error::BadNumbers`].
pub fn inspect(
    path: &Path,
    overrides: Overrides,
    device: &Device,
) -> Result<Loaded<Box<dyn Model>>> {
    let file = TensorFile::open(path)?;
    let of_zoo = metadata(&file)?.and_then(|metadata| match &metadata.model {
        ModelDescription::Zoo(config) => Some((config.clone(), metadata)),
        ModelDescription::MobileNet(_) => None,
    });
    let Some((config, metadata)) = of_zoo else {
        let loaded = Source::of_file(file, overrides)?.load_unchecked(device)?;
        return Ok(Loaded {
            network: Box::new(loaded.network),
            metadata: loaded.metadata,
            report: loaded.report,
        });
    };
    let (network, report) = ZooNetwork::saved(&config, file, device)?;
    Ok(Loaded {
        network: Box::new(network),
        metadata: overrides.over(metadata, path)?,
        report,
    })
}

/// The metadata of a weights file. `None` if [`save`] did not write the file. The weights are not
/// read.
///
/// # Errors
/// If the file is not a complete file of tensors, or its metadata are invalid.
pub fn describe(path: &Path) -> Result<Option<WeightsMetadata>> {
    metadata(&TensorFile::open(path)?)
}

/// Fills a network with those weights of a file that fit; see [`Source::load_into`].
///
/// # Errors
/// As [`Source::load_into`].
pub fn load_pretrained(path: &Path, network: &mut Network) -> Result<LoadReport> {
    Source::open(path, Overrides::default())?.load_into(network)
}

impl WeightsMetadata {
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
