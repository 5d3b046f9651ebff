//! The gradient of a depthwise convolution's weights.

use rayon::prelude::*;

use super::Geometry;
use super::lanes::{accumulate, for_channel_blocks, load};
use crate::isa::{Isa, dispatch};

/// Maximum number of partial sums of a weight gradient. Fixed, so that the result does not depend
/// on the number of threads.
const PARTIAL_SUMS: usize = 16;

/// Computes the gradient of the weights. `weight_gradient` is overwritten.
///
/// # Panics
/// If a slice length does not match `geometry`.
pub fn backward_weights(
    isa: Isa,
    geometry: Geometry,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    geometry.assert_kernel();
    assert_eq!(input.len(), geometry.input_len(), "input of {geometry:?}");
    assert_eq!(
        output_gradient.len(),
        geometry.output_len(),
        "output gradient of {geometry:?}"
    );
    assert_eq!(
        weight_gradient.len(),
        geometry.weight_len(),
        "weight gradient of {geometry:?}"
    );
    let rows = geometry.out_height();
    let row_len = geometry.out_width() * geometry.channels;
    let image = geometry.height * geometry.width * geometry.channels;
    let rows_per_sum = (geometry.batch * rows).div_ceil(PARTIAL_SUMS).max(1);
    let sums: Vec<Vec<f32>> = output_gradient
        .par_chunks(rows_per_sum * row_len)
        .enumerate()
        .map(|(chunk, gradient)| {
            let mut sum = vec![0.0; geometry.weight_len()];
            for (offset, row) in gradient.chunks_exact(row_len).enumerate() {
                let index = chunk * rows_per_sum + offset;
                let (n, out_row) = (index / rows, index % rows);
                let input = &input[n * image..][..image];
                backward_weights_row(isa, geometry, out_row, input, row, &mut sum);
            }
            sum
        })
        .collect();
    weight_gradient.fill(0.0);
    for sum in &sums {
        weight_gradient
            .iter_mut()
            .zip(sum)
            .for_each(|(total, part)| *total += part);
    }
}

dispatch!(backward_weights_row(geometry: Geometry, out_row: usize, input: &[f32],
    output_gradient: &[f32], sum: &mut [f32]) => backward_weights_row_kernel);

#[inline(always)]
fn backward_weights_row_kernel<const FMA: bool>(
    geometry: Geometry,
    out_row: usize,
    input: &[f32],
    output_gradient: &[f32],
    sum: &mut [f32],
) {
    for_channel_blocks!(geometry.channels, |at, LANES| match geometry.kernel {
        3 => weights_block::<FMA, LANES, 3>(geometry, out_row, at, input, output_gradient, sum),
        5 => weights_block::<FMA, LANES, 5>(geometry, out_row, at, input, output_gradient, sum),
        _ => weights_block::<FMA, LANES, 1>(geometry, out_row, at, input, output_gradient, sum),
    });
}

/// The contribution of one row to the weight gradient of `L` channels, `TAPS` kernel columns at a
/// time.
#[inline(always)]
fn weights_block<const FMA: bool, const L: usize, const TAPS: usize>(
    geometry: Geometry,
    out_row: usize,
    at: usize,
    input: &[f32],
    output_gradient: &[f32],
    sum: &mut [f32],
) {
    let Geometry {
        width,
        channels,
        kernel,
        stride,
        ..
    } = geometry;
    let (above, left) = (geometry.before(geometry.height), geometry.before(width));
    let (lo, hi) = geometry.interior();
    let rows = geometry.taps(out_row, geometry.height);
    for tap_row in rows.0..rows.1 {
        let row = (out_row * stride + tap_row - above) * width;
        for group in (0..kernel).step_by(TAPS) {
            let mut sums = [[0.0; L]; TAPS];
            for out in (0..lo).chain(hi..geometry.out_width()) {
                let gradient: [f32; L] = load(output_gradient, out * channels + at);
                let taps = geometry.taps(out, width);
                for (tap, sum) in (group..group + TAPS).zip(sums.iter_mut()) {
                    if (taps.0..taps.1).contains(&tap) {
                        let pixel = row + out * stride + tap - left;
                        accumulate::<FMA, L>(sum, &gradient, &load(input, pixel * channels + at));
                    }
                }
            }
            for out in lo..hi {
                let gradient: [f32; L] = load(output_gradient, out * channels + at);
                let first = row + out * stride + group - left;
                for (tap, sum) in sums.iter_mut().enumerate() {
                    accumulate::<FMA, L>(
                        sum,
                        &gradient,
                        &load(input, (first + tap) * channels + at),
                    );
                }
            }
            for (tap, part) in sums.iter().enumerate() {
                let total = &mut sum[(tap_row * kernel + group + tap) * channels + at..][..L];
                total
                    .iter_mut()
                    .zip(part)
                    .for_each(|(total, part)| *total += part);
            }
        }
    }
}
