//! Weight files: safetensors under torchvision's names, which describe themselves.
//!
//! The header's `__metadata__` holds one entry, `classify`, a JSON object with
//! everything evaluation and prediction need. (One entry, because safetensors
//! writes several in no fixed order, and equal models shall be equal files.)

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::load::{compare, fill};
use crate::parameters::Values;
use crate::tensor_file::TensorFile;
use crate::zoo::ZooNetwork;
use crate::{ByteTable, Error, Model, ModelConfig, ModelDescription, Network, Result};

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
    pub model: ModelDescription,
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
pub fn save(path: &Path, network: &dyn Model, metadata: &WeightsMetadata) -> Result<()> {
    let json = serde_json::to_string(metadata).map_err(|e| Error::Format {
        path: path.into(),
        reason: e.to_string(),
    })?;
    let header = HashMap::from([(METADATA_KEY.to_string(), json)]);
    let tensors = network.tensors()?;
    let bytes =
        safetensors::serialize(tensors.iter(), Some(header)).map_err(|e| Error::Format {
            path: path.into(),
            reason: e.to_string(),
        })?;
    let io = |source| Error::File {
        path: path.into(),
        source,
    };
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file has them, less what the umask takes; temporary files are private.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .prefix(".weights-")
        .tempfile_in(folder)
        .map_err(io)?;
    file.write_all(&bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Reads a file that [`save`] wrote, and makes the MobileNet it describes.
///
/// # Errors
/// If the file is not whole, does not describe itself, describes a model of the zoo
/// ([`load_model`] reads either), or its tensors are not those of the model it names; the
/// message says which.
pub fn load(path: &Path, device: &Device) -> Result<(Network, WeightsMetadata)> {
    let file = TensorFile::open(path)?;
    let metadata = metadata(&file)?;
    match &metadata.model {
        ModelDescription::MobileNet(config) => Ok((mobilenet(config, file, device)?, metadata)),
        ModelDescription::Zoo(config) => Err(Error::Format {
            path: path.into(),
            reason: format!("it holds a {}; expected a MobileNet", config.name),
        }),
    }
}

/// Reads a file that [`save`] wrote, and makes the model it describes, whatever its family.
///
/// # Errors
/// As [`load`]; [`Error::NotBuilt`] for a model of the zoo in a build without it.
pub fn load_model(path: &Path, device: &Device) -> Result<(Box<dyn Model>, WeightsMetadata)> {
    let file = TensorFile::open(path)?;
    let metadata = metadata(&file)?;
    let model: Box<dyn Model> = match &metadata.model {
        ModelDescription::MobileNet(config) => Box::new(mobilenet(config, file, device)?),
        ModelDescription::Zoo(config) => Box::new(ZooNetwork::saved(config, file, device)?),
    };
    Ok((model, metadata))
}

fn mobilenet(config: &ModelConfig, mut file: TensorFile, device: &Device) -> Result<Network> {
    let plan = config.plan()?;
    let report = compare(&plan, &file);
    if !report.is_complete() {
        return Err(Error::OtherModel {
            path: file.path().into(),
            report: Box::new(report),
        });
    }
    let mut values = Values::zeros(&plan);
    fill(&mut values, &plan, &mut file, &report)?;
    Network::with_values(config, plan, values, 0, device)
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
    let (names, classes) = (metadata.class_names.len(), metadata.model.classes());
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
