//! The first convolution: 3×3 over red, green and blue.
//!
//! Images are `[height][width][3]`. Three rows at a time are copied into scratch memory, with zeros
//! on either side. A table converts bytes to values. Every output vector is the sum of 27 products
//! of a broadcast value and a vector of weights.

use super::image_rows::inside;
use super::{NormBackward, Sums, entry};
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Zeros;

/// Number of weights per output channel: `[3][3][3]` for colour, row and column, as in torch.
pub(crate) const TAPS: usize = 27;
const COLOURS: usize = 3;
/// Number of rows in the scratch memory, a power of two.
const ROWS: usize = 4;
/// Number of zero pixels to the right of a row. One is padding. The last tile reads the others,
/// because it extends beyond the row.
const RIGHT: usize = 18;

/// Pixels of images, row by row, `[images][height][width][3]`.
#[derive(Clone, Copy)]
pub(crate) enum Pixels<'a> {
    F32(&'a [f32]),
    /// Bytes, and a table for each colour that maps a byte to its value.
    U8(&'a [u8], &'a [[f32; 256]; 3]),
}

impl<'a> Pixels<'a> {
    /// The pixels from image `first` on, for images of `pixels` pixels.
    pub(crate) fn image(self, first: usize, pixels: usize) -> Pixels<'a> {
        let start = first * pixels * COLOURS;
        match self {
            Pixels::F32(values) => Pixels::F32(&values[start..]),
            Pixels::U8(bytes, table) => Pixels::U8(&bytes[start..], table),
        }
    }
}

/// Geometry and weights of the first convolution.
#[derive(Clone, Copy)]
pub(crate) struct Stem {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) stride: usize,
    /// Padding of at most one row and one column.
    pub(crate) zeros: Zeros,
    pub(crate) planes: usize,
    /// Weights, `[plane][27][16]`.
    pub(crate) taps: Src,
    /// Scratch memory, [`Stem::scratch_length`] values long.
    pub(crate) scratch: Dst,
}

impl Stem {
    fn pitch(width: usize) -> usize {
        (1 + width + RIGHT) * COLOURS
    }

    /// Length in values of the scratch memory for images of this width.
    pub(crate) fn scratch_length(width: usize) -> usize {
        ROWS * Self::pitch(width)
    }

    pub(super) unsafe fn clear(&self) {
        self.scratch.fill_zero(Self::scratch_length(self.width));
    }

    unsafe fn row(&self, row: usize) -> Dst {
        self.scratch.at(row % ROWS * Self::pitch(self.width))
    }

    /// For output row `y`, the image row that kernel row `tap` reads, from its first column on.
    #[inline(always)]
    unsafe fn tap_row(&self, y: usize, tap: usize) -> Src {
        let row = self.row(y * self.stride + tap - self.zeros.above).src();
        // A row begins with a pixel of zeros.
        row.at((1 - self.zeros.left) * COLOURS)
    }

    /// Copies the input rows that output row `y` needs. The image starts at row `image` of
    /// `pixels`. `next` is the first row of the image that is not yet copied.
    pub(super) unsafe fn fill_for(
        &self,
        pixels: Pixels<'_>,
        image: usize,
        y: usize,
        next: &mut usize,
    ) {
        while *next < (y * self.stride + 3 - self.zeros.above).min(self.height) {
            self.fill(pixels, image + *next, *next);
            *next += 1;
        }
    }

    /// Copies row `row` of `pixels`, counted over all images, to the scratch row for row `y` of its
    /// image.
    unsafe fn fill(&self, pixels: Pixels<'_>, row: usize, y: usize) {
        let length = self.width * COLOURS;
        let target = self.row(y).pointer(COLOURS, length);
        let target = std::slice::from_raw_parts_mut(target, length);
        let from = row * length;
        match pixels {
            Pixels::F32(values) => target.copy_from_slice(&values[from..from + length]),
            Pixels::U8(bytes, [red, green, blue]) => {
                let bytes = bytes[from..from + length].as_chunks::<COLOURS>().0;
                for (values, bytes) in target.as_chunks_mut::<COLOURS>().0.iter_mut().zip(bytes) {
                    *values = [
                        red[usize::from(bytes[0])],
                        green[usize::from(bytes[1])],
                        blue[usize::from(bytes[2])],
                    ];
                }
            }
        }
    }
}

entry! {
    /// Computes the convolution and stores it in `z`, `[planes][images * rows * columns][16]`. Adds
    /// the outputs and their squares to the sums.
    ///
    /// # Safety
    /// See the operands; `pixels` holds all images.
    fn stem_forward(
        operands: &Stem,
        pixels: Pixels<'_>,
        z: Planes,
        sums: &mut Sums,
    ) => stem_forward_kernel
}

#[inline(always)]
unsafe fn stem_forward_kernel<S: Simd>(
    s: S,
    o: &Stem,
    pixels: Pixels<'_>,
    z: Planes,
    sums: &mut Sums,
) {
    let (rows, columns) = (o.height.div_ceil(o.stride), o.width.div_ceil(o.stride));
    o.clear();
    for image in 0..o.images {
        let mut next = 0;
        for y in 0..rows {
            o.fill_for(pixels, image * o.height, y, &mut next);
            let tap_rows = inside(y, o.stride, 3, o.height, o.zeros.above);
            for plane in 0..o.planes {
                let taps = o.taps.at(plane * TAPS * LANES);
                let target = z.plane(plane).row((image * rows + y) * columns).start;
                let mut totals = [s.zero(); 2];
                let mut x = 0;
                while x < columns {
                    // The last tile may extend beyond the row; the surplus is not stored.
                    let count = TILE.min(columns - x);
                    let tile = forward_tile(s, o, y, tap_rows.clone(), x, taps);
                    for (column, &value) in tile.iter().enumerate().take(count) {
                        s.store_pixel(target, x + column, value);
                        totals[0] = s.add(totals[0], value);
                        totals[1] = s.mul_add(value, value, totals[1]);
                    }
                    x += TILE;
                }
                sums.add(s, plane * LANES, totals[0], totals[1]);
            }
        }
    }
}

/// Number of outputs in a row that are computed together.
pub(super) const TILE: usize = 8;

#[inline(always)]
pub(super) unsafe fn forward_tile<S: Simd>(
    s: S,
    o: &Stem,
    y: usize,
    tap_rows: std::ops::Range<usize>,
    x: usize,
    taps: Src,
) -> [S::Vector; TILE] {
    let mut sums = [s.zero(); TILE];
    for tap_row in tap_rows {
        let row = o.tap_row(y, tap_row);
        for tap in 0..3 {
            let start = row.at((x * o.stride + tap) * COLOURS);
            for colour in 0..COLOURS {
                let weight = s.load(taps, ((colour * 3 + tap_row) * 3 + tap) * LANES);
                for (column, sum) in sums.iter_mut().enumerate() {
                    let value = s.broadcast(start, column * o.stride * COLOURS + colour);
                    *sum = s.mul_add(value, weight, *sum);
                }
            }
        }
    }
    sums
}

entry! {
    /// Adds the gradient of the weights, `[plane][27][16]`. `d` is the gradient of the normalised
    /// outputs, `z` the outputs.
    ///
    /// # Safety
    /// See the operands; `d` and `z` have the outputs' shape.
    fn stem_backward(
        operands: &Stem,
        pixels: Pixels<'_>,
        d: Planes,
        z: Planes,
        norm: NormBackward,
        gradient: Dst,
    ) => stem_backward_kernel
}

#[inline(always)]
unsafe fn stem_backward_kernel<S: Simd>(
    s: S,
    o: &Stem,
    pixels: Pixels<'_>,
    d: Planes,
    z: Planes,
    norm: NormBackward,
    gradient: Dst,
) {
    let (rows, columns) = (o.height.div_ceil(o.stride), o.width.div_ceil(o.stride));
    o.clear();
    for image in 0..o.images {
        let mut next = 0;
        for y in 0..rows {
            o.fill_for(pixels, image * o.height, y, &mut next);
            let tap_rows = inside(y, o.stride, 3, o.height, o.zeros.above);
            for plane in 0..o.planes {
                let start = (image * rows + y) * columns;
                let d = d.plane(plane).row(start).src();
                let z = z.plane(plane).row(start).src();
                let norm = norm.at(s, plane * LANES);
                for tap_row in tap_rows.clone() {
                    let row = o.tap_row(y, tap_row);
                    let mut sums = [[s.zero(); 3]; COLOURS];
                    for x in 0..columns {
                        let dz = norm.combine(s, s.load_pixel(d, x), s.load_pixel(z, x));
                        for (colour, sums) in sums.iter_mut().enumerate() {
                            for (tap, sum) in sums.iter_mut().enumerate() {
                                let value =
                                    s.broadcast(row, (x * o.stride + tap) * COLOURS + colour);
                                *sum = s.mul_add(value, dz, *sum);
                            }
                        }
                    }
                    for (colour, sums) in sums.iter().enumerate() {
                        for (tap, &sum) in sums.iter().enumerate() {
                            let tap = (colour * 3 + tap_row) * 3 + tap;
                            let at = (plane * TAPS + tap) * LANES;
                            s.store(gradient, at, s.add(s.load(gradient.src(), at), sum));
                        }
                    }
                }
            }
        }
    }
}
