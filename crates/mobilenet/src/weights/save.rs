//! Writes weights files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use engine::{Op, Plan};
use framing::ImageSize;

use crate::weights::atomic;
use crate::weights::load::{stem, swap_red_and_blue};
use crate::weights::metadata::{METADATA_KEY, WeightsMetadata};
use crate::weights::schemes::constants::{Constant, attention_mask, position_index};
use crate::weights::schemes::{Content, Scheme, TensorName};
use crate::weights::usage::Usage;
use crate::{Error, Model, ModelConfig, Network, Result};

/// Writes the network's weights to `path` with the names of the network's own project. The weights are first written
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
    let (model, plan) = (network.config(), network.plan());
    let theirs = ModelConfig {
        design: Usage::of(scheme, model.name).design,
        ..model.clone()
    };
    let names = model.name.names(scheme, plan);
    let names = names.filter(|_| {
        theirs
            .plan()
            .is_ok_and(|theirs| theirs.layers == plan.layers)
    });
    let names = names.ok_or_else(|| {
        let reason = match model.name.schemes().contains(&scheme) {
            true => format!(
                "{scheme} has no such {}: this one is of {} design, width {}, with the {} head",
                model.name, model.design, model.width, model.head
            ),
            false => format!("{scheme} has no such network as {}", model.name),
        };
        Error::format(path, reason)
    })?;
    let mut own = network.parameters().named()?;
    if scheme.is_bgr()
        && let Some(stem) = stem(plan)
        && let Some(weight) = own.get_mut(&stem.name)
    {
        let mut values = weight.flatten_all()?.to_vec1()?;
        swap_red_and_blue(&mut values, &stem.shape);
        *weight = Tensor::from_vec(values, stem.shape.as_slice(), &Device::Cpu)?;
    }
    let mut tensors = BTreeMap::new();
    for name in names {
        let Some(foreign) = name.foreign else {
            continue;
        };
        let tensor = match name.content {
            Content::Constant(constant) => {
                constant_tensor(constant, name.shape, plan, metadata.image_size)?
            }
            _ => match own.remove(&name.native) {
                Some(tensor) => Some(tensor.reshape(name.shape.unwrap_or_default())?),
                None => None,
            },
        };
        tensors.extend(tensor.map(|tensor| (foreign, tensor)));
    }
    write(path, &tensors, metadata)
}

/// The tensors that torchvision saves although they follow from the network.
pub(crate) fn constants(plan: &Plan) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for name in TensorName::all(plan) {
        if let Content::Constant(Constant::PositionIndex { window }) = name.content {
            tensors.insert(name.native, position_tensor(window, name.shape)?);
        }
    }
    Ok(tensors)
}

fn position_tensor(window: usize, shape: Option<Vec<usize>>) -> Result<Tensor> {
    let index = position_index(window);
    let shape = shape.unwrap_or_else(|| vec![index.len()]);
    Ok(Tensor::from_vec(index, shape, &Device::Cpu)?)
}

/// A constant of a network for images of this size. `None` if the project has none at this size.
fn constant_tensor(
    constant: Constant,
    shape: Option<Vec<usize>>,
    plan: &Plan,
    image_size: ImageSize,
) -> Result<Option<Tensor>> {
    match constant {
        Constant::PositionIndex { window } => Ok(Some(position_tensor(window, shape)?)),
        Constant::AttentionMask { layer } => {
            let [height, width] = image_size.sides().map(|side| side as usize);
            let place = plan.shapes(height, width)[layer];
            let Op::Attention(attention) = &plan.layers[layer].op else {
                return Ok(None);
            };
            let mask = attention_mask(attention, place.height, place.width);
            let tensor = mask.map(|(shape, mask)| Tensor::from_vec(mask, shape, &Device::Cpu));
            Ok(tensor.transpose()?)
        }
    }
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
