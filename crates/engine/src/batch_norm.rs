//! Batch normalisation with its activation, over rows of channels `[rows, c]`.
//!
//! Training normalises with the mean and biased variance of the batch, as
//! `torch.nn.functional.batch_norm(training=True)` does. Inference normalises with given statistics. Both compute
//! `activation(x * scale + shift)` with one scale and shift per channel, so both use [`apply`].

use rayon::prelude::*;

use crate::isa::{Isa, dispatch, multiply_add};
use crate::sigmoid::{sigmoid, silu_slope};
use crate::spec::Activation;

/// Number of rows that are summed in f32 before the sum is added to an f64 total. A constant, so that the result does
/// not depend on the number of threads.
const ROWS: usize = 256;

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean of each channel, `[c]`.
    pub mean: Vec<f32>,
    /// Biased variance of each channel, `[c]`: the mean of the squared deviations.
    pub variance: Vec<f32>,
}

/// Mean and variance of each channel of `values`, `[rows, channels]`.
///
/// The mean of each block of rows is subtracted before squaring, so that a large mean costs no precision. The blocks
/// are merged with the formula of Chan, Golub and LeVeque (1979).
///
/// # Panics
/// If the length of `values` is not a multiple of `channels`.
pub fn statistics(isa: Isa, channels: usize, values: &[f32]) -> Statistics {
    assert_rows(channels, values);
    let blocks: Vec<Vec<f32>> = values
        .par_chunks(ROWS * channels)
        .map(|block| {
            let mut sums = vec![0.0; 2 * channels];
            let (mean, squares) = sums.split_at_mut(channels);
            block_moments(isa, block, mean, squares);
            sums
        })
        .collect();
    let mut mean = vec![0.0f64; channels];
    let mut squares = vec![0.0f64; channels];
    let mut seen = 0.0;
    for (index, block) in blocks.iter().enumerate() {
        let rows = (values.len() / channels - index * ROWS).min(ROWS) as f64;
        let share = rows / (seen + rows);
        for channel in 0..channels {
            let distance = f64::from(block[channel]) - mean[channel];
            mean[channel] += distance * share;
            squares[channel] +=
                f64::from(block[channels + channel]) + distance * distance * seen * share;
        }
        seen += rows;
    }
    Statistics {
        mean: mean.iter().map(|&mean| mean as f32).collect(),
        variance: squares
            .iter()
            .map(|&squares| (squares / seen) as f32)
            .collect(),
    }
}

/// `output = activation(values * scale + shift)`, channel by channel; `output` is overwritten.
///
/// # Panics
/// If the slices do not agree in length.
pub fn apply(
    isa: Isa,
    activation: Activation,
    values: &[f32],
    scale: &[f32],
    shift: &[f32],
    output: &mut [f32],
) {
    assert_rows(scale.len(), values);
    assert_eq!((scale.len(), values.len()), (shift.len(), output.len()));
    let len = ROWS * scale.len();
    output
        .par_chunks_mut(len)
        .zip(values.par_chunks(len))
        .for_each(|(output, values)| match activation {
            Activation::Identity => apply_identity(isa, values, scale, shift, output),
            Activation::Relu => apply_relu(isa, values, scale, shift, output),
            Activation::Relu6 => apply_relu6(isa, values, scale, shift, output),
            Activation::Hardswish => apply_hardswish(isa, values, scale, shift, output),
            Activation::Silu => apply_silu(isa, values, scale, shift, output),
            other => unreachable!("no kernel computes {other:?}"),
        });
}

/// The results of the backward pass of [`apply`] after [`statistics`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Gradient of the values, `[rows, c]`.
    pub values: Vec<f32>,
    /// Gradient of the weight (torch's name for gamma), `[c]`.
    pub weight: Vec<f32>,
    /// Gradient of the bias (beta), `[c]`.
    pub bias: Vec<f32>,
}

/// The gradients of `activation((values - mean) / std * weight + bias)` with respect to `values`, `weight` and `bias`.
/// `mean` and `std` are the statistics of `values`.
///
/// `inverse_std` is `1 / sqrt(variance + epsilon)`, `[c]`.
///
/// # Panics
/// If the slices do not agree in length.
#[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
pub fn backward(
    isa: Isa,
    activation: Activation,
    values: &[f32],
    mean: &[f32],
    inverse_std: &[f32],
    weight: &[f32],
    bias: &[f32],
    gradient: &[f32],
) -> Gradients {
    let channels = mean.len();
    assert_rows(channels, values);
    assert_eq!(values.len(), gradient.len());
    assert_eq!([channels; 3], [inverse_std.len(), weight.len(), bias.len()]);
    let (scale, shift) = scale_and_shift(mean, inverse_std, weight, bias);
    let len = ROWS * channels;
    // First pass: the gradient before the activation (kept in the result), and both sums of each channel.
    let mut result = vec![0.0; values.len()];
    let blocks: Vec<Vec<f32>> = result
        .par_chunks_mut(len)
        .zip(values.par_chunks(len).zip(gradient.par_chunks(len)))
        .map(|(out, (values, gradient))| {
            let mut sums = vec![0.0; 2 * channels];
            let (plain, centred) = sums.split_at_mut(channels);
            let run = match activation {
                Activation::Identity => sums_identity,
                Activation::Relu => sums_relu,
                Activation::Relu6 => sums_relu6,
                Activation::Hardswish => sums_hardswish,
                Activation::Silu => sums_silu,
                other => unreachable!("no kernel computes {other:?}"),
            };
            run(
                isa, values, gradient, &scale, &shift, mean, out, plain, centred,
            );
            sums
        })
        .collect();
    let mut sums = vec![0.0f64; 2 * channels];
    for block in &blocks {
        sums.iter_mut()
            .zip(block)
            .for_each(|(total, &part)| *total += f64::from(part));
    }
    let (plain, centred) = sums.split_at(channels);
    let rows = (values.len() / channels) as f64;
    let weight_gradient: Vec<f32> = (0..channels)
        .map(|c| (centred[c] * f64::from(inverse_std[c])) as f32)
        .collect();
    // d values = scale * (d - sum(d) / rows - (x - mean) * inverse_std² * sum(d * (x - mean)) / rows)
    //          = scale * d + slope * x + offset
    let mut slope = vec![0.0; channels];
    let mut offset = vec![0.0; channels];
    for c in 0..channels {
        let (scale, std) = (f64::from(scale[c]), f64::from(inverse_std[c]));
        let per_value = -scale * std * std * centred[c] / rows;
        slope[c] = per_value as f32;
        offset[c] = (-scale * plain[c] / rows - per_value * f64::from(mean[c])) as f32;
    }
    result
        .par_chunks_mut(len)
        .zip(values.par_chunks(len))
        .for_each(|(out, values)| {
            finish(isa, values, &scale, &slope, &offset, out);
        });
    Gradients {
        values: result,
        weight: weight_gradient,
        bias: plain.iter().map(|&sum| sum as f32).collect(),
    }
}

/// Scale and shift of each channel, equivalent to a normalisation:
/// `(x - mean) * inverse_std * weight + bias = x * scale + shift`.
pub fn scale_and_shift(
    mean: &[f32],
    inverse_std: &[f32],
    weight: &[f32],
    bias: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> = inverse_std
        .iter()
        .zip(weight)
        .map(|(std, weight)| std * weight)
        .collect();
    let shift = scale
        .iter()
        .zip(mean)
        .zip(bias)
        .map(|((s, m), b)| b - m * s)
        .collect();
    (scale, shift)
}

fn assert_rows(channels: usize, values: &[f32]) {
    assert!(
        channels > 0 && !values.is_empty() && values.len().is_multiple_of(channels),
        "{} numbers are not rows of {channels} channels",
        values.len()
    );
}

dispatch!(block_moments(block: &[f32], mean: &mut [f32], squares: &mut [f32])
    => block_moments_kernel);
dispatch!(finish(values: &[f32], scale: &[f32], slope: &[f32], offset: &[f32], out: &mut [f32])
    => finish_kernel);

#[inline(always)]
fn block_moments_kernel<const FMA: bool>(block: &[f32], mean: &mut [f32], squares: &mut [f32]) {
    let channels = mean.len();
    for row in block.chunks_exact(channels) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value);
    }
    let share = channels as f32 / block.len() as f32;
    mean.iter_mut().for_each(|sum| *sum *= share);
    for row in block.chunks_exact(channels) {
        for ((sum, value), mean) in squares.iter_mut().zip(row).zip(&*mean) {
            let distance = value - mean;
            *sum = multiply_add::<FMA>(distance, distance, *sum);
        }
    }
}

#[inline(always)]
fn finish_kernel<const FMA: bool>(
    values: &[f32],
    scale: &[f32],
    slope: &[f32],
    offset: &[f32],
    out: &mut [f32],
) {
    let channels = scale.len();
    for (out, values) in out
        .chunks_exact_mut(channels)
        .zip(values.chunks_exact(channels))
    {
        let (scale, slope, offset) = (&scale[..channels], &slope[..channels], &offset[..channels]);
        for c in 0..channels {
            let rest = multiply_add::<FMA>(values[c], slope[c], offset[c]);
            out[c] = multiply_add::<FMA>(out[c], scale[c], rest);
        }
    }
}

/// Defines the forward and backward kernels of one activation from its function and its derivative.
macro_rules! activation_kernels {
    ($apply:ident, $apply_kernel:ident, $sums:ident, $sums_kernel:ident, $value:expr, $slope:expr) => {
        dispatch!($apply(values: &[f32], scale: &[f32], shift: &[f32], output: &mut [f32])
            => $apply_kernel);
        dispatch!($sums(values: &[f32], gradient: &[f32], scale: &[f32], shift: &[f32],
            mean: &[f32], out: &mut [f32], plain: &mut [f32], centred: &mut [f32])
            => $sums_kernel);

        #[inline(always)]
        fn $apply_kernel<const FMA: bool>(
            values: &[f32],
            scale: &[f32],
            shift: &[f32],
            output: &mut [f32],
        ) {
            let channels = scale.len();
            let rows = output.chunks_exact_mut(channels).zip(values.chunks_exact(channels));
            for (output, values) in rows {
                for (((output, value), scale), shift) in
                    output.iter_mut().zip(values).zip(scale).zip(shift)
                {
                    *output = ($value)(multiply_add::<FMA>(*value, *scale, *shift));
                }
            }
        }

        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
        fn $sums_kernel<const FMA: bool>(
            values: &[f32],
            gradient: &[f32],
            scale: &[f32],
            shift: &[f32],
            mean: &[f32],
            out: &mut [f32],
            plain: &mut [f32],
            centred: &mut [f32],
        ) {
            let channels = scale.len();
            let (shift, mean) = (&shift[..channels], &mean[..channels]);
            let (plain, centred) = (&mut plain[..channels], &mut centred[..channels]);
            let inputs = values.chunks_exact(channels).zip(gradient.chunks_exact(channels));
            for (out, (values, gradient)) in out.chunks_exact_mut(channels).zip(inputs) {
                for c in 0..channels {
                    let before = multiply_add::<FMA>(values[c], scale[c], shift[c]);
                    let through = gradient[c] * $slope(before);
                    out[c] = through;
                    plain[c] += through;
                    centred[c] = multiply_add::<FMA>(through, values[c] - mean[c], centred[c]);
                }
            }
        }
    };
}

activation_kernels!(
    apply_identity,
    apply_identity_kernel,
    sums_identity,
    sums_identity_kernel,
    |x: f32| x,
    |_: f32| 1.0f32
);
activation_kernels!(
    apply_relu,
    apply_relu_kernel,
    sums_relu,
    sums_relu_kernel,
    |x: f32| if x < 0.0 { 0.0 } else { x }, // keeps NaN, unlike `max`
    |x: f32| if x > 0.0 { 1.0f32 } else { 0.0 }
);
activation_kernels!(
    apply_relu6,
    apply_relu6_kernel,
    sums_relu6,
    sums_relu6_kernel,
    |x: f32| x.clamp(0.0, 6.0),
    |x: f32| if x > 0.0 && x < 6.0 { 1.0f32 } else { 0.0 }
);
activation_kernels!(
    apply_hardswish,
    apply_hardswish_kernel,
    sums_hardswish,
    sums_hardswish_kernel,
    |x: f32| x * (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0),
    |x: f32| if x <= -3.0 {
        0.0f32
    } else if x < 3.0 {
        x / 3.0 + 0.5
    } else {
        1.0
    }
);
activation_kernels!(
    apply_silu,
    apply_silu_kernel,
    sums_silu,
    sums_silu_kernel,
    |x: f32| x * sigmoid::<FMA>(x),
    |x: f32| silu_slope::<FMA>(x)
);
