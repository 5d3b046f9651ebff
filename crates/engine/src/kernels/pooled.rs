//! Averages over images, and the backward pass of squeeze-excite.

use std::ops::Range;

use super::activation::{activate, derive, for_activation};
use super::image_rows::Images;
use super::{Affine, Sums, entry};
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

entry! {
    /// Writes the average of `activation(z * scale + shift)` over the `pixels` of each of `images`
    /// images to `target`, `[planes][images][16]`.
    ///
    /// # Safety
    /// `z` holds `images * pixels` rows.
    fn average(
        images: usize,
        pixels: usize,
        planes: usize,
        z: Planes,
        norm: Affine,
        activation: Activation,
        target: Planes,
    ) => average_kernel
}

#[inline(always)]
unsafe fn average_kernel<S: Simd>(
    s: S,
    images: usize,
    pixels: usize,
    planes: usize,
    z: Planes,
    norm: Affine,
    activation: Activation,
    target: Planes,
) {
    let share = s.splat(1.0 / pixels as f32);
    for plane in 0..planes {
        let (scale, shift) = norm.at(s, plane * LANES);
        let (z, target) = (z.plane(plane).src(), target.plane(plane).start);
        for_activation!(activation, A => for image in 0..images {
            // Two independent sums, so that no addition waits for the previous one.
            let mut sums = [s.zero(); 2];
            let z = z.at(image * pixels * S::PIXEL);
            let mut row = 0;
            while row + 2 <= pixels {
                for (half, sum) in sums.iter_mut().enumerate() {
                    let y = s.mul_add(s.load_pixel(z, row + half), scale, shift);
                    *sum = s.add(*sum, activate::<S, A>(s, y));
                }
                row += 2;
            }
            if row < pixels {
                let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                sums[0] = s.add(sums[0], activate::<S, A>(s, y));
            }
            s.store(target, image * LANES, s.mul(s.add(sums[0], sums[1]), share));
        });
    }
}

entry! {
    /// The backward pass of [`average`]. Converts the gradient `d` of the averages,
    /// `[planes][images][16]`, to the gradient before the activation. Also computes the sums for
    /// the normalisation before that activation.
    ///
    /// # Safety
    /// `z` and `target` hold `images * pixels` rows.
    fn average_backward(
        images: usize,
        pixels: usize,
        planes: usize,
        d: Planes,
        z: Planes,
        norm: Affine,
        activation: Activation,
        target: Planes,
        sums: &mut Sums,
    ) => average_backward_kernel
}

#[inline(always)]
unsafe fn average_backward_kernel<S: Simd>(
    s: S,
    images: usize,
    pixels: usize,
    planes: usize,
    d: Planes,
    z: Planes,
    norm: Affine,
    activation: Activation,
    target: Planes,
    sums: &mut Sums,
) {
    let share = s.splat(1.0 / pixels as f32);
    for plane in 0..planes {
        let (scale, shift) = norm.at(s, plane * LANES);
        let (d, z) = (d.plane(plane).src(), z.plane(plane).src());
        let target = target.plane(plane).start;
        let (mut first, mut second) = (s.zero(), s.zero());
        for_activation!(activation, A => for image in 0..images {
            let d = s.mul(share, s.load(d, image * LANES));
            let rows = image * pixels..(image + 1) * pixels;
            let sums = before_activation::<S, A>(
                s, rows, z, (scale, shift), target,
                #[inline(always)] |_| d,
            );
            first = s.add(first, sums[0]);
            second = s.add(second, sums[1]);
        });
        sums.add(s, plane * LANES, first, second);
    }
}

/// Converts the gradient after an activation to the gradient before it, for one image's rows of one
/// plane. Returns two sums of the new gradient: of its values, and of its products with `z`. Sums
/// are per image, so that rounding errors do not grow with the batch.
#[inline(always)]
unsafe fn before_activation<S: Simd, const A: u8>(
    s: S,
    rows: Range<usize>,
    z: Src,
    (scale, shift): (S::Vector, S::Vector),
    target: Dst,
    behind: impl Fn(usize) -> S::Vector,
) -> [S::Vector; 2] {
    let mut sums = [s.zero(); 2];
    for row in rows {
        let value = s.load_pixel(z, row);
        let gradient = derive::<S, A>(s, s.mul_add(value, scale, shift), behind(row));
        s.store_pixel(target, row, gradient);
        sums[0] = s.add(sums[0], gradient);
        sums[1] = s.mul_add(gradient, value, sums[1]);
    }
    sums
}

entry! {
    /// Adds to the gradient of each image's factors, `[planes][images][16]`. `d` is the gradient
    /// after the multiplication by the factors. The added value is the sum, over a block of rows,
    /// of `d` times the activations before the multiplication.
    ///
    /// # Safety
    /// `d` and `z` hold `rows` rows; the block's images exist in `target`.
    fn factor_gradient(
        rows: usize,
        planes: usize,
        images: Images,
        d: Planes,
        z: Planes,
        norm: Affine,
        activation: Activation,
        target: Planes,
    ) => factor_gradient_kernel
}

#[inline(always)]
unsafe fn factor_gradient_kernel<S: Simd>(
    s: S,
    rows: usize,
    planes: usize,
    images: Images,
    d: Planes,
    z: Planes,
    norm: Affine,
    activation: Activation,
    target: Planes,
) {
    for plane in 0..planes {
        let (scale, shift) = norm.at(s, plane * LANES);
        let (d, z) = (d.plane(plane).src(), z.plane(plane).src());
        let target = target.plane(plane).start;
        for_activation!(activation, A => for (image, rows) in images.spans(rows) {
            let mut sum = s.load(target.src(), image * LANES);
            for row in rows {
                let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                sum = s.mul_add(s.load_pixel(d, row), activate::<S, A>(s, y), sum);
            }
            s.store(target, image * LANES, sum);
        });
    }
}

/// Operands of [`factored_backward`].
#[derive(Clone, Copy)]
pub(crate) struct FactoredBackward {
    pub(crate) rows: usize,
    pub(crate) planes: usize,
    pub(crate) images: Images,
    /// The gradient after the activation. It is overwritten with the gradient before the
    /// activation.
    pub(crate) d: Planes,
    /// The input of the normalisation before the factors.
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) activation: Activation,
    /// The factors, `[planes][images][16]`.
    pub(crate) factors: Planes,
}

entry! {
    /// The backward pass of an activation that comes after the factors of squeeze-excite,
    /// `activation(factor * (z * scale + shift))`.
    ///
    /// # Safety
    /// See the operands.
    fn factored_backward(operands: &FactoredBackward) => factored_backward_kernel
}

#[inline(always)]
unsafe fn factored_backward_kernel<S: Simd>(s: S, o: &FactoredBackward) {
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let (d, z) = (o.d.plane(plane).start, o.z.plane(plane).src());
        let factors = o.factors.plane(plane).src();
        for_activation!(o.activation, A => for (image, rows) in o.images.spans(o.rows) {
            let factor = s.load(factors, image * LANES);
            // Scaled as in the forward pass, so that rounding does not move a value across a kink
            // of the activation.
            let (scale, shift) = (s.mul(scale, factor), s.mul(shift, factor));
            for row in rows {
                let y = s.mul_add(s.load_pixel(z, row), scale, shift);
                s.store_pixel(d, row, derive::<S, A>(s, y, s.load_pixel(d.src(), row)));
            }
        });
    }
}

/// Operands of [`squeeze_backward`].
#[derive(Clone, Copy)]
pub(crate) struct SqueezeBackward {
    pub(crate) images: usize,
    pub(crate) pixels: usize,
    pub(crate) planes: usize,
    /// The gradient after the multiplication by the factors.
    pub(crate) d: Planes,
    /// The input of the normalisation before the activation.
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) activation: Activation,
    /// The factors, `[planes][images][16]`.
    pub(crate) factors: Planes,
    /// The gradient of the averages from which the factors were computed, `[planes][images][16]`.
    pub(crate) averages: Planes,
    /// Output: the gradient with respect to the activation's input. May be `d` itself.
    pub(crate) target: Planes,
}

entry! {
    /// The backward pass of a normalised activation followed by squeeze-excite. It computes the
    /// gradient before the activation, and the sums for the normalisation.
    ///
    /// # Safety
    /// See the operands.
    fn squeeze_backward(operands: &SqueezeBackward, sums: &mut Sums) => squeeze_backward_kernel
}

#[inline(always)]
unsafe fn squeeze_backward_kernel<S: Simd>(s: S, o: &SqueezeBackward, sums: &mut Sums) {
    let share = s.splat(1.0 / o.pixels as f32);
    for plane in 0..o.planes {
        let (scale, shift) = o.norm.at(s, plane * LANES);
        let (d, z) = (o.d.plane(plane).src(), o.z.plane(plane).src());
        let (factors, averages) = (o.factors.plane(plane).src(), o.averages.plane(plane).src());
        let target = o.target.plane(plane).start;
        let (mut first, mut second) = (s.zero(), s.zero());
        for_activation!(o.activation, A => for image in 0..o.images {
            let factor = s.load(factors, image * LANES);
            let average = s.mul(share, s.load(averages, image * LANES));
            let rows = image * o.pixels..(image + 1) * o.pixels;
            let sums = before_activation::<S, A>(
                s, rows, z, (scale, shift), target,
                #[inline(always)] |row| s.mul_add(s.load_pixel(d, row), factor, average),
            );
            first = s.add(first, sums[0]);
            second = s.add(second, sums[1]);
        });
        sums.add(s, plane * LANES, first, second);
    }
}
