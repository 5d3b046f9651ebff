//! The forward pass of a depthwise convolution.

use rayon::prelude::*;

use super::Geometry;
use super::lanes::{accumulate, for_channel_blocks, load};
use crate::isa::{Isa, dispatch};

/// `output = conv(input, weights)`; `output` is overwritten.
///
/// # Panics
/// If a slice length does not match `geometry`.
pub fn forward(isa: Isa, geometry: Geometry, input: &[f32], weights: &[f32], output: &mut [f32]) {
    geometry.assert_kernel();
    assert_eq!(input.len(), geometry.input_len(), "input of {geometry:?}");
    assert_eq!(
        weights.len(),
        geometry.weight_len(),
        "weights of {geometry:?}"
    );
    assert_eq!(
        output.len(),
        geometry.output_len(),
        "output of {geometry:?}"
    );
    let rows = geometry.out_height();
    let image = geometry.height * geometry.width * geometry.channels;
    output
        .par_chunks_mut(geometry.out_width() * geometry.channels)
        .enumerate()
        .for_each(|(index, row)| {
            let (n, out_row) = (index / rows, index % rows);
            forward_row(
                isa,
                geometry,
                out_row,
                &input[n * image..][..image],
                weights,
                row,
            );
        });
}

dispatch!(forward_row(geometry: Geometry, out_row: usize, input: &[f32], weights: &[f32],
    output: &mut [f32]) => forward_row_kernel);

#[inline(always)]
fn forward_row_kernel<const FMA: bool>(
    geometry: Geometry,
    out_row: usize,
    input: &[f32],
    weights: &[f32],
    output: &mut [f32],
) {
    for_channel_blocks!(geometry.channels, |at, LANES| {
        forward_block::<FMA, LANES>(geometry, out_row, at, input, weights, output)
    });
}

#[inline(always)]
fn forward_block<const FMA: bool, const L: usize>(
    geometry: Geometry,
    out_row: usize,
    at: usize,
    input: &[f32],
    weights: &[f32],
    output: &mut [f32],
) {
    let (lo, hi) = geometry.interior();
    let edge = |out: usize, output: &mut [f32]| {
        let taps = geometry.taps(out, geometry.width);
        forward_pixels::<FMA, L, 1>(geometry, out_row, out, at, taps, input, weights, output);
    };
    (0..lo).for_each(|out| edge(out, output));
    let all = (0, geometry.kernel);
    let mut out = lo;
    while out + 4 <= hi {
        forward_pixels::<FMA, L, 4>(geometry, out_row, out, at, all, input, weights, output);
        out += 4;
    }
    while out < hi {
        forward_pixels::<FMA, L, 1>(geometry, out_row, out, at, all, input, weights, output);
        out += 1;
    }
    (hi..geometry.out_width()).for_each(|out| edge(out, output));
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
fn forward_pixels<const FMA: bool, const L: usize, const PIXELS: usize>(
    geometry: Geometry,
    out_row: usize,
    out: usize,
    at: usize,
    columns: (usize, usize),
    input: &[f32],
    weights: &[f32],
    output: &mut [f32],
) {
    let Geometry {
        width,
        channels,
        kernel,
        stride,
        ..
    } = geometry;
    let (above, left) = (geometry.before(geometry.height), geometry.before(width));
    let rows = geometry.taps(out_row, geometry.height);
    let mut sums = [[0.0; L]; PIXELS];
    for tap_row in rows.0..rows.1 {
        let row = (out_row * stride + tap_row - above) * width;
        for tap_column in columns.0..columns.1 {
            let weight: [f32; L] = load(weights, (tap_row * kernel + tap_column) * channels + at);
            let first = row + out * stride + tap_column - left;
            for (pixel, sum) in sums.iter_mut().enumerate() {
                let value: [f32; L] = load(input, (first + pixel * stride) * channels + at);
                accumulate::<FMA, L>(sum, &weight, &value);
            }
        }
    }
    for (pixel, sum) in sums.iter().enumerate() {
        output[(out + pixel) * channels + at..][..L].copy_from_slice(sum);
    }
}
