//! Layer normalisation: the channels of each row of `[rows, c]` are normalised with their own mean and biased variance
//! (`torch.nn.LayerNorm`).

use rayon::prelude::*;

use crate::isa::{Isa, dispatch};

/// Number of rows per task. A constant, so that the sums do not depend on the number of threads.
const ROWS: usize = 256;

/// Number of partial sums in a row.
const LANES: usize = 16;

/// `output = (x - mean) / sqrt(variance + epsilon) * weight + bias`; `output` is overwritten.
///
/// # Panics
/// If the slices do not agree in length.
pub fn forward(
    isa: Isa,
    epsilon: f32,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let length = ROWS * weight.len();
    assert_eq!((x.len(), weight.len()), (output.len(), bias.len()));
    let tasks = output.par_chunks_mut(length).zip(x.par_chunks(length));
    tasks.for_each(|(output, x)| forward_rows(isa, epsilon, x, weight, bias, output));
}

/// The gradients of [`forward`]. Overwrites the gradient of `x`, and returns those of the weight and of the bias.
///
/// # Panics
/// If the slices do not agree in length.
pub fn backward(
    isa: Isa,
    epsilon: f32,
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
    of_x: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let (channels, length) = (weight.len(), ROWS * weight.len());
    assert_eq!((x.len(), x.len()), (gradient.len(), of_x.len()));
    let tasks = x.par_chunks(length).zip(gradient.par_chunks(length));
    let sums: Vec<(Vec<f32>, Vec<f32>)> = of_x
        .par_chunks_mut(length)
        .zip(tasks)
        .map(|(of_x, (x, gradient))| {
            let mut sums = (vec![0.0; channels], vec![0.0; channels]);
            let (weights, biases) = (&mut sums.0, &mut sums.1);
            backward_rows(isa, epsilon, x, weight, gradient, of_x, weights, biases);
            sums
        })
        .collect();
    let mut totals = [vec![0.0f64; channels], vec![0.0f64; channels]];
    for (weights, biases) in &sums {
        for (total, part) in totals.iter_mut().zip([weights, biases]) {
            let pairs = total.iter_mut().zip(part);
            pairs.for_each(|(total, &part)| *total += f64::from(part));
        }
    }
    let [weights, biases] = totals.map(|total| total.iter().map(|&total| total as f32).collect());
    (weights, biases)
}

dispatch!(forward_rows(epsilon: f32, x: &[f32], weight: &[f32], bias: &[f32], output: &mut [f32]) => forward_kernel);

#[inline(always)]
fn forward_kernel<const FMA: bool>(
    epsilon: f32,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let channels = weight.len();
    for (x, output) in x
        .chunks_exact(channels)
        .zip(output.chunks_exact_mut(channels))
    {
        let (mean, inverse_std) = moments(epsilon, x);
        let affine = weight.iter().zip(bias);
        for ((output, x), (weight, bias)) in output.iter_mut().zip(x).zip(affine) {
            *output = (x - mean) * inverse_std * weight + bias;
        }
    }
}

dispatch!(backward_rows(epsilon: f32, x: &[f32], weight: &[f32], gradient: &[f32], of_x: &mut [f32],
    of_weight: &mut [f32], of_bias: &mut [f32]) => backward_kernel);

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
fn backward_kernel<const FMA: bool>(
    epsilon: f32,
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
    of_x: &mut [f32],
    of_weight: &mut [f32],
    of_bias: &mut [f32],
) {
    let channels = weight.len();
    let share = 1.0 / channels as f32;
    let rows = x
        .chunks_exact(channels)
        .zip(gradient.chunks_exact(channels));
    for (of_x, (x, gradient)) in of_x.chunks_exact_mut(channels).zip(rows) {
        let (mean, inverse_std) = moments(epsilon, x);
        let normal = |x: f32| (x - mean) * inverse_std;
        let product = |channel: usize| gradient[channel] * weight[channel];
        let sum = sum(channels, product) * share;
        let dot = self::sum(channels, |channel| product(channel) * normal(x[channel])) * share;
        for channel in 0..channels {
            let normal = normal(x[channel]);
            of_x[channel] = (product(channel) - sum - normal * dot) * inverse_std;
            of_weight[channel] += gradient[channel] * normal;
            of_bias[channel] += gradient[channel];
        }
    }
}

/// Mean, and the inverse of the standard deviation.
#[inline(always)]
fn moments(epsilon: f32, x: &[f32]) -> (f32, f32) {
    let share = 1.0 / x.len() as f32;
    let mean = sum(x.len(), |channel| x[channel]) * share;
    let squares = sum(x.len(), |channel| (x[channel] - mean) * (x[channel] - mean));
    (mean, 1.0 / (squares * share + epsilon).sqrt())
}

/// The sum of `count` values, in lanes.
#[inline(always)]
fn sum(count: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += value(start + lane);
        }
    }
    let rest: f32 = (whole..count).map(value).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_isa_matches_double_precision() {
        for (rows, channels) in [(1, 1), (3, 15), (300, 16), (5, 96), (2, 131)] {
            let number = |index: usize, seed: f32| ((index as f32 + seed) * 12.9898).sin();
            let list = |count: usize, seed: f32| -> Vec<f32> {
                (0..count).map(|index| number(index, seed)).collect()
            };
            let x: Vec<f32> = list(rows * channels, 0.1).iter().map(|x| x + 4.0).collect();
            let (weight, bias) = (list(channels, 0.2), list(channels, 0.3));
            let gradient = list(rows * channels, 0.4);
            let mut expected = vec![0.0f64; 2 * x.len() + 2 * channels];
            for row in 0..rows {
                let at = |channel: usize| f64::from(x[row * channels + channel]);
                let count = channels as f64;
                let mean = (0..channels).map(at).sum::<f64>() / count;
                let squares = (0..channels).map(|c| (at(c) - mean).powi(2)).sum::<f64>();
                let std = (squares / count + f64::from(1e-3f32)).sqrt();
                let of = |c: usize| f64::from(gradient[row * channels + c]);
                let product = |c: usize| of(c) * f64::from(weight[c]);
                let normal = |c: usize| (at(c) - mean) / std;
                let sum = (0..channels).map(product).sum::<f64>() / count;
                let dot = (0..channels).map(|c| product(c) * normal(c)).sum::<f64>() / count;
                for c in 0..channels {
                    expected[row * channels + c] =
                        normal(c) * f64::from(weight[c]) + f64::from(bias[c]);
                    expected[x.len() + row * channels + c] =
                        (product(c) - sum - normal(c) * dot) / std;
                    expected[2 * x.len() + c] += of(c) * normal(c);
                    expected[2 * x.len() + channels + c] += of(c);
                }
            }
            for isa in Isa::available() {
                let mut found = vec![0.0; 2 * x.len()];
                let (output, of_x) = found.split_at_mut(x.len());
                forward(isa, 1e-3, &x, &weight, &bias, output);
                let (of_weight, of_bias) = backward(isa, 1e-3, &x, &weight, &gradient, of_x);
                found.extend(of_weight);
                found.extend(of_bias);
                for (index, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                    let off = (f64::from(found) - expected).abs();
                    assert!(
                        off < 2e-5 * expected.abs().max(1.0),
                        "{isa} {rows}x{channels} at {index}: {found} not {expected}"
                    );
                }
            }
        }
    }
}
