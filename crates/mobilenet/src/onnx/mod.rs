//! Networks as ONNX files, for other programs: onnxruntime, OpenVINO, rten, tract, a browser.
//!
//! A file has IR version 8 and operator set 17 (ONNX 1.12), and includes its weights.
//!
//! | | name | type and shape |
//! |---|---|---|
//! | input | `images` | f32 `[batch, 3, height, width]`, resized and normalised |
//! | input, with [`preprocess`](OnnxOptions::preprocess) | `images` | u8 `[batch, height, width, 3]`, resized |
//! | output | `logits` | f32 `[batch, classes]` |
//! | output, with [`softmax`](OnnxOptions::softmax) | `probabilities` | f32 `[batch, classes]`, rows sum to 1 |
//!
//! Batch, height and width are free; the metadata contain the image size used in training. A network with windows of
//! attention (Swin) has a fixed height and width: the metadata's image size. The graph never contains the resize, even
//! with [`preprocess`](OnnxOptions::preprocess): the caller must fit images to the image size as `fit`, `crop_pct` and
//! `interpolation` describe. Weights have the names of the network's own project. A layer's output has the name of the
//! layer's module. A layer's node has the module's name and the operator's: `features.0.0/Conv`.
//!
//! The file's metadata (`metadata_props`) describe the model, as text:
//!
//! | key | value |
//! |---|---|
//! | `model` | `mobilenet_v3_small` or another of [`Variant`](crate::Variant) |
//! | `class_names` | JSON array of strings, in the order of the logits |
//! | `image_size` | pixels per side, or `[height, width]` if they differ |
//! | `fit` | `squash`: resize to this size; `crop`: resize to cover `image_size` / `crop_pct` (rounded down), then crop the center, as torchvision's `Resize` and `CenterCrop`; `letterbox`: resize to fit inside, centered on gray 114 |
//! | `crop_pct` | a number, used by `crop` only |
//! | `interpolation` | `bilinear` or `bicubic`, both antialiased as in Pillow |
//! | `orientation` | `apply`: turn the image upright by its EXIF data first; `ignore`: do not |
//! | `temperature` | a number, if the weights have one: `softmax(logits / temperature)` is calibrated. With [`calibrated`](OnnxOptions::calibrated) the graph has divided already |
//! | `mean`, `std` | JSON arrays of three numbers, red, green, blue: a pixel value `v` in 0..1 becomes `(v - mean) / std` |
//!
//! The producer is `classify`, with the version of this crate.
//!
//! [`export`] keeps a file only if rten, an independent ONNX runtime, gets the network's results from it.

mod activation;
mod check;
mod convolution;
mod encode;
mod fold;
mod graph;
mod layers;
mod pictures;
#[cfg(test)]
mod tests;
mod windows;

use std::path::Path;

use candle_core::Tensor;
use rten_onnx::onnx::{DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto};

use crate::weights::WeightsMetadata;
use crate::weights::atomic;
use crate::{Error, Network, Result};

pub use check::{Agreement, TOLERANCE, check};

use graph::{Dimension, Graph, value};
use layers::Layers;

/// The version of the operator set. HardSwish needs at least 14.
const OPSET: i64 = 17;
/// The version of the ONNX format that has this operator set.
const IR_VERSION: i64 = 8;

/// Name of the input.
const IMAGES: &str = "images";
/// Name of the output. With a softmax, name of the softmax's input.
const LOGITS: &str = "logits";
/// Name of the logits divided by the temperature.
const CALIBRATED: &str = "calibrated_logits";
/// Name of the tensor with the temperature.
const TEMPERATURE: &str = "temperature";
/// Name of the softmax's output.
const PROBABILITIES: &str = "probabilities";

/// Options of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Whether the input is bytes, channels last, which the graph normalises.
    pub preprocess: bool,
    /// Whether the output is probabilities instead of logits.
    pub softmax: bool,
    /// With a softmax, whether to divide the logits by the temperature of the weights first.
    pub calibrated: bool,
    /// Whether to fold each batch normalisation into the preceding convolution.
    pub fold_batch_norm: bool,
}

/// Exports the network to `path` as an ONNX file. [`check`] runs on generated images and on `pictures`, if any. The
/// file appears only if that check passes.
///
/// # Errors
/// [`Error::Export`] if rten cannot run the file or gets other results. [`Error::File`] if the file cannot be written.
/// In both cases an existing file at `path` is unchanged.
pub fn export(
    path: &Path,
    network: &Network,
    metadata: &WeightsMetadata,
    options: OnnxOptions,
    pictures: &[Tensor],
) -> Result<Agreement> {
    let bytes = to_bytes(network, metadata, options)?;
    let is_fixed = layers::has_fixed_size(network.plan());
    let mut all = pictures::made_up(metadata.image_size, is_fixed)?;
    all.extend_from_slice(pictures);
    atomic::write(path, &bytes, |written| {
        let bytes = std::fs::read(written).map_err(Error::file(written))?;
        check(&bytes, network, metadata, options, &all).map_err(|source| Error::Export {
            path: path.into(),
            source: Box::new(source),
        })
    })
}

/// Encodes the network as an ONNX file, without checking it.
///
/// # Errors
/// [`Error::OnnxWrite`] if calibrated probabilities are wanted and the weights have no temperature. [`Error::Tensor`] if the device fails, and [`Error::OnnxWrite`] if the network cannot be encoded.
pub fn to_bytes(
    network: &Network,
    metadata: &WeightsMetadata,
    options: OnnxOptions,
) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    let sides = metadata.image_size.sides().map(|side| side as usize);
    let is_fixed = layers::has_fixed_size(network.plan());
    let size = is_fixed.then_some((sides[0], sides[1]));
    let [height, width] = match size {
        Some(_) => sides.map(Dimension::Of),
        None => ["height", "width"].map(Dimension::Any),
    };
    let (batch, colours) = (Dimension::Any("batch"), Dimension::Of(3));
    let (input, images) = if options.preprocess {
        let shape = [batch, height, width, colours];
        let images = layers::normalise(&mut graph, IMAGES, &metadata.normalisation);
        (value(IMAGES, DataType::UINT8, &shape), images)
    } else {
        let shape = [batch, colours, height, width];
        (value(IMAGES, DataType::FLOAT, &shape), IMAGES.to_owned())
    };
    let values = network.parameters().values()?;
    let fold = options.fold_batch_norm;
    Layers::new(network.plan(), &values, fold, &mut graph, size, LOGITS).convert(&images);
    let mut output = LOGITS;
    if let Some(temperature) = temperature(metadata, options)? {
        graph.tensor(TEMPERATURE, &[], &[temperature]);
        output = CALIBRATED;
        graph.node("Div", output, &[LOGITS, TEMPERATURE], vec![]);
    }
    if options.softmax {
        let input = output;
        output = PROBABILITIES;
        graph.node("Softmax", output, &[input], vec![graph::int("axis", -1)]);
    }
    let shape = [batch, Dimension::Of(network.plan().classes())];
    let output = value(output, DataType::FLOAT, &shape);
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        producer_name: Some("classify".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: None,
        metadata_props: properties(metadata),
    };
    let graph = graph.finish(input, output);
    encode::encode(&model, &network.plan().name, &graph)
        .map_err(|error| Error::OnnxWrite(error.to_string()))
}

/// The temperature that divides the logits before the softmax, if any.
fn temperature(metadata: &WeightsMetadata, options: OnnxOptions) -> Result<Option<f32>> {
    if !(options.softmax && options.calibrated) {
        return Ok(None);
    }
    let missing = || Error::OnnxWrite("the weights have no temperature to calibrate with".into());
    metadata
        .temperature
        .map_or_else(|| Err(missing()), |found| Ok(Some(found as f32)))
}

/// The metadata listed in the module documentation.
fn properties(metadata: &WeightsMetadata) -> Vec<StringStringEntryProto> {
    let normalisation = &metadata.normalisation;
    let entries = [
        ("model", metadata.model.name().to_string()),
        (
            "class_names",
            serde_json::json!(metadata.class_names).to_string(),
        ),
        (
            "image_size",
            serde_json::json!(metadata.image_size).to_string(),
        ),
        ("fit", metadata.framing.fit.to_string()),
        ("crop_pct", metadata.framing.crop_pct.to_string()),
        ("interpolation", metadata.framing.interpolation.to_string()),
        ("orientation", metadata.orientation.to_string()),
        ("mean", serde_json::json!(normalisation.mean).to_string()),
        ("std", serde_json::json!(normalisation.std).to_string()),
    ];
    let temperature = metadata
        .temperature
        .map(|found| ("temperature", found.to_string()));
    let entry = |(key, value): (&str, String)| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value),
    };
    entries.into_iter().chain(temperature).map(entry).collect()
}
