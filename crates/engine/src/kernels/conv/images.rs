//! The first convolution, with any window: over the red, green and blue of images `[height][width][3]`.
//!
//! Rows are copied into bands with zeros around them; a table converts bytes to values. The values of a window's row
//! are adjacent, so they are the depth of a matrix product.

use std::ops::Range;

use crate::kernels::activation::{activate, for_activation};
use crate::kernels::{Behind, Pixels, Sums, entry_f32};
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

const COLOURS: usize = 3;
/// Outputs of a row that are computed together.
const TILE: usize = 8;
/// Maximum number of output rows in a band, and of values in a band.
const ROWS: usize = 32;
const BAND: usize = 48 * 1024;

/// The geometry of the convolution.
#[derive(Clone, Copy)]
pub(crate) struct ImageConv {
    pub(crate) images: usize,
    /// Height and width of the images.
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Zeros before the first row and the first column.
    pub(crate) zeros: [usize; 2],
    /// Height and width of the output.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Planes of outputs.
    pub(crate) planes: usize,
    /// Scratch memory, [`ImageConv::scratch_length`] values long.
    pub(crate) scratch: Dst,
}

impl ImageConv {
    /// Number of weights per output.
    pub(crate) fn taps(&self) -> usize {
        self.kernel * self.kernel * COLOURS
    }

    /// Distance in values from one row of a band to the next. The last tile reads beyond the last output.
    fn pitch(&self) -> usize {
        let columns = (self.columns.next_multiple_of(TILE).max(1) - 1) * self.stride + self.kernel;
        columns.max(self.zeros[1] + self.width) * COLOURS
    }

    /// Number of output rows in a band.
    fn band(&self) -> usize {
        let rows = (BAND / self.pitch()).saturating_sub(self.kernel) / self.stride + 1;
        rows.clamp(1, ROWS)
    }

    fn band_length(&self) -> usize {
        ((self.band() - 1) * self.stride + self.kernel) * self.pitch()
    }

    /// Length in values of the scratch memory: a band of the images, and a row of gradients.
    pub(crate) fn scratch_length(&self) -> usize {
        self.band_length() + self.columns * LANES
    }

    /// Calls `f` with each image and each band of its output rows `rows`, when the band is filled.
    #[inline(always)]
    unsafe fn bands(
        &self,
        pixels: Pixels<'_>,
        rows: Range<usize>,
        mut f: impl FnMut(usize, Range<usize>),
    ) {
        for image in 0..self.images {
            let mut start = rows.start;
            while start < rows.end {
                let end = rows.end.min(start + self.band());
                self.fill(pixels, image, start, end - start);
                f(image, start..end);
                start = end;
            }
        }
    }

    /// Copies the rows that `count` output rows from `start` on read.
    #[inline(always)]
    unsafe fn fill(&self, pixels: Pixels<'_>, image: usize, start: usize, count: usize) {
        let (pitch, left) = (self.pitch(), self.zeros[1] * COLOURS);
        for row in 0..(count - 1) * self.stride + self.kernel {
            let target = self.scratch.at(row * pitch);
            let y = (start * self.stride + row).wrapping_sub(self.zeros[0]);
            if y >= self.height {
                target.fill_zero(pitch);
                continue;
            }
            let length = self.width * COLOURS;
            target.fill_zero(left);
            let inside = target.pointer(left, length);
            let inside = std::slice::from_raw_parts_mut(inside, length);
            copy(pixels, (image * self.height + y) * length, inside);
            let behind = left + length;
            target.at(behind).fill_zero(pitch - behind);
        }
    }
}

/// Copies values from `from` on.
#[inline(always)]
fn copy(pixels: Pixels<'_>, from: usize, target: &mut [f32]) {
    match pixels {
        Pixels::F32(values) => target.copy_from_slice(&values[from..from + target.len()]),
        Pixels::U8(bytes, [red, green, blue]) => {
            let bytes = bytes[from..from + target.len()].as_chunks::<COLOURS>().0;
            let target = target.as_chunks_mut::<COLOURS>().0;
            for (values, bytes) in target.iter_mut().zip(bytes) {
                *values = [
                    red[usize::from(bytes[0])],
                    green[usize::from(bytes[1])],
                    blue[usize::from(bytes[2])],
                ];
            }
        }
    }
}

/// Packs torch's weights, `[outputs][3][kernel][kernel]`, to `[planes][kernel][kernel][3][16]`.
///
/// # Safety
/// `target` has space for whole planes.
pub(crate) unsafe fn pack_image_taps(outputs: usize, kernel: usize, weights: Src, target: Dst) {
    let taps = kernel * kernel;
    target.fill_zero(outputs.next_multiple_of(LANES) * taps * COLOURS);
    for output in 0..outputs {
        for tap in 0..taps {
            for colour in 0..COLOURS {
                let at = (output / LANES * taps + tap) * COLOURS + colour;
                let value = weights.get((output * COLOURS + colour) * taps + tap);
                *target.pointer(at * LANES + output % LANES, 1) = value;
            }
        }
    }
}

/// The inverse of [`pack_image_taps`], for a gradient.
///
/// # Safety
/// As there.
pub(crate) unsafe fn unpack_image_taps(outputs: usize, kernel: usize, packed: Src, target: Dst) {
    let taps = kernel * kernel;
    for output in 0..outputs {
        for tap in 0..taps {
            for colour in 0..COLOURS {
                let at = (output / LANES * taps + tap) * COLOURS + colour;
                let value = packed.get(at * LANES + output % LANES);
                *target.pointer((output * COLOURS + colour) * taps + tap, 1) = value;
            }
        }
    }
}

/// The result of [`image_conv`].
#[derive(Clone)]
pub(crate) struct ImageOutput {
    /// The output rows of each image to compute.
    pub(crate) rows: Range<usize>,
    /// A bias for each channel, padded to whole planes.
    pub(crate) bias: Option<Src>,
    pub(crate) activation: Activation,
    pub(crate) target: Planes,
}

entry_f32! {
    /// Computes outputs. `taps` are packed weights. Adds the outputs and their squares to the sums.
    ///
    /// # Safety
    /// See the operands; `pixels` holds all images, and the target all outputs.
    fn image_conv(
        operands: &ImageConv,
        pixels: Pixels<'_>,
        taps: Src,
        output: &ImageOutput,
        sums: Option<&mut Sums>,
    ) => image_conv_kernel
}

#[inline(always)]
unsafe fn image_conv_kernel<S: Simd>(
    s: S,
    o: &ImageConv,
    pixels: Pixels<'_>,
    taps: Src,
    output: &ImageOutput,
    mut sums: Option<&mut Sums>,
) {
    o.bands(
        pixels,
        output.rows.clone(),
        #[inline(always)]
        |image, rows| {
            for (index, y) in rows.enumerate() {
                for plane in 0..o.planes {
                    let bias = match output.bias {
                        Some(bias) => s.load(bias, plane * LANES),
                        None => s.zero(),
                    };
                    let taps = taps.at(plane * o.taps() * LANES);
                    let row = o.scratch.src().at(index * o.stride * o.pitch());
                    let pixel = (image * o.rows + y) * o.columns;
                    let target = output.target.plane(plane).row(pixel).start;
                    let mut totals = [s.zero(); 2];
                    for x in (0..o.columns).step_by(TILE) {
                        let from = row.at(x * o.stride * COLOURS);
                        let mut tile = match o.stride {
                            1 => tile::<S, 1>(s, o, from, taps, bias),
                            2 => tile::<S, 2>(s, o, from, taps, bias),
                            _ => tile::<S, 0>(s, o, from, taps, bias),
                        };
                        for_activation!(output.activation, A => for value in &mut tile {
                            *value = activate::<S, A>(s, *value);
                        });
                        // The surplus of the last tile is not stored.
                        for (index, &value) in tile.iter().enumerate().take(o.columns - x) {
                            s.store_pixel(target, x + index, value);
                            totals[0] = s.add(totals[0], value);
                            totals[1] = s.mul_add(value, value, totals[1]);
                        }
                    }
                    if let Some(sums) = &mut sums {
                        sums.add(s, plane * LANES, totals[0], totals[1]);
                    }
                }
            }
        },
    );
}

/// Neighbouring outputs of one plane. `STRIDE` is the stride, or 0 if it is not known beforehand.
#[inline(always)]
unsafe fn tile<S: Simd, const STRIDE: usize>(
    s: S,
    o: &ImageConv,
    from: Src,
    taps: Src,
    bias: S::Vector,
) -> [S::Vector; TILE] {
    let step = if STRIDE == 0 { o.stride } else { STRIDE } * COLOURS;
    let depth = o.kernel * COLOURS;
    let mut sums = [bias; TILE];
    for row in 0..o.kernel {
        let from = from.at(row * o.pitch());
        let taps = taps.at(row * depth * LANES);
        for k in 0..depth {
            let weight = s.load(taps, k * LANES);
            for column in 0..TILE {
                let value = s.broadcast(from, column * step + k);
                sums[column] = s.mul_add(value, weight, sums[column]);
            }
        }
    }
    sums
}

entry_f32! {
    /// Adds the gradient of the packed weights.
    ///
    /// # Safety
    /// As for [`image_conv`].
    fn image_conv_gradient(
        operands: &ImageConv,
        pixels: Pixels<'_>,
        behind: &Behind,
        gradient: Dst,
    ) => image_conv_gradient_kernel
}

#[inline(always)]
unsafe fn image_conv_gradient_kernel<S: Simd>(
    s: S,
    o: &ImageConv,
    pixels: Pixels<'_>,
    behind: &Behind,
    gradient: Dst,
) {
    let line = o.scratch.at(o.band_length());
    let depth = o.kernel * COLOURS;
    o.bands(
        pixels,
        0..o.rows,
        #[inline(always)]
        |image, rows| {
            for (index, y) in rows.enumerate() {
                for plane in 0..o.planes {
                    let pixel = (image * o.rows + y) * o.columns;
                    gradient_row(s, o, behind, plane, pixel, line);
                    for row in 0..o.kernel {
                        let from = o.scratch.src();
                        let from = from.at((index * o.stride + row) * o.pitch());
                        let to = gradient.at((plane * o.kernel + row) * depth * LANES);
                        let mut k = 0;
                        while k < depth {
                            let (from, to) = (from.at(k), to.at(k * LANES));
                            k += match depth - k {
                                3 => taps_tile::<S, 3>(s, o, from, line.src(), to),
                                6 => taps_tile::<S, 6>(s, o, from, line.src(), to),
                                _ => taps_tile::<S, 9>(s, o, from, line.src(), to),
                            };
                        }
                    }
                }
            }
        },
    );
}

/// Computes a row of the output's gradient.
#[inline(always)]
unsafe fn gradient_row<S: Simd>(
    s: S,
    o: &ImageConv,
    behind: &Behind,
    plane: usize,
    pixel: usize,
    line: Dst,
) {
    let d = behind.d.plane(plane).row(pixel).src();
    match behind.norm {
        None => {
            for x in 0..o.columns {
                s.store(line, x * LANES, s.load_pixel(d, x));
            }
        }
        Some(norm) => {
            let norm = norm.at(s, plane * LANES);
            let z = behind.z.plane(plane).row(pixel).src();
            for x in 0..o.columns {
                let value = norm.combine(s, s.load_pixel(d, x), s.load_pixel(z, x));
                s.store(line, x * LANES, value);
            }
        }
    }
}

/// Adds the gradient of `COUNT` adjacent weights, summed over a row.
#[inline(always)]
unsafe fn taps_tile<S: Simd, const COUNT: usize>(
    s: S,
    o: &ImageConv,
    from: Src,
    line: Src,
    to: Dst,
) -> usize {
    let mut sums = [s.zero(); COUNT];
    for x in 0..o.columns {
        let d = s.load(line, x * LANES);
        for index in 0..COUNT {
            let value = s.broadcast(from, x * o.stride * COLOURS + index);
            sums[index] = s.mul_add(value, d, sums[index]);
        }
    }
    for index in 0..COUNT {
        let at = index * LANES;
        s.store(to, at, s.add(s.load(to.src(), at), sums[index]));
    }
    COUNT
}
