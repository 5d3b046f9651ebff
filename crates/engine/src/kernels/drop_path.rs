//! Stochastic depth: one factor for each image.

use super::image_rows::Images;
use super::{Affine, Sums, entry};
use crate::memory::{Planes, Src};
use crate::simd::{LANES, Simd};

/// Operands of [`drop_rows`].
#[derive(Clone, Copy)]
pub(crate) struct DropRows {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) images: Images,
    /// A factor for each image, counted over all images.
    pub(crate) factors: Src,
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) residual: Planes,
    pub(crate) target: Planes,
}

entry! {
    /// `target = factor * (z * scale + shift) + residual`
    ///
    /// # Safety
    /// See the operands.
    fn drop_rows(operands: &DropRows) => drop_rows_kernel
}

#[inline(always)]
unsafe fn drop_rows_kernel<S: Simd>(s: S, o: &DropRows) {
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let (z, residual) = (o.z.plane(plane).src(), o.residual.plane(plane).src());
        let target = o.target.plane(plane).start;
        for (image, rows) in o.images.spans(o.rows) {
            let factor = s.broadcast(o.factors, image);
            let (scale, shift) = (s.mul(scale, factor), s.mul(shift, factor));
            for row in rows {
                let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                s.store_pixel(target, row, s.add(s.load_pixel(residual, row), y));
            }
        }
    }
}

/// Operands of [`drop_rows_backward`].
#[derive(Clone, Copy)]
pub(crate) struct DropRowsBackward {
    pub(crate) images: usize,
    pub(crate) pixels: usize,
    pub(crate) planes: usize,
    /// A factor for each of the images.
    pub(crate) factors: Src,
    /// The gradient of the sum.
    pub(crate) d: Planes,
    /// The input of the normalisation.
    pub(crate) z: Planes,
    /// Output: the gradient of the normalisation's output.
    pub(crate) target: Planes,
}

entry! {
    /// `target = factor * d`, and the sums for the normalisation before the factor.
    ///
    /// # Safety
    /// See the operands. `sums` must have as many channels as the planes.
    fn drop_rows_backward(operands: &DropRowsBackward, sums: &mut Sums)
        => drop_rows_backward_kernel
}

#[inline(always)]
unsafe fn drop_rows_backward_kernel<S: Simd>(s: S, o: &DropRowsBackward, sums: &mut Sums) {
    for plane in 0..o.planes {
        let (d, z) = (o.d.plane(plane).src(), o.z.plane(plane).src());
        let target = o.target.plane(plane).start;
        for image in 0..o.images {
            let factor = s.broadcast(o.factors, image);
            // Sums are per image, so that rounding errors do not grow with the batch.
            let (mut first, mut second) = (s.zero(), s.zero());
            for row in image * o.pixels..(image + 1) * o.pixels {
                let gradient = s.mul(s.load_pixel(d, row), factor);
                s.store_pixel(target, row, gradient);
                first = s.add(first, gradient);
                second = s.mul_add(gradient, s.load_pixel(z, row), second);
            }
            sums.add(s, plane * LANES, first, second);
        }
    }
}
