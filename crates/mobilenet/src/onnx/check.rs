//! Checks that an ONNX file gives the same results as the network.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use candle_core::{Tensor, WithDType};
use rten::{Model, ModelOptions, OpRegistry, RunError, Value, op_registry};
use rten_onnx::onnx::{ModelProto, TensorProto};

use super::{IMAGES, LOGITS, OnnxOptions, PROBABILITIES};
use crate::weights::WeightsMetadata;
use crate::{Error, Images, Network, Result};

/// Largest accepted difference of a logit or probability. If the largest of these values is above
/// 1, the limit is relative to it. A temperature below 1 enlarges differences of logits, so the limit of probabilities
/// is divided by it. Rounding in f32 alone can reach 2e-5 in deep networks: for EfficientNet-B1, PyTorch's own results in
/// f32 and f64 differ by 1e-5.
pub const TOLERANCE: f32 = 1e-4;

/// Result of comparing a file with its network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Number of images in the comparison.
    pub pictures: usize,
    /// The largest difference between two logits, or two probabilities.
    pub largest_difference: f32,
}

/// Checks an ONNX file against the network. The weights must be equal bit for bit, unless
/// normalisations are folded. Then rten runs the file on `pictures`, which are batches of u8
/// `[n, h, w, 3]`. The logits (with a softmax, also the probabilities) are compared with those of
/// [`Network::infer`]. The network should compute in f32, because bf16 differs by more than
/// rounding.
///
/// # Errors
/// [`Error::OnnxCheck`] if rten cannot read or run the file, if a weight differs, or if a
/// difference exceeds [`TOLERANCE`]. [`Error::Images`] if images have another shape or type.
pub fn check(
    bytes: &[u8],
    network: &Network,
    metadata: &WeightsMetadata,
    options: OnnxOptions,
    pictures: &[Tensor],
) -> Result<Agreement> {
    if !options.fold_batch_norm {
        same_weights(bytes, network)?;
    }
    let cannot_run = |error: &dyn Display| Error::OnnxCheck(format!("rten cannot run it: {error}"));
    // Without the optimizer, each node runs as written, and the outputs of all nodes are available.
    let model = ModelOptions::with_ops(operators())
        .enable_optimization(false)
        .load(bytes.to_vec())
        .map_err(|error| cannot_run(&error))?;
    let table = Arc::new(metadata.normalisation.table());
    let mut agreement = Agreement {
        pictures: 0,
        largest_difference: 0.0,
    };
    for pixels in pictures {
        let images = Images::bytes(&pixels.to_device(network.device())?, Arc::clone(&table))?;
        let logits = network.infer(&images)?.to_vec2::<f32>()?;
        let mut outputs = vec![(LOGITS, logits.concat(), 1.0)];
        if options.softmax {
            let temperature = super::temperature(metadata, options)?.unwrap_or(1.0);
            let probabilities = |row: &Vec<f32>| softmax(row, temperature);
            let probabilities = logits.iter().flat_map(probabilities).collect();
            outputs.push((PROBABILITIES, probabilities, temperature.min(1.0)));
        }
        let input = if options.preprocess {
            value::<u8>(images.pixels())
        } else {
            value::<f32>(&images.values()?.permute((0, 3, 1, 2))?)
        }?;
        let names: Vec<&str> = outputs.iter().map(|(name, ..)| *name).collect();
        let found = run(&model, input, &names).map_err(|error| cannot_run(&error))?;
        for ((name, expected, divisor), found) in outputs.iter().zip(found) {
            let difference = largest_difference(expected, &found);
            let largest = expected.iter().fold(1.0, |a: f32, b| a.max(b.abs()));
            let most = TOLERANCE * largest / divisor;
            if difference.is_nan() || difference > most {
                return Err(Error::OnnxCheck(format!(
                    "for images {:?} rten's {name} differ from the network's by \
                     {difference:e}, expected at most {most:e}",
                    pixels.dims()
                )));
            }
            agreement.largest_difference = agreement.largest_difference.max(difference);
        }
        agreement.pictures += pixels.dim(0)?;
    }
    Ok(agreement)
}

/// Checks that the file contains every tensor of the network under the tensor's name.
fn same_weights(bytes: &[u8], network: &Network) -> Result<()> {
    let bad = |problem: String| Err(Error::OnnxCheck(problem));
    let graph = match ModelProto::parse_buf(bytes) {
        Ok(model) => model.graph.unwrap_or_default(),
        Err(error) => return bad(format!("rten cannot read it: {error}")),
    };
    let tensors = graph.initializer.iter();
    let tensors: HashMap<Option<&str>, &TensorProto> = tensors
        .map(|tensor| (tensor.name.as_deref(), tensor))
        .collect();
    for (name, expected) in network.parameters().named()? {
        // Batch counters are not needed for inference.
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let expected = expected.flatten_all()?.to_vec1::<f32>()?;
        let raw = tensors.get(&Some(name.as_str()));
        let raw = raw.and_then(|tensor| tensor.raw_data.as_ref());
        let equal = raw.is_some_and(|raw| {
            let expected = expected.iter().flat_map(|value| value.to_le_bytes());
            raw.borrow().iter().copied().eq(expected)
        });
        if !equal {
            return bad(format!("its {name} is not the network's"));
        }
    }
    Ok(())
}

/// Runs the file with rten and returns these outputs.
fn run(
    model: &Model,
    input: Value,
    outputs: &[&str],
) -> std::result::Result<Vec<Vec<f32>>, Box<dyn std::error::Error>> {
    let input = vec![(model.node_id(IMAGES)?, input.into())];
    let nodes: Vec<_> = outputs
        .iter()
        .map(|name| model.node_id(name))
        .collect::<std::result::Result<_, RunError>>()?;
    let values = model.run(input, &nodes, None)?;
    let flat = |value: Value| Ok(value.into_shape_vec::<f32, 2>()?.1);
    values.into_iter().map(flat).collect()
}

/// Every operator that exported files may use. The linker drops rten's other operators.
fn operators() -> OpRegistry {
    op_registry!(
        Add,
        AveragePool,
        BatchNormalization,
        Cast,
        Clip,
        Concat,
        Conv,
        Div,
        Erf,
        Flatten,
        Gather,
        Gemm,
        GlobalAveragePool,
        HardSigmoid,
        HardSwish,
        Identity,
        LayerNormalization,
        MatMul,
        MaxPool,
        Mul,
        Pad,
        Relu,
        Reshape,
        Sigmoid,
        Slice,
        Softmax,
        Sub,
        Transpose
    )
}

/// Converts a tensor to rten's type.
fn value<T: WithDType>(tensor: &Tensor) -> Result<Value>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    let numbers = tensor.flatten_all()?.to_vec1::<T>()?;
    Value::from_shape(tensor.dims(), numbers).map_err(|error| Error::OnnxCheck(error.to_string()))
}

fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let logits: Vec<f32> = logits.iter().map(|logit| logit / temperature).collect();
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// The largest difference between two values; NaN if one of the values is NaN.
fn largest_difference(expected: &[f32], found: &[f32]) -> f32 {
    if expected.len() != found.len() {
        return f32::NAN;
    }
    let differences = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, difference| {
        if difference > largest || difference.is_nan() {
            difference
        } else {
            largest
        }
    })
}
