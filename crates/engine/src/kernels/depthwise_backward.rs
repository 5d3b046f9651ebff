//! The backward pass of a depthwise convolution, for one plane of 16 channels, image by image. It
//! computes the gradients of input and weights together.
//!
//! The gradient of the convolution's output is computed row by row, from the gradient of the
//! normalised output, and stored in a ring buffer. Each value that a tile loads from this buffer is
//! used for both results. While the tile is in registers, the derivative of the activation before
//! the convolution is applied, and the sums for the normalisation before that activation are
//! computed.

use std::mem::MaybeUninit;

use super::activation::{activate, derive, for_short_activation, silu_with_slopes};
use super::depthwise_forward::{MARGIN, RING_ROWS, clear_margins, ring_stride};
use super::{Affine, NormBackward, Sums, entry};
use crate::memory::{Dst, Src};
use crate::simd::{LANES, Simd};
use crate::spec::{Activation, Zeros};

/// Operands of [`depthwise_backward`].
#[derive(Clone, Copy)]
pub(crate) struct DepthwiseBackward {
    pub(crate) images: usize,
    /// Height of the input.
    pub(crate) height: usize,
    /// Width of the input.
    pub(crate) width: usize,
    /// 3 or 5.
    pub(crate) kernel: usize,
    /// 1 or 2.
    pub(crate) stride: usize,
    /// Padding: half the kernel, or at stride 2 possibly one less.
    pub(crate) zeros: Zeros,
    /// The convolution's input before `norm` and `activation`, `[images][height][width][16]`.
    pub(crate) source: Src,
    pub(crate) norm: Option<Affine>,
    pub(crate) activation: Activation,
    /// Weights, `[kernel * kernel][16]`.
    pub(crate) taps: Src,
    /// The gradient of the normalised output, in the shape of the output.
    pub(crate) d: Src,
    /// The output of the convolution.
    pub(crate) z: Src,
    /// Coefficients that convert `d` and `z` to the gradient of the output.
    pub(crate) output_norm: NormBackward,
    /// Added to the gradient of the input; has the shape of the input.
    pub(crate) residual: Option<Src>,
    /// Receives the gradient of the input before the activation, in the shape of the input.
    pub(crate) target: Dst,
    /// Whether stores to the target bypass the caches.
    pub(crate) stream: bool,
    /// The gradient of the weights, `[kernel * kernel][16]`, is added to this.
    pub(crate) taps_gradient: Dst,
    /// Scratch memory for the ring buffer, [`super::ring_length`] values long.
    pub(crate) ring: Dst,
}

entry! {
    /// Adds the sums for the normalisation of the input to `sums` at channel `at`.
    ///
    /// # Safety
    /// See the operands.
    fn depthwise_backward(operands: &DepthwiseBackward, sums: &mut Sums, at: usize)
        => depthwise_backward_kernel
}

#[inline(always)]
unsafe fn depthwise_backward_kernel<S: Simd>(
    s: S,
    operands: &DepthwiseBackward,
    sums: &mut Sums,
    at: usize,
) {
    clear_margins(operands.ring, operands.width.div_ceil(operands.stride));
    match (operands.kernel, operands.stride, operands.zeros.left) {
        (3, 1, _) => images::<S, 3, 1, 1>(s, operands, sums, at),
        (3, _, 1) => images::<S, 3, 2, 1>(s, operands, sums, at),
        (3, _, _) => images::<S, 3, 2, 0>(s, operands, sums, at),
        (_, 1, _) => images::<S, 5, 1, 2>(s, operands, sums, at),
        (_, _, 2) => images::<S, 5, 2, 2>(s, operands, sums, at),
        _ => images::<S, 5, 2, 1>(s, operands, sums, at),
    }
    s.settle();
}

/// A row of the input, and the output rows that it contributes to.
struct Row<'a> {
    /// For each kernel row, the output row that it contributes to, if any.
    gradients: [Option<Src>; 5],
    source: Src,
    residual: Option<Src>,
    target: Dst,
    operands: &'a DepthwiseBackward,
}

/// `LEFT` is the left padding. It is a constant because it determines which weights meet which
/// columns.
#[inline(always)]
unsafe fn images<S: Simd, const K: usize, const STRIDE: usize, const LEFT: usize>(
    s: S,
    o: &DepthwiseBackward,
    sums: &mut Sums,
    at: usize,
) {
    let (height, width, Zeros { above, .. }) = (o.height, o.width, o.zeros);
    let (rows, columns) = (height.div_ceil(STRIDE), width.div_ceil(STRIDE));
    let ring_row = |row: usize| o.ring.at(row % RING_ROWS * ring_stride(columns));
    for image in 0..o.images {
        let input = image * height * width;
        let output = image * rows * columns;
        let mut totals = [s.zero(); 2];
        let mut next = 0;
        for y in 0..height {
            while next < ((y + above) / STRIDE + 1).min(rows) {
                let from = output + next * columns;
                fill_row(s, o, from, columns, ring_row(next).at(MARGIN * LANES));
                next += 1;
            }
            let mut gradients = [None; 5];
            for (tap, gradient) in gradients.iter_mut().enumerate().take(K) {
                let below = y + above;
                if below >= tap
                    && (below - tap).is_multiple_of(STRIDE)
                    && (below - tap) / STRIDE < rows
                {
                    *gradient = Some(ring_row((below - tap) / STRIDE).src());
                }
            }
            let from = (input + y * width) * S::PIXEL;
            let row = Row {
                gradients,
                source: o.source.at(from),
                residual: o.residual.map(
                    #[inline(always)]
                    |residual| residual.at(from),
                ),
                target: o.target.at(from),
                operands: o,
            };
            // Each row is summed separately first, so that rounding errors do not grow with the
            // image.
            let mut row_totals = [s.zero(); 2];
            if STRIDE == 1 {
                row_of_tiles::<S, K, LEFT>(s, &row, width, &mut row_totals);
            } else {
                row_of_pairs::<S, K, LEFT>(s, &row, width, &mut row_totals);
            }
            for (total, row_total) in totals.iter_mut().zip(row_totals) {
                *total = s.add(*total, row_total);
            }
        }
        sums.add(s, at, totals[0], totals[1]);
    }
}

#[inline(always)]
unsafe fn fill_row<S: Simd>(s: S, o: &DepthwiseBackward, from: usize, columns: usize, target: Dst) {
    let norm = o.output_norm.at(s, 0);
    for x in 0..columns {
        let (d, z) = (s.load_pixel(o.d, from + x), s.load_pixel(o.z, from + x));
        s.store(target, x * LANES, norm.combine(s, d, z));
    }
}

#[inline(always)]
unsafe fn row_of_tiles<S: Simd, const K: usize, const LEFT: usize>(
    s: S,
    row: &Row<'_>,
    width: usize,
    totals: &mut [S::Vector; 2],
) {
    let mut x = 0;
    if S::COLUMNS >= 8 && width.is_multiple_of(7) {
        while x < width {
            tile::<S, K, 1, LEFT, 7, 1>(s, row, x, totals);
            x += 7;
        }
    }
    while S::COLUMNS >= 8 && x + 8 <= width {
        tile::<S, K, 1, LEFT, 8, 1>(s, row, x, totals);
        x += 8;
    }
    while S::COLUMNS >= 4 && x + 4 <= width {
        tile::<S, K, 1, LEFT, 4, 1>(s, row, x, totals);
        x += 4;
    }
    while x + 2 <= width {
        tile::<S, K, 1, LEFT, 2, 1>(s, row, x, totals);
        x += 2;
    }
    while x < width {
        tile::<S, K, 1, LEFT, 1, 1>(s, row, x, totals);
        x += 1;
    }
}

/// With stride 2, even and odd columns use different weights, so a tile consists of pairs.
#[inline(always)]
unsafe fn row_of_pairs<S: Simd, const K: usize, const LEFT: usize>(
    s: S,
    row: &Row<'_>,
    width: usize,
    totals: &mut [S::Vector; 2],
) {
    let (mut x, pairs) = (0, width / 2);
    while S::COLUMNS >= 8 && x + 4 <= pairs {
        tile::<S, K, 2, LEFT, 4, 2>(s, row, x, totals);
        x += 4;
    }
    while S::COLUMNS >= 4 && x + 2 <= pairs {
        tile::<S, K, 2, LEFT, 2, 2>(s, row, x, totals);
        x += 2;
    }
    while x < pairs {
        tile::<S, K, 2, LEFT, 1, 2>(s, row, x, totals);
        x += 1;
    }
    if width % 2 == 1 {
        tile::<S, K, 2, LEFT, 1, 1>(s, row, x, totals);
    }
}

/// `WIDTH` times `PHASES` columns of the input, starting at column `x * STRIDE`.
#[inline(always)]
unsafe fn tile<
    S: Simd,
    const K: usize,
    const STRIDE: usize,
    const LEFT: usize,
    const WIDTH: usize,
    const PHASES: usize,
>(
    s: S,
    row: &Row<'_>,
    x: usize,
    totals: &mut [S::Vector; 2],
) {
    let o = row.operands;
    let (scale, shift) = match o.norm {
        Some(norm) => norm.at(s, 0),
        None => (s.splat(1.0), s.zero()),
    };
    let place = |column: usize, phase: usize| (x + column) * STRIDE + phase;
    let mut inputs = [[s.zero(); PHASES]; WIDTH];
    let mut sums = [[s.zero(); PHASES]; WIDTH];
    // SiLU and its slope share most of their work, so the slopes are kept until the gradients are known. The loops of
    // the identity do the rest.
    let mut slopes = MaybeUninit::<[[S::Vector; PHASES]; WIDTH]>::uninit();
    let activation = match o.activation {
        Activation::Silu => Activation::Identity,
        short => short,
    };
    for_short_activation!(activation, A => for (column, inputs) in inputs.iter_mut().enumerate() {
        for (phase, input) in inputs.iter_mut().enumerate() {
            let y = s.mul_add(s.load_pixel(row.source, place(column, phase)), scale, shift);
            *input = activate::<S, A>(s, y);
        }
    });
    if o.activation == Activation::Silu {
        // A copy, so that tiles with other activations stay in registers.
        let mut values = inputs;
        silu_with_slopes(s, values.as_flattened_mut(), slopes.as_mut_ptr().cast());
        inputs = values;
    }
    for tap_row in 0..K {
        let Some(gradient) = row.gradients[tap_row] else {
            continue;
        };
        let taps = KernelRow {
            row: tap_row,
            gradient: gradient.at(x * LANES),
            operands: o,
        };
        taps.add::<S, K, STRIDE, LEFT, WIDTH, PHASES, 0>(s, &inputs, &mut sums);
        taps.add::<S, K, STRIDE, LEFT, WIDTH, PHASES, 1>(s, &inputs, &mut sums);
        taps.add::<S, K, STRIDE, LEFT, WIDTH, PHASES, 2>(s, &inputs, &mut sums);
        if K > 3 {
            taps.add::<S, K, STRIDE, LEFT, WIDTH, PHASES, 3>(s, &inputs, &mut sums);
            taps.add::<S, K, STRIDE, LEFT, WIDTH, PHASES, 4>(s, &inputs, &mut sums);
        }
    }
    if o.activation == Activation::Silu {
        let slopes = slopes.assume_init_ref();
        for (sums, slopes) in sums.iter_mut().zip(slopes) {
            for (sum, slope) in sums.iter_mut().zip(slopes) {
                *sum = s.mul(*sum, *slope);
            }
        }
    }
    for_short_activation!(activation, A => for (column, sums) in sums.iter().enumerate() {
        for (phase, &sum) in sums.iter().enumerate() {
            let at = place(column, phase);
            let value = s.load_pixel(row.source, at);
            let mut gradient = derive::<S, A>(s, s.mul_add(value, scale, shift), sum);
            if let Some(residual) = row.residual {
                gradient = s.add(gradient, s.load_pixel(residual, at));
            }
            if o.stream {
                s.stream_pixel(row.target, at, gradient);
            } else {
                s.store_pixel(row.target, at, gradient);
            }
            totals[0] = s.add(totals[0], gradient);
            totals[1] = s.mul_add(gradient, value, totals[1]);
        }
    });
}

/// A kernel row, and the output row that it contributes to.
struct KernelRow<'a> {
    row: usize,
    gradient: Src,
    operands: &'a DepthwiseBackward,
}

impl KernelRow<'_> {
    /// Adds weight `TAP`'s contribution to the tile's sums, and the tile's contribution to the
    /// gradient of that weight. `TAP` is a constant so that the sums stay in registers.
    #[inline(always)]
    unsafe fn add<
        S: Simd,
        const K: usize,
        const STRIDE: usize,
        const LEFT: usize,
        const WIDTH: usize,
        const PHASES: usize,
        const TAP: usize,
    >(
        &self,
        s: S,
        inputs: &[[S::Vector; PHASES]; WIDTH],
        sums: &mut [[S::Vector; PHASES]; WIDTH],
    ) {
        let at = (self.row * K + TAP) * LANES;
        let weight = s.load(self.operands.taps, at);
        let mut weight_gradient = s.load(self.operands.taps_gradient.src(), at);
        for phase in 0..PHASES {
            // For this weight, input column `c` contributes to output column (c + LEFT - TAP) /
            // STRIDE, if that is a whole number.
            let shift = phase + LEFT + STRIDE * MARGIN - TAP;
            if !shift.is_multiple_of(STRIDE) {
                continue;
            }
            for column in 0..WIDTH {
                let d = s.load(self.gradient, (column + shift / STRIDE) * LANES);
                sums[column][phase] = s.mul_add(d, weight, sums[column][phase]);
                weight_gradient = s.mul_add(d, inputs[column][phase], weight_gradient);
            }
        }
        s.store(self.operands.taps_gradient, at, weight_gradient);
    }
}
