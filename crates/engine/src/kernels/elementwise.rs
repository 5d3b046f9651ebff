//! Passes over blocks of pixels: batch normalisation with its activation, forward and backward. A
//! block is prepared as operand of a matrix product while it is in the cache, so that normalised
//! activations are never stored separately.

use super::activation::{activate, derive, for_activation};
use super::image_rows::Images;
use super::{Affine, NormBackward, Sums, entry, get, put};
use crate::memory::Planes;
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// Number of rows that are summed in f32 before the sums are added to f64 totals.
const SUM_ROWS: usize = 128;

/// Operands of [`activate_rows`].
#[derive(Clone, Copy)]
pub(crate) struct ActivateRows {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) activation: Activation,
    /// Factors of squeeze-excite, which multiply each image's channels.
    pub(crate) factors: Option<Factors>,
    pub(crate) target: Planes,
}

/// The factors of squeeze-excite for a block of rows.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    /// `[planes][images][16]`
    pub(crate) values: Planes,
    pub(crate) images: Images,
    /// Whether the factors are applied before the activation.
    pub(crate) before_activation: bool,
}

entry! {
    /// `target = activation(z * scale + shift)`, times the image's factors before or after the
    /// activation.
    ///
    /// # Safety
    /// See the operands.
    fn activate_rows(operands: &ActivateRows) => activate_rows_kernel
}

#[inline(always)]
unsafe fn activate_rows_kernel<S: Simd>(s: S, o: &ActivateRows) {
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let (z, target) = (o.z.plane(plane).src(), o.target.plane(plane).start);
        for_activation!(o.activation, A => match o.factors {
            None => for row in 0..o.rows {
                let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                s.store_pixel(target, row, activate::<S, A>(s, y));
            },
            Some(factors) => {
                let values = factors.values.plane(plane).src();
                for (image, rows) in factors.images.spans(o.rows) {
                    let factor = s.load(values, image * LANES);
                    // One loop serves both orders, because multiplication by 1 changes nothing.
                    let (before, after) = if factors.before_activation {
                        (factor, s.splat(1.0))
                    } else {
                        (s.splat(1.0), factor)
                    };
                    let (scale, shift) = (s.mul(scale, before), s.mul(shift, before));
                    for row in rows {
                        let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                        let y = s.mul(after, activate::<S, A>(s, y));
                        s.store_pixel(target, row, y);
                    }
                }
            }
        });
    }
}

/// Operands of [`normalise_rows`].
#[derive(Clone, Copy)]
pub(crate) struct NormaliseRows {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) residual: Option<Planes>,
    pub(crate) target: Planes,
}

entry! {
    /// `target = z * scale + shift`, plus the residual.
    ///
    /// # Safety
    /// See the operands.
    fn normalise_rows(operands: &NormaliseRows) => normalise_rows_kernel
}

#[inline(always)]
unsafe fn normalise_rows_kernel<S: Simd>(s: S, o: &NormaliseRows) {
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let (z, target) = (o.z.plane(plane).src(), o.target.plane(plane).start);
        if let Some(residual) = o.residual {
            let residual = residual.plane(plane).src();
            for row in 0..o.rows {
                let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                s.store_pixel(target, row, s.add(s.load_pixel(residual, row), y));
            }
        } else {
            for row in 0..o.rows {
                s.store_pixel(target, row, s.mul_add(s.load_pixel(z, row), scale, shift));
            }
        }
    }
}

entry! {
    /// Copies rows. The source or the target may be f32 even if other activations are bf16.
    ///
    /// # Safety
    /// `source` and `target` must have `planes` planes of `rows` pixels.
    fn convert_rows(rows: usize, planes: usize, source: Planes, target: Planes)
        => convert_rows_kernel
}

#[inline(always)]
unsafe fn convert_rows_kernel<S: Simd>(
    s: S,
    rows: usize,
    planes: usize,
    source: Planes,
    target: Planes,
) {
    for plane in 0..planes {
        let (source, target) = (source.plane(plane), target.plane(plane));
        for row in 0..rows {
            put(s, target, row, get(s, source, row));
        }
    }
}

entry! {
    /// `target = a * d + b * z + c` for a block of rows.
    ///
    /// # Safety
    /// All operands must have `planes` planes of `rows` pixels.
    fn combine(rows: usize, planes: usize, d: Planes, z: Planes, norm: NormBackward, target: Planes)
        => combine_kernel
}

#[inline(always)]
unsafe fn combine_kernel<S: Simd>(
    s: S,
    rows: usize,
    planes: usize,
    d: Planes,
    z: Planes,
    norm: NormBackward,
    target: Planes,
) {
    for plane in 0..planes {
        let norm = norm.at(s, plane * LANES);
        let (d, z) = (d.plane(plane).src(), z.plane(plane).src());
        let target = target.plane(plane).start;
        for row in 0..rows {
            s.store_pixel(
                target,
                row,
                norm.combine(s, s.load_pixel(d, row), s.load_pixel(z, row)),
            );
        }
    }
}

/// Operands of [`activation_backward`].
#[derive(Clone, Copy)]
pub(crate) struct ActivationBackward {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    /// The gradient of the activation's output.
    pub(crate) d: Planes,
    /// The input of the batch normalisation before the activation.
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) activation: Activation,
    pub(crate) target: Planes,
}

entry! {
    /// Computes the gradient before an activation, and the sums for the normalisation before that
    /// activation. `target` may be `d` itself.
    ///
    /// # Safety
    /// See the operands. `sums` must have as many channels as the planes.
    fn activation_backward(operands: &ActivationBackward, sums: &mut Sums)
        => activation_backward_kernel
}

#[inline(always)]
unsafe fn activation_backward_kernel<S: Simd>(s: S, o: &ActivationBackward, sums: &mut Sums) {
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let (d, z) = (o.d.plane(plane).src(), o.z.plane(plane).src());
        let target = o.target.plane(plane).start;
        for start in (0..o.rows).step_by(SUM_ROWS) {
            let end = o.rows.min(start + SUM_ROWS);
            let (mut first, mut second) = (s.zero(), s.zero());
            for_activation!(o.activation, A => for row in start..end {
                let value = s.load_pixel(z, row);
                let y = s.mul_add(value, scale, shift);
                let gradient = derive::<S, A>(s, y, s.load_pixel(d, row));
                s.store_pixel(target, row, gradient);
                first = s.add(first, gradient);
                second = s.mul_add(gradient, value, second);
            });
            sums.add(s, plane * LANES, first, second);
        }
    }
}

entry! {
    /// Adds the sums of `d` and of `d * z` to `sums`.
    ///
    /// # Safety
    /// `d` and `z` must have `planes` planes of `rows` pixels, and `sums` as many channels.
    fn channel_sums(rows: usize, planes: usize, d: Planes, z: Planes, sums: &mut Sums)
        => channel_sums_kernel
}

#[inline(always)]
unsafe fn channel_sums_kernel<S: Simd>(
    s: S,
    rows: usize,
    planes: usize,
    d: Planes,
    z: Planes,
    sums: &mut Sums,
) {
    for plane in 0..planes {
        let (d, z) = (d.plane(plane).src(), z.plane(plane).src());
        for start in (0..rows).step_by(SUM_ROWS) {
            let (mut first, mut second) = (s.zero(), s.zero());
            for row in start..rows.min(start + SUM_ROWS) {
                let gradient = s.load_pixel(d, row);
                first = s.add(first, gradient);
                second = s.mul_add(gradient, s.load_pixel(z, row), second);
            }
            sums.add(s, plane * LANES, first, second);
        }
    }
}
