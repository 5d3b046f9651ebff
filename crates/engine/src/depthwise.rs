//! Depthwise convolution, channels last: forward and both gradients.
//!
//! Images are `[n, h, w, c]`, weights `[k * k, c]` (tap by tap, so that the
//! channels of one tap lie side by side), padding is `(k - 1) / 2` on every
//! side. The kernels walk blocks of 16 channels and keep the sums of a few
//! pixels in registers; what is left of the channels goes in blocks of 8 and 1.
//! Same numbers as `torch.nn.functional.conv2d(groups=c)` and its gradients.

use rayon::prelude::*;

use crate::isa::{Isa, dispatch, multiply_add};

/// The sizes of one depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images in the batch.
    pub batch: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Channels, the same in and out.
    pub channels: usize,
    /// Side of the square kernel; odd.
    pub kernel: usize,
    /// Step between output pixels, in input pixels.
    pub stride: usize,
}

impl Geometry {
    /// Zero rows or columns assumed on each side of the input.
    pub fn padding(&self) -> usize {
        (self.kernel - 1) / 2
    }

    /// Output rows.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding() - self.kernel) / self.stride + 1
    }

    /// Output columns.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding() - self.kernel) / self.stride + 1
    }

    /// Numbers in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.channels
    }

    /// Numbers in the weights.
    pub fn weight_len(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    /// The taps `lo..hi` of output position `out` that fall inside `len` input positions.
    #[inline(always)]
    fn taps(&self, out: usize, len: usize) -> (usize, usize) {
        let start = out * self.stride;
        let lo = self.padding().saturating_sub(start);
        let hi = (len + self.padding())
            .saturating_sub(start)
            .min(self.kernel);
        (lo.min(hi), hi)
    }

    /// The output columns whose every tap lies inside the input.
    #[inline(always)]
    fn interior(&self) -> (usize, usize) {
        let (pad, out) = (self.padding(), self.out_width());
        let lo = pad.div_ceil(self.stride).min(out);
        let last = (self.width + pad).checked_sub(self.kernel);
        let hi = last.map_or(0, |last| last / self.stride + 1).min(out);
        (lo, hi.max(lo))
    }

    fn assert_kernel(&self) {
        assert!(
            self.kernel % 2 == 1 && self.stride > 0,
            "{self:?}: odd kernel, stride above 0"
        );
    }
}

/// `output = conv(input, weights)`; `output` is overwritten.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
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

/// The gradient of the input: `input_gradient` is overwritten.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
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
        // At stride 1 the gradient is the same convolution with the taps in reverse order.
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

/// Most partial sums a weight gradient is gathered in. Fixed, so that the
/// result does not depend on the number of threads.
const PARTIAL_SUMS: usize = 16;

/// The gradient of the weights: `weight_gradient` is overwritten.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
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

dispatch!(forward_row(geometry: Geometry, out_row: usize, input: &[f32], weights: &[f32],
    output: &mut [f32]) => forward_row_kernel);
dispatch!(backward_input_row(geometry: Geometry, in_row: usize, output_gradient: &[f32],
    weights: &[f32], input_gradient: &mut [f32]) => backward_input_row_kernel);
dispatch!(backward_weights_row(geometry: Geometry, out_row: usize, input: &[f32],
    output_gradient: &[f32], sum: &mut [f32]) => backward_weights_row_kernel);

/// Runs `$body` with `$lanes` as a constant over blocks of 16, 8 and 1 channels.
macro_rules! for_channel_blocks {
    ($channels:expr, |$at:ident, $lanes:ident| $body:expr) => {{
        let mut $at = 0;
        for_channel_blocks!(@ 16, $channels, $at, $lanes, $body);
        for_channel_blocks!(@ 8, $channels, $at, $lanes, $body);
        for_channel_blocks!(@ 1, $channels, $at, $lanes, $body);
    }};
    (@ $count:literal, $channels:expr, $at:ident, $lanes:ident, $body:expr) => {{
        const $lanes: usize = $count;
        while $at + $lanes <= $channels {
            $body;
            $at += $lanes;
        }
    }};
}

#[inline(always)]
fn load<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    let mut lanes = [0.0; L];
    lanes.copy_from_slice(&values[at..at + L]);
    lanes
}

#[inline(always)]
fn accumulate<const FMA: bool, const L: usize>(sum: &mut [f32; L], a: &[f32; L], b: &[f32; L]) {
    for lane in 0..L {
        sum[lane] = multiply_add::<FMA>(a[lane], b[lane], sum[lane]);
    }
}

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
#[allow(clippy::too_many_arguments, reason = "a kernel's operands are many")]
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
    let padding = geometry.padding();
    let rows = geometry.taps(out_row, geometry.height);
    let mut sums = [[0.0; L]; PIXELS];
    for tap_row in rows.0..rows.1 {
        let row = (out_row * stride + tap_row - padding) * width;
        for tap_column in columns.0..columns.1 {
            let weight: [f32; L] = load(weights, (tap_row * kernel + tap_column) * channels + at);
            let first = row + out * stride + tap_column - padding;
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

/// The gradient of one input pixel: every output pixel that read it, times the tap it was read with.
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
    // Taps that reach an input position are one stride apart, starting here.
    let first_row = (in_row + geometry.padding()) % stride;
    let first_column = (column + geometry.padding()) % stride;
    let mut sum = [0.0; L];
    for tap_row in (first_row..kernel).step_by(stride) {
        let Some(out_row) = (in_row + geometry.padding()).checked_sub(tap_row) else {
            break;
        };
        let out_row = out_row / stride;
        if out_row >= out_height {
            continue;
        }
        for tap_column in (first_column..kernel).step_by(stride) {
            let Some(out) = (column + geometry.padding()).checked_sub(tap_column) else {
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

/// One row's share of the weight gradient for `L` channels, `TAPS` columns of the kernel at a time.
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
    let padding = geometry.padding();
    let (lo, hi) = geometry.interior();
    let rows = geometry.taps(out_row, geometry.height);
    for tap_row in rows.0..rows.1 {
        let row = (out_row * stride + tap_row - padding) * width;
        for group in (0..kernel).step_by(TAPS) {
            let mut sums = [[0.0; L]; TAPS];
            for out in (0..lo).chain(hi..geometry.out_width()) {
                let gradient: [f32; L] = load(output_gradient, out * channels + at);
                let taps = geometry.taps(out, width);
                for (tap, sum) in (group..group + TAPS).zip(sums.iter_mut()) {
                    if (taps.0..taps.1).contains(&tap) {
                        let pixel = row + out * stride + tap - padding;
                        accumulate::<FMA, L>(sum, &gradient, &load(input, pixel * channels + at));
                    }
                }
            }
            for out in lo..hi {
                let gradient: [f32; L] = load(output_gradient, out * channels + at);
                let first = row + out * stride + group - padding;
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
