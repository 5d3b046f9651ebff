//! Weight files: safetensors under torchvision's names, which describe themselves.
//!
//! The header's `__metadata__` holds one entry, `classify`, a JSON object with
//! everything evaluation and prediction need. (One entry, because safetensors
//! writes several in no fixed order, and equal models shall be equal files.)

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::tensor_file::TensorFile;
use crate::{ByteTable, Error, LoadReport, ModelConfig, Network, Result, Scheme};

pub use crate::source::{Given, Loaded, Source};

/// Key of the one entry in a file's metadata.
const METADATA_KEY: &str = "classify";

/// Mean and standard deviation a channel, of pixel values in 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Subtracted, red, green, blue.
    pub mean: [f32; 3],
    /// Divided by, red, green, blue.
    pub std: [f32; 3],
}

impl Normalisation {
    /// What torchvision's ImageNet weights were trained with.
    pub const IMAGENET: Normalisation = Normalisation {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// What each byte of red, green and blue is worth: `(byte / 255 - mean) / std`.
    pub fn table(&self) -> ByteTable {
        std::array::from_fn(|colour| {
            let (mean, std) = (self.mean[colour], self.std[colour]);
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
        })
    }
}

/// What a weights file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsMetadata {
    /// The network.
    pub model: ModelConfig,
    /// The name of each class, in the order of the logits.
    pub class_names: Vec<String>,
    /// Images are resized to this many pixels square (antialiased bilinear, proportions not kept).
    pub image_size: usize,
    /// Of the pixels, after the resize.
    pub normalisation: Normalisation,
    /// The epoch the weights are from, counted from 1.
    pub epoch: Option<usize>,
    /// The monitored score after that epoch.
    pub score: Option<f64>,
}

/// Writes the network's weights to `path` under torchvision's names: to a temporary file
/// beside it first, which takes its name once it is whole and on disk.
///
/// # Errors
/// If the file cannot be written; an older file of that name is then left as it was.
pub fn save(path: &Path, network: &Network, metadata: &WeightsMetadata) -> Result<()> {
    save_as(path, network, metadata, Scheme::Torchvision)
}

/// As [`save`], under a scheme's names and shapes.
///
/// # Errors
/// Also if the scheme's project has no such network.
pub fn save_as(
    path: &Path,
    network: &Network,
    metadata: &WeightsMetadata,
    scheme: Scheme,
) -> Result<()> {
    let format = |reason: String| Error::format(path, reason);
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
        format(format!(
            "{scheme} has no such {}: this one is of {} design, width {}, with the {} head",
            model.name, model.design, model.width, model.head
        ))
    })?;
    let json = serde_json::to_string(metadata).map_err(|e| format(e.to_string()))?;
    let header = HashMap::from([(METADATA_KEY.to_string(), json)]);
    let mut own = network.parameters().named()?;
    let mut tensors = BTreeMap::new();
    for name in names {
        if let (Some(foreign), Some(tensor)) = (name.foreign, own.remove(&name.native)) {
            let shape = name.shape.unwrap_or_default();
            tensors.insert(foreign, tensor.reshape(shape)?);
        }
    }
    let bytes =
        safetensors::serialize(tensors.iter(), Some(header)).map_err(|e| format(e.to_string()))?;
    atomic::write(path, &bytes, |_| Ok(()))
}

/// Reads a weights file and makes the network it holds: what it says of itself, if [`save`]
/// wrote it, or else what [`Source`] finds out.
///
/// # Errors
/// If the file is not whole, holds no network known here, or its tensors are not
/// those of its model; the message says which.
pub fn load(path: &Path, device: &Device) -> Result<(Network, WeightsMetadata)> {
    let loaded = Source::open(path, Given::default())?.load(device)?;
    Ok((loaded.network, loaded.metadata))
}

/// Fills a network with a file's weights as far as they fit; see [`Source::load_into`].
///
/// # Errors
/// As there.
pub fn load_pretrained(path: &Path, network: &mut Network) -> Result<LoadReport> {
    Source::open(path, Given::default())?.load_into(network)
}

/// What a file says of itself; none if [`save`] did not write it.
pub(crate) fn metadata(file: &TensorFile) -> Result<Option<WeightsMetadata>> {
    let format = |reason: String| Error::format(file.path(), reason);
    let Some(json) = file.text(METADATA_KEY) else {
        return Ok(None);
    };
    let metadata: WeightsMetadata = serde_json::from_str(json)
        .map_err(|e| format(format!("its metadata cannot be understood: {e}")))?;
    let (names, classes) = (metadata.class_names.len(), metadata.model.classes);
    if names != classes {
        return Err(format(format!(
            "it names {names} classes for a model of {classes}"
        )));
    }
    if metadata.image_size == 0 {
        return Err(format("its image size is 0".into()));
    }
    Ok(Some(metadata))
}
