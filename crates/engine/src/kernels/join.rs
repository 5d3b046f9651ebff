//! Passes over blocks of pixels for networks of any form: sums of two values, and the backward pass of values that are
//! normalised and activated when they are read.

use super::activation::{activate, derive, for_activation, for_any_activation};
use super::image_rows::Images;
use super::{Affine, NormBackward, Sums, entry};
use crate::memory::Planes;
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// Number of rows that are summed in f32 before the sums are added to f64 totals.
const SUM_ROWS: usize = 128;

/// Operands of [`join_rows`].
#[derive(Clone, Copy)]
pub(crate) struct JoinRows {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) inputs: [(Planes, Affine); 2],
    pub(crate) activation: Activation,
    pub(crate) target: Planes,
}

entry! {
    /// `target = activation((a * scale + shift) + (b * scale + shift))`
    ///
    /// # Safety
    /// All operands must have `planes` planes of `rows` pixels.
    fn join_rows(operands: &JoinRows) => join_rows_kernel
}

#[inline(always)]
unsafe fn join_rows_kernel<S: Simd>(s: S, o: &JoinRows) {
    let [(a, norm_a), (b, norm_b)] = o.inputs;
    for plane in 0..o.planes {
        let (scale_a, shift_a) = norm_a.at(s, plane * LANES);
        let (scale_b, shift_b) = norm_b.at(s, plane * LANES);
        let (a, b) = (a.plane(plane).src(), b.plane(plane).src());
        let target = o.target.plane(plane).start;
        for_activation!(o.activation, A => for row in 0..o.rows {
            let x = s.mul_add(s.load_pixel(a, row), scale_a, shift_a);
            let y = s.mul_add(s.load_pixel(b, row), scale_b, shift_b);
            s.store_pixel(target, row, activate::<S, A>(s, s.add(x, y)));
        });
    }
}

/// Operands of [`join_backward`].
#[derive(Clone, Copy)]
pub(crate) struct JoinBackward {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    /// The gradient of the result.
    pub(crate) d: Planes,
    /// The result, after the activation.
    pub(crate) y: Planes,
    /// ReLU or ReLU6: their derivative follows from the result.
    pub(crate) activation: Activation,
    /// Values whose products with the gradient are summed.
    pub(crate) with: [Option<Planes>; 2],
    /// May be `d` itself.
    pub(crate) target: Planes,
}

entry! {
    /// The gradient before the activation. Adds its sums, and the sums of its products with both values, to `sums`:
    /// those of the second value come `planes * 16` channels later.
    ///
    /// # Safety
    /// See the operands. `sums` must have twice as many channels as the planes.
    fn join_backward(operands: &JoinBackward, sums: &mut Sums) => join_backward_kernel
}

#[inline(always)]
unsafe fn join_backward_kernel<S: Simd>(s: S, o: &JoinBackward, sums: &mut Sums) {
    for plane in 0..o.planes {
        let (d, y) = (o.d.plane(plane).src(), o.y.plane(plane).src());
        let target = o.target.plane(plane).start;
        // A value that is not asked for is replaced by the result; its sums are not used.
        let a = o.with[0].map_or(y, |with| with.plane(plane).src());
        let b = o.with[1].map_or(a, |with| with.plane(plane).src());
        for start in (0..o.rows).step_by(SUM_ROWS) {
            let end = o.rows.min(start + SUM_ROWS);
            let (mut first, mut with_a, mut with_b) = (s.zero(), s.zero(), s.zero());
            for_activation!(o.activation, A => for row in start..end {
                let gradient = derive::<S, A>(s, s.load_pixel(y, row), s.load_pixel(d, row));
                s.store_pixel(target, row, gradient);
                first = s.add(first, gradient);
                with_a = s.mul_add(gradient, s.load_pixel(a, row), with_a);
                with_b = s.mul_add(gradient, s.load_pixel(b, row), with_b);
            });
            sums.add(s, plane * LANES, first, with_a);
            sums.add(s, (o.planes + plane) * LANES, first, with_b);
        }
    }
}

/// Operands of [`reading_backward`].
#[derive(Clone, Copy)]
pub(crate) struct ReadingBackward {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) images: Images,
    /// The gradient of the value that was read.
    pub(crate) d: Option<Planes>,
    /// Factors of each image, `[planes][images][16]`, that multiply `d`.
    pub(crate) factors: Option<Planes>,
    /// Added to the gradient of every pixel of an image, `[planes][images][16]`, times `share`.
    pub(crate) averages: Option<(Planes, f32)>,
    /// The stored value.
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) activation: Activation,
    /// Added to the result; may be the target.
    pub(crate) addend: Option<Planes>,
    pub(crate) target: Planes,
}

entry! {
    /// The backward pass of `activation(z * scale + shift)`: the gradient before the activation. Adds the sums of the
    /// result, and of its products with `z`.
    ///
    /// # Safety
    /// See the operands. `sums` must have as many channels as the planes.
    fn reading_backward(operands: &ReadingBackward, sums: &mut Sums) => reading_backward_kernel
}

#[inline(always)]
unsafe fn reading_backward_kernel<S: Simd>(s: S, o: &ReadingBackward, sums: &mut Sums) {
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let z = o.z.plane(plane).src();
        let target = o.target.plane(plane).start;
        let (mut first, mut second) = (s.zero(), s.zero());
        for (image, rows) in o.images.spans(o.rows) {
            let factor = match o.factors {
                Some(factors) => s.load(factors.plane(plane).src(), image * LANES),
                None => s.splat(1.0),
            };
            let average = match o.averages {
                Some((averages, share)) => {
                    let sum = s.load(averages.plane(plane).src(), image * LANES);
                    s.mul(sum, s.splat(share))
                }
                None => s.zero(),
            };
            let (mut sum, mut product) = (s.zero(), s.zero());
            for_any_activation!(o.activation, A => for row in rows {
                let value = s.load_pixel(z, row);
                let d = match o.d {
                    Some(d) => s.mul_add(s.load_pixel(d.plane(plane).src(), row), factor, average),
                    None => average,
                };
                let mut gradient = derive::<S, A>(s, s.mul_add(value, scale, shift), d);
                if let Some(addend) = o.addend {
                    gradient = s.add(gradient, s.load_pixel(addend.plane(plane).src(), row));
                }
                s.store_pixel(target, row, gradient);
                sum = s.add(sum, gradient);
                product = s.mul_add(gradient, value, product);
            });
            first = s.add(first, sum);
            second = s.add(second, product);
        }
        sums.add(s, plane * LANES, first, second);
    }
}

/// Operands of [`accumulate_rows`].
#[derive(Clone, Copy)]
pub(crate) struct AccumulateRows {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) d: Planes,
    pub(crate) z: Planes,
    pub(crate) norm: NormBackward,
    pub(crate) addend: Planes,
    /// May be the addend.
    pub(crate) target: Planes,
}

entry! {
    /// `target = addend + a * d + b * z + c`
    ///
    /// # Safety
    /// All operands must have `planes` planes of `rows` pixels.
    fn accumulate_rows(operands: &AccumulateRows) => accumulate_rows_kernel
}

#[inline(always)]
unsafe fn accumulate_rows_kernel<S: Simd>(s: S, o: &AccumulateRows) {
    for plane in 0..o.planes {
        let norm = o.norm.at(s, plane * LANES);
        let (d, z) = (o.d.plane(plane).src(), o.z.plane(plane).src());
        let (addend, target) = (o.addend.plane(plane).src(), o.target.plane(plane).start);
        for row in 0..o.rows {
            let value = norm.combine(s, s.load_pixel(d, row), s.load_pixel(z, row));
            s.store_pixel(target, row, s.add(s.load_pixel(addend, row), value));
        }
    }
}
