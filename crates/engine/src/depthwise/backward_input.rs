//! The gradient of a depthwise convolution's input.

use rayon::prelude::*;

use super::lanes::{accumulate, for_channel_blocks, load};
use super::{Geometry, forward};
use crate::isa::{Isa, dispatch};

/// Computes the gradient of the input. `input_gradient` is overwritten.
///
/// # Panics
/// If a slice length does not match `geometry`.
pub fn backward_input(
    isa: Isa,
    geometry: Geometry,
    output_gradient: &[f32],
    weights: &[f32],
    input_gradient: &mut [f32],
) {
    geometry.assert_kernel();
    assert_eq!(
        output_gradient.len(),
        geometry.output_len(),
        "output gradient of {geometry:?}"
    );
    assert_eq!(
        weights.len(),
        geometry.weight_len(),
        "weights of {geometry:?}"
    );
    assert_eq!(
        input_gradient.len(),
        geometry.input_len(),
        "input gradient of {geometry:?}"
    );
    if geometry.stride == 1 {
        // At stride 1 the gradient is the same convolution with the kernel reversed.
        let flipped: Vec<f32> = weights
            .chunks_exact(geometry.channels)
            .rev()
            .flatten()
            .copied()
            .collect();
        return forward(isa, geometry, output_gradient, &flipped, input_gradient);
    }
    let image = geometry.out_height() * geometry.out_width() * geometry.channels;
    input_gradient
        .par_chunks_mut(geometry.width * geometry.channels)
        .enumerate()
        .for_each(|(index, row)| {
            let (n, in_row) = (index / geometry.height, index % geometry.height);
            let gradient = &output_gradient[n * image..][..image];
            backward_input_row(isa, geometry, in_row, gradient, weights, row);
        });
}

dispatch!(backward_input_row(geometry: Geometry, in_row: usize, output_gradient: &[f32],
    weights: &[f32], input_gradient: &mut [f32]) => backward_input_row_kernel);

#[inline(always)]
fn backward_input_row_kernel<const FMA: bool>(
    geometry: Geometry,
    in_row: usize,
    output_gradient: &[f32],
    weights: &[f32],
    input_gradient: &mut [f32],
) {
    for_channel_blocks!(geometry.channels, |at, LANES| {
        for column in 0..geometry.width {
            let sum = gather::<FMA, LANES>(geometry, in_row, column, at, output_gradient, weights);
            input_gradient[column * geometry.channels + at..][..LANES].copy_from_slice(&sum);
        }
    });
}

/// The gradient of one input pixel. It is a sum over the output pixels that read this input: the
/// gradient of each, multiplied by its weight.
#[inline(always)]
fn gather<const FMA: bool, const L: usize>(
    geometry: Geometry,
    in_row: usize,
    column: usize,
    at: usize,
    output_gradient: &[f32],
    weights: &[f32],
) -> [f32; L] {
    let Geometry {
        channels,
        kernel,
        stride,
        ..
    } = geometry;
    let (out_height, out_width) = (geometry.out_height(), geometry.out_width());
    let below = in_row + geometry.before(geometry.height);
    let behind = column + geometry.before(geometry.width);
    // The kernel positions that read this input pixel are one stride apart. This is the first.
    let (first_row, first_column) = (below % stride, behind % stride);
    let mut sum = [0.0; L];
    for tap_row in (first_row..kernel).step_by(stride) {
        let Some(out_row) = below.checked_sub(tap_row) else {
            break;
        };
        let out_row = out_row / stride;
        if out_row >= out_height {
            continue;
        }
        for tap_column in (first_column..kernel).step_by(stride) {
            let Some(out) = behind.checked_sub(tap_column) else {
                break;
            };
            let out = out / stride;
            if out >= out_width {
                continue;
            }
            let weight: [f32; L] = load(weights, (tap_row * kernel + tap_column) * channels + at);
            let value: [f32; L] =
                load(output_gradient, (out_row * out_width + out) * channels + at);
            accumulate::<FMA, L>(&mut sum, &weight, &value);
        }
    }
    sum
}
