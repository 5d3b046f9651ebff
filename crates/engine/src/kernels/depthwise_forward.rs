//! Depthwise convolution of one plane of 16 channels, image by image.
//!
//! The input is normalised and activated row by row. The rows are stored in a ring buffer with
//! zeros on the left and right. Tiles of up to 8 outputs of a row stay in registers while all
//! weights are applied. Kernel rows outside the image are skipped, which saves much time if the
//! image is as small as the kernel.

use std::ops::Range;

use super::activation::{activate, activate_tile, for_activation};
use super::image_rows::inside;
use super::{Affine, Sums, entry};
use crate::memory::{Dst, Src};
use crate::simd::{LANES, Simd};
use crate::spec::{Activation, Zeros};

/// Operands of [`depthwise_forward`].
#[derive(Clone, Copy)]
pub(crate) struct DepthwiseForward {
    pub(crate) images: usize,
    /// Height of the input.
    pub(crate) height: usize,
    /// Width of the input.
    pub(crate) width: usize,
    /// 3 or 5.
    pub(crate) kernel: usize,
    /// 1 or 2.
    pub(crate) stride: usize,
    /// Padding: at most half the kernel.
    pub(crate) zeros: Zeros,
    /// The input, `[images][height][width][16]`.
    pub(crate) source: Src,
    /// Normalisation of the input before the activation. Channel 0 is the first channel of this
    /// plane.
    pub(crate) norm: Option<Affine>,
    pub(crate) activation: Activation,
    /// Weights, `[kernel * kernel][16]`.
    pub(crate) taps: Src,
    /// The output, `[images][ceil(height / stride)][ceil(width / stride)][16]`.
    pub(crate) target: Dst,
    /// Whether stores to the target bypass the caches.
    pub(crate) stream: bool,
    /// Scratch memory for the ring buffer, [`ring_length`] values long.
    pub(crate) ring: Dst,
}

/// Number of rows in a ring buffer: a power of two that is at least the kernel's height.
pub(super) const RING_ROWS: usize = 8;
/// Number of columns of zeros on either side of a row. They cover half a kernel. On the right, they
/// also cover the columns that the last tile reads beyond the row.
pub(super) const MARGIN: usize = 2;
const RIGHT: usize = 10;

/// Distance in values from one row of a ring buffer to the next.
pub(super) fn ring_stride(width: usize) -> usize {
    (MARGIN + width + RIGHT) * LANES
}

/// Length in values of the ring buffer for images of this width.
pub(crate) fn ring_length(width: usize) -> usize {
    RING_ROWS * ring_stride(width)
}

/// Sets the margins of all rows to zero.
pub(super) unsafe fn clear_margins(ring: Dst, width: usize) {
    for row in 0..RING_ROWS {
        let row = ring.at(row * ring_stride(width));
        row.fill_zero(MARGIN * LANES);
        row.at((MARGIN + width) * LANES).fill_zero(RIGHT * LANES);
    }
}

entry! {
    /// Computes the outputs. Adds the outputs and their squares to `sums` at channel `at`.
    ///
    /// # Safety
    /// See the operands.
    fn depthwise_forward(operands: &DepthwiseForward, sums: &mut Sums, at: usize)
        => depthwise_forward_kernel
}

#[inline(always)]
unsafe fn depthwise_forward_kernel<S: Simd>(
    s: S,
    operands: &DepthwiseForward,
    sums: &mut Sums,
    at: usize,
) {
    clear_margins(operands.ring, operands.width);
    match (operands.kernel, operands.stride) {
        (3, 1) => images::<S, 3, 1>(s, operands, sums, at),
        (3, _) => images::<S, 3, 2>(s, operands, sums, at),
        (_, 1) => images::<S, 5, 1>(s, operands, sums, at),
        _ => images::<S, 5, 2>(s, operands, sums, at),
    }
    s.settle();
}

/// The input rows that one output row needs.
#[derive(Clone)]
pub(super) struct Seen {
    /// For each kernel row, its input row in the ring buffer, from the left padding on.
    inputs: [Src; 5],
    /// The kernel rows that fall inside the image.
    tap_rows: Range<usize>,
}

impl Seen {
    /// Finds the input rows for output row `y` in the ring buffer of an input of this width and
    /// height.
    #[inline(always)]
    pub(super) unsafe fn new<const K: usize, const STRIDE: usize>(
        ring: Src,
        width: usize,
        height: usize,
        y: usize,
        zeros: Zeros,
    ) -> Self {
        let tap_rows = inside(y, STRIDE, K, height, zeros.above);
        let mut inputs = [Src::none(); 5];
        for tap in tap_rows.clone() {
            let row = (y * STRIDE + tap - zeros.above) % RING_ROWS;
            // The margin is half the widest kernel.
            inputs[tap] = ring.at(row * ring_stride(width) + (MARGIN - zeros.left) * LANES);
        }
        Seen { inputs, tap_rows }
    }
}

/// A row of outputs of one plane, and its target.
pub(super) struct Row<S: Simd> {
    pub(super) seen: Seen,
    /// Columns of the output.
    pub(super) columns: usize,
    pub(super) taps: Src,
    pub(super) bias: S::Vector,
    /// The activation after the bias.
    pub(super) activation: Activation,
    pub(super) target: Dst,
    /// Whether stores to the target bypass the caches.
    pub(super) stream: bool,
}

impl<S: Simd> Row<S> {
    /// Computes the row, and adds its outputs and their squares to `totals`.
    #[inline(always)]
    pub(super) unsafe fn make<const K: usize, const STRIDE: usize>(
        &self,
        s: S,
        totals: &mut [S::Vector; 2],
    ) {
        let mut x = 0;
        if S::COLUMNS >= 8 && self.columns.is_multiple_of(7) {
            while x < self.columns {
                tile::<S, K, STRIDE, 7>(s, self, x, totals);
                x += 7;
            }
        }
        while S::COLUMNS >= 8 && x + 8 <= self.columns {
            tile::<S, K, STRIDE, 8>(s, self, x, totals);
            x += 8;
        }
        while S::COLUMNS >= 4 && x + 4 <= self.columns {
            tile::<S, K, STRIDE, 4>(s, self, x, totals);
            x += 4;
        }
        while x + 2 <= self.columns {
            tile::<S, K, STRIDE, 2>(s, self, x, totals);
            x += 2;
        }
        while x < self.columns {
            tile::<S, K, STRIDE, 1>(s, self, x, totals);
            x += 1;
        }
    }
}

#[inline(always)]
unsafe fn images<S: Simd, const K: usize, const STRIDE: usize>(
    s: S,
    o: &DepthwiseForward,
    sums: &mut Sums,
    at: usize,
) {
    let (height, width) = (o.height, o.width);
    let (rows, columns) = (height.div_ceil(STRIDE), width.div_ceil(STRIDE));
    let ring_row = |row: usize| o.ring.at(row % RING_ROWS * ring_stride(width));
    for image in 0..o.images {
        let source = o.source.at(image * height * width * S::PIXEL);
        let target = o.target.at(image * rows * columns * S::PIXEL);
        let mut totals = [s.zero(); 2];
        let mut next = 0;
        for y in 0..rows {
            while next < (y * STRIDE + K - o.zeros.above).min(height) {
                let row = source.at(next * width * S::PIXEL);
                fill_row(s, o, row, ring_row(next).at(MARGIN * LANES));
                next += 1;
            }
            // Each row is summed separately first, so that rounding errors do not grow with the
            // image.
            let mut row_totals = [s.zero(); 2];
            let row = Row::<S> {
                seen: Seen::new::<K, STRIDE>(o.ring.src(), width, height, y, o.zeros),
                columns,
                taps: o.taps,
                bias: s.zero(),
                activation: Activation::Identity,
                target: target.at(y * columns * S::PIXEL),
                stream: o.stream,
            };
            row.make::<K, STRIDE>(s, &mut row_totals);
            for (total, row_total) in totals.iter_mut().zip(row_totals) {
                *total = s.add(*total, row_total);
            }
        }
        sums.add(s, at, totals[0], totals[1]);
    }
}

#[inline(always)]
unsafe fn fill_row<S: Simd>(s: S, o: &DepthwiseForward, source: Src, target: Dst) {
    match o.norm {
        None => for_activation!(o.activation, A => for x in 0..o.width {
            s.store(target, x * LANES, activate::<S, A>(s, s.load_pixel(source, x)));
        }),
        Some(norm) => {
            let (scale, shift) = norm.at(s, 0);
            for_activation!(o.activation, A => for x in 0..o.width {
                let y = s.mul_add(s.load_pixel(source, x), scale, shift);
                s.store(target, x * LANES, activate::<S, A>(s, y));
            });
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const K: usize, const STRIDE: usize, const WIDTH: usize>(
    s: S,
    row: &Row<S>,
    x: usize,
    totals: &mut [S::Vector; 2],
) {
    let mut sums = [s.zero(); WIDTH];
    for tap_row in row.seen.tap_rows.clone() {
        let input = row.seen.inputs[tap_row].at(x * STRIDE * LANES);
        for tap in 0..K {
            let weight = s.load(row.taps, (tap_row * K + tap) * LANES);
            for (column, sum) in sums.iter_mut().enumerate() {
                let value = s.load(input, (column * STRIDE + tap) * LANES);
                *sum = s.mul_add(value, weight, *sum);
            }
        }
    }
    for sum in &mut sums {
        *sum = s.add(*sum, row.bias);
    }
    activate_tile(s, row.activation, &mut sums);
    for (column, &sum) in sums.iter().enumerate() {
        if row.stream {
            s.stream_pixel(row.target, x + column, sum);
        } else {
            s.store_pixel(row.target, x + column, sum);
        }
        totals[0] = s.add(totals[0], sum);
        totals[1] = s.mul_add(sum, sum, totals[1]);
    }
}
