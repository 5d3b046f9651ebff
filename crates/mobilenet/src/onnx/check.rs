//! Whether a file computes what the network does.

use std::sync::Arc;

use candle_core::{Tensor, WithDType};
use tract_onnx::prelude::{
    Datum, Framework as _, InferenceFact, InferenceModelExt as _, IntoRunnable as _,
    Tensor as Array, TractResult, tvec,
};

use super::{LOGITS, OnnxOptions, PROBABILITIES};
use crate::weights::WeightsMetadata;
use crate::{Error, Images, Network, Result};

/// The largest difference of a logit, or of a probability, that is taken for rounding.
pub const TOLERANCE: f32 = 1e-4;

/// How near a file comes to the network it was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Pictures that both were shown.
    pub pictures: usize,
    /// The largest difference between two logits, or two probabilities.
    pub largest_difference: f32,
}

/// Runs the bytes of an ONNX file with tract on `pictures`, each a batch u8 `[n, h, w, 3]`, and
/// compares the logits with [`Network::infer`]'s; with a softmax, the probabilities as well.
/// The network should compute in f32: bf16 differs by more than rounding.
///
/// # Errors
/// [`Error::OnnxCheck`] if tract cannot run the file or a difference is above [`TOLERANCE`],
/// and [`Error::Images`] for pictures of another shape or type.
pub fn check(
    bytes: &[u8],
    network: &Network,
    metadata: &WeightsMetadata,
    options: OnnxOptions,
    pictures: &[Tensor],
) -> Result<Agreement> {
    let table = Arc::new(metadata.normalisation.table());
    let mut agreement = Agreement {
        pictures: 0,
        largest_difference: 0.0,
    };
    for pixels in pictures {
        let images = Images::bytes(&pixels.to_device(network.device())?, Arc::clone(&table))?;
        let logits = network.infer(&images)?.to_vec2::<f32>()?;
        let mut outputs = vec![(LOGITS, logits.concat())];
        if options.softmax {
            outputs.push((
                PROBABILITIES,
                logits.iter().flat_map(|row| softmax(row)).collect(),
            ));
        }
        let input = if options.preprocess {
            array::<u8>(images.pixels())
        } else {
            array::<f32>(&images.values()?.permute((0, 3, 1, 2))?)
        }?;
        let names = outputs.iter().map(|(name, _)| *name);
        let found = run(bytes, input, names)
            .map_err(|error| Error::OnnxCheck(format!("tract cannot run it: {error:#}")))?;
        for ((name, expected), found) in outputs.iter().zip(found) {
            let difference = largest_difference(expected, &found);
            if difference.is_nan() || difference > TOLERANCE {
                return Err(Error::OnnxCheck(format!(
                    "for pictures {:?} tract's {name} differ from the network's by \
                     {difference:e}, expected at most {TOLERANCE:e}",
                    pixels.dims()
                )));
            }
            agreement.largest_difference = agreement.largest_difference.max(difference);
        }
        agreement.pictures += pixels.dim(0)?;
    }
    Ok(agreement)
}

/// What tract computes for these outputs. The sizes of the input are made known to it first,
/// as programs do that run many pictures of one size.
fn run<'a>(
    bytes: &[u8],
    input: TractResult<Array>,
    outputs: impl Iterator<Item = &'a str>,
) -> TractResult<Vec<Vec<f32>>> {
    let input = input?;
    let model = tract_onnx::onnx()
        .model_for_read(&mut &bytes[..])?
        .with_input_fact(0, InferenceFact::dt_shape_from_tensor(&input))?
        .with_outputs_by_name(outputs)?
        .into_optimized()?
        .into_runnable()?;
    let outputs = model.run(tvec!(input.into()))?;
    let flat = |output: &Array| Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec());
    outputs.iter().map(|output| flat(output)).collect()
}

/// The same numbers for tract.
fn array<T: WithDType + Datum + Copy>(tensor: &Tensor) -> Result<TractResult<Array>> {
    let numbers = tensor.flatten_all()?.to_vec1::<T>()?;
    Ok(Array::from_shape(tensor.dims(), &numbers))
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// NaN where one of the numbers is.
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
