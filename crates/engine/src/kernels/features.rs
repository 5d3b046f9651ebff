//! The classifier's input in training: activated, and multiplied by the factors of the dropout.

use super::activation::{HARDSWISH, IDENTITY, activate, derive};
use super::entry_f32;
use crate::memory::{Planes, Src};
use crate::simd::{LANES, Simd};

/// Some channels of a feature, one row for each image.
#[derive(Clone, Copy)]
pub(crate) struct FeatureRows {
    pub(crate) images: usize,
    /// The plane, and its number of channels.
    pub(crate) plane: usize,
    pub(crate) channels: usize,
    /// Whether the activation is Hardswish; otherwise there is none.
    pub(crate) hardswish: bool,
    /// The factors of the dropout, `[images][features]`, and the number of features.
    pub(crate) factors: Option<(Src, usize)>,
    /// The input of the activation.
    pub(crate) before: Planes,
    pub(crate) target: Planes,
}

impl FeatureRows {
    /// The factors of an image.
    #[inline(always)]
    unsafe fn factors<S: Simd>(&self, s: S, image: usize) -> S::Vector {
        match self.factors {
            None => s.splat(1.0),
            Some((factors, width)) => {
                s.load_first(self.channels, factors, image * width + self.plane * LANES)
            }
        }
    }
}

entry_f32! {
    /// `target = activation(before) * factors`
    ///
    /// # Safety
    /// The operands must have the plane, and the factors all features.
    fn feature_rows(operands: &FeatureRows) => feature_rows_kernel
}

#[inline(always)]
unsafe fn feature_rows_kernel<S: Simd>(s: S, o: &FeatureRows) {
    let before = o.before.plane(o.plane).src();
    let target = o.target.plane(o.plane).start;
    for image in 0..o.images {
        let x = s.load_pixel(before, image);
        let value = match o.hardswish {
            true => activate::<S, HARDSWISH>(s, x),
            false => activate::<S, IDENTITY>(s, x),
        };
        s.store_pixel(target, image, s.mul(value, o.factors(s, image)));
    }
}

entry_f32! {
    /// Converts the gradient in the target to that of the activation's input.
    ///
    /// # Safety
    /// As for [`feature_rows`].
    fn feature_rows_backward(operands: &FeatureRows) => feature_rows_backward_kernel
}

#[inline(always)]
unsafe fn feature_rows_backward_kernel<S: Simd>(s: S, o: &FeatureRows) {
    let before = o.before.plane(o.plane).src();
    let target = o.target.plane(o.plane).start;
    for image in 0..o.images {
        let d = s.mul(s.load_pixel(target.src(), image), o.factors(s, image));
        let x = s.load_pixel(before, image);
        let gradient = match o.hardswish {
            true => derive::<S, HARDSWISH>(s, x, d),
            false => derive::<S, IDENTITY>(s, x, d),
        };
        s.store_pixel(target, image, gradient);
    }
}
