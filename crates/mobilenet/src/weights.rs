//! Weight files: safetensors under torchvision's names, which describe themselves.
//!
//! The header's `__metadata__` holds one entry, `classify`, a JSON object with
//! everything evaluation and prediction need. (One entry, because safetensors
//! writes several in no fixed order, and equal models shall be equal files.)

use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::load::{compare, fill};
use crate::parameters::Values;
use crate::tensor_file::TensorFile;
use crate::{ByteTable, Error, ModelConfig, Network, Result};

pub use crate::load::load_pretrained;

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

/// Writes the network's weights to `path`: to a temporary file beside it first,
/// which takes its name once it is whole and on disk.
///
/// # Errors
/// If the file cannot be written; an older file of that name is then left as it was.
pub fn save(path: &Path, network: &Network, metadata: &WeightsMetadata) -> Result<()> {
    let json = serde_json::to_string(metadata).map_err(|e| Error::Format {
        path: path.into(),
        reason: e.to_string(),
    })?;
    let header = HashMap::from([(METADATA_KEY.to_string(), json)]);
    let tensors = network.parameters().named()?;
    let bytes =
        safetensors::serialize(tensors.iter(), Some(header)).map_err(|e| Error::Format {
            path: path.into(),
            reason: e.to_string(),
        })?;
    atomic::write(path, &bytes, |_| Ok(()))
}

/// Reads a file that [`save`] wrote, and makes the network it describes.
///
/// # Errors
/// If the file is not whole, does not describe itself, or its tensors are not
/// those of the model it names; the message says which.
pub fn load(path: &Path, device: &Device) -> Result<(Network, WeightsMetadata)> {
    let mut file = TensorFile::open(path)?;
    let metadata = metadata(&file)?;
    let plan = metadata.model.plan()?;
    let report = compare(&plan, &file);
    if !report.is_complete() {
        return Err(Error::OtherModel {
            path: path.into(),
            report: Box::new(report),
        });
    }
    let mut values = Values::zeros(&plan);
    fill(&mut values, &plan, &mut file, &report)?;
    let network = Network::with_values(&metadata.model, plan, values, 0, device)?;
    Ok((network, metadata))
}

fn metadata(file: &TensorFile) -> Result<WeightsMetadata> {
    let format = |reason: String| Error::Format {
        path: file.path().into(),
        reason,
    };
    let json = file.text(METADATA_KEY);
    let json = json.ok_or_else(|| {
        format(format!(
            "the file does not say what model it is (no {METADATA_KEY:?} in its metadata): \
             expected weights that `classify train` wrote"
        ))
    })?;
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
    Ok(metadata)
}
