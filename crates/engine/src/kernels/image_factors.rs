//! Squeeze-excite and pooling: averages over an image, and multiplication of an image's channels by
//! factors.

use super::activation::{activate, for_activation, for_any_activation};
use super::image_rows::Images;
use super::{entry, put};
use crate::memory::Planes;
use crate::simd::Simd;
use crate::spec::Activation;

entry! {
    /// Averages each of `images` images over its `pixels` pixels and writes the averages to
    /// `target`, `[planes][images][16]`.
    ///
    /// # Safety
    /// `source` holds `images * pixels` rows.
    fn image_averages(images: usize, pixels: usize, planes: usize, source: Planes, target: Planes)
        => image_averages_kernel
}

#[inline(always)]
unsafe fn image_averages_kernel<S: Simd>(
    s: S,
    images: usize,
    pixels: usize,
    planes: usize,
    source: Planes,
    target: Planes,
) {
    let share = s.splat(1.0 / pixels as f32);
    for plane in 0..planes {
        let (source, target) = (source.plane(plane).src(), target.plane(plane));
        for image in 0..images {
            // Four independent sums, so that no addition waits for the previous one.
            let mut sums = [s.zero(); 4];
            let source = source.at(image * pixels * S::PIXEL);
            let mut row = 0;
            while row + 4 <= pixels {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum = s.add(*sum, s.load_pixel(source, row + lane));
                }
                row += 4;
            }
            while row < pixels {
                sums[0] = s.add(sums[0], s.load_pixel(source, row));
                row += 1;
            }
            let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            put(s, target, image, s.mul(sum, share));
        }
    }
}

entry! {
    /// `values = activation(values)`.
    ///
    /// # Safety
    /// `values` must have `planes` planes of `rows` rows.
    fn activate_values(rows: usize, planes: usize, activation: Activation, values: Planes)
        => activate_values_kernel
}

#[inline(always)]
unsafe fn activate_values_kernel<S: Simd>(
    s: S,
    rows: usize,
    planes: usize,
    activation: Activation,
    values: Planes,
) {
    for plane in 0..planes {
        let values = values.plane(plane).start;
        for_any_activation!(activation, A => for row in 0..rows {
            let value = activate::<S, A>(s, s.load_pixel(values.src(), row));
            s.store_pixel(values, row, value);
        });
    }
}

entry! {
    /// Multiplies a block of rows by its images' `factors`, `[planes][images][16]`, and applies
    /// the activation.
    ///
    /// # Safety
    /// `values` must hold `rows` rows. `factors` must cover the images of the block.
    fn multiply_rows(
        rows: usize,
        planes: usize,
        images: Images,
        factors: Planes,
        activation: Activation,
        values: Planes,
    ) => multiply_rows_kernel
}

#[inline(always)]
unsafe fn multiply_rows_kernel<S: Simd>(
    s: S,
    rows: usize,
    planes: usize,
    images: Images,
    factors: Planes,
    activation: Activation,
    values: Planes,
) {
    for plane in 0..planes {
        let (factors, values) = (factors.plane(plane).src(), values.plane(plane).start);
        for_activation!(activation, A => for (image, rows) in images.spans(rows) {
            let factor = s.load_pixel(factors, image);
            for row in rows {
                let value = s.mul(s.load_pixel(values.src(), row), factor);
                s.store_pixel(values, row, activate::<S, A>(s, value));
            }
        });
    }
}
