//! Depthwise convolution of many small images at once.
//!
//! A tile holds the same pixel of up to eight images. So weights that fall outside the image are
//! skipped, and no padding is needed. On a 2×2 image, each pixel uses only four of the 25 weights
//! of a 5×5 kernel.

use super::activation::activate_tile;
use super::entry;
use super::image_rows::inside;
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::{Activation, Zeros};

/// Operands of [`depthwise_images`].
#[derive(Clone, Copy)]
pub(crate) struct DepthwiseImages {
    pub(crate) images: usize,
    pub(crate) planes: usize,
    /// Height of the input.
    pub(crate) height: usize,
    /// Width of the input.
    pub(crate) width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) zeros: Zeros,
    /// The input, `[images][height][width]` pixels. Its pixels may be f32 even if other activations
    /// are bf16.
    pub(crate) source: Planes,
    /// Weights, `[plane][kernel * kernel][16]`.
    pub(crate) taps: Src,
    /// Added to the output of each channel.
    pub(crate) bias: Src,
    /// The activation after the bias.
    pub(crate) activation: Activation,
    /// The output, `[images][ceil(height / stride)][ceil(width / stride)]` pixels.
    pub(crate) target: Planes,
}

entry! {
    /// # Safety
    /// See the operands.
    fn depthwise_images(operands: &DepthwiseImages) => depthwise_images_kernel
}

#[inline(always)]
unsafe fn depthwise_images_kernel<S: Simd>(s: S, o: &DepthwiseImages) {
    let (rows, columns) = (o.height.div_ceil(o.stride), o.width.div_ceil(o.stride));
    let (from, to) = (
        o.height * o.width * o.source.pixel,
        rows * columns * S::PIXEL,
    );
    for plane in 0..o.planes {
        let source = o.source.plane(plane).src();
        let target = o.target.plane(plane).start;
        let mut image = 0;
        while image < o.images {
            let (source, target) = (source.at(image * from), target.at(image * to));
            let left = o.images - image;
            image += if left >= 8 {
                tile::<S, 8>(s, o, plane, source, target);
                8
            } else if left >= 4 {
                tile::<S, 4>(s, o, plane, source, target);
                4
            } else {
                tile::<S, 1>(s, o, plane, source, target);
                1
            };
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const IMAGES: usize>(
    s: S,
    o: &DepthwiseImages,
    plane: usize,
    source: Src,
    target: Dst,
) {
    if S::PIXEL == LANES || o.source.pixel == S::PIXEL {
        tile_of::<S, IMAGES, false>(s, o, plane, source, target);
    } else {
        tile_of::<S, IMAGES, true>(s, o, plane, source, target);
    }
}

/// If `WIDE`, the source is f32, even if other activations are bf16.
#[inline(always)]
unsafe fn tile_of<S: Simd, const IMAGES: usize, const WIDE: bool>(
    s: S,
    o: &DepthwiseImages,
    plane: usize,
    source: Src,
    target: Dst,
) {
    let (rows, columns) = (o.height.div_ceil(o.stride), o.width.div_ceil(o.stride));
    let (from, to) = (o.height * o.width, rows * columns);
    let (k, Zeros { above, left }) = (o.kernel, o.zeros);
    let taps = o.taps.at(plane * k * k * LANES);
    let bias = s.load(o.bias, plane * LANES);
    for y in 0..rows {
        let tap_rows = inside(y, o.stride, k, o.height, above);
        for x in 0..columns {
            let tap_columns = inside(x, o.stride, k, o.width, left);
            let mut sums = [s.zero(); IMAGES];
            for tap_row in tap_rows.clone() {
                let row = (y * o.stride + tap_row - above) * o.width;
                for tap in tap_columns.clone() {
                    let weight = s.load(taps, (tap_row * k + tap) * LANES);
                    let pixel = row + x * o.stride + tap - left;
                    for image in 0..IMAGES {
                        let pixel = pixel + image * from;
                        let value = if WIDE {
                            s.load(source, pixel * LANES)
                        } else {
                            s.load_pixel(source, pixel)
                        };
                        sums[image] = s.mul_add(value, weight, sums[image]);
                    }
                }
            }
            let pixel = y * columns + x;
            for image in 0..IMAGES {
                sums[image] = s.add(sums[image], bias);
            }
            activate_tile(s, o.activation, &mut sums);
            for image in 0..IMAGES {
                s.store_pixel(target, pixel + image * to, sums[image]);
            }
        }
    }
}
