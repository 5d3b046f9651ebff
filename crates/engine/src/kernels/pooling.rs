//! Maxima and means of windows.

use std::ops::Range;

use super::activation::{activate, for_activation};
use super::image_rows::inside;
use super::{Reading, entry_f32};
use crate::memory::{Dst, Planes, Src};
use crate::network::Window;
use crate::simd::{LANES, Simd};

/// The windows of a pooling, over images of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) window: Window,
    /// Height and width of the input.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Height and width of the output.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) images: usize,
    pub(crate) planes: usize,
}

impl Pool {
    /// Calls `f` with each output pixel, and the rows and columns of the input that its window covers. Columns start
    /// from the first pixel of the image.
    #[inline(always)]
    unsafe fn each(&self, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        let Window { kernel, stride, .. } = self.window;
        let zeros = self.window.zeros((self.height, self.width));
        for image in 0..self.images {
            for y in 0..self.rows {
                let seen = inside(y, stride, kernel, self.height, zeros.above);
                let from = image * self.height + y * stride;
                let rows = from + seen.start - zeros.above..from + seen.end - zeros.above;
                for x in 0..self.columns {
                    let seen = inside(x, stride, kernel, self.width, zeros.left);
                    let left = x * stride;
                    let columns = left + seen.start - zeros.left..left + seen.end - zeros.left;
                    let pixel = (image * self.rows + y) * self.columns + x;
                    f(pixel, rows.clone(), columns);
                }
            }
        }
    }

    /// Calls `f` with each pixel of a window.
    #[inline(always)]
    fn pixels(&self, rows: &Range<usize>, columns: &Range<usize>, mut f: impl FnMut(usize)) {
        for row in rows.clone() {
            for column in columns.clone() {
                f(row * self.width + column);
            }
        }
    }
}

entry_f32! {
    /// Stores the largest value of each window. NaN counts as the largest.
    ///
    /// # Safety
    /// The source holds all images, and the target all outputs.
    fn max_pool(pool: &Pool, source: Reading, target: Planes) => max_pool_kernel
}

#[inline(always)]
unsafe fn max_pool_kernel<S: Simd>(s: S, o: &Pool, source: Reading, target: Planes) {
    for plane in 0..o.planes {
        let affine = source.affine(s, plane);
        let (z, target) = (source.source(plane), target.plane(plane).start);
        for_activation!(source.activation, A => o.each(#[inline(always)] |pixel, rows, columns| {
            let (largest, nan) = largest::<S, A>(s, o, z, affine, &rows, &columns);
            s.store_pixel(target, pixel, s.add(largest, nan));
        }));
    }
}

/// The value of a pixel.
#[inline(always)]
unsafe fn value<S: Simd, const A: u8>(
    s: S,
    z: Src,
    (scale, shift): (S::Vector, S::Vector),
    pixel: usize,
) -> S::Vector {
    activate::<S, A>(s, s.mul_add(s.load_pixel(z, pixel), scale, shift))
}

/// The largest number of a window, and NaN if the window has one, otherwise 0.
#[inline(always)]
unsafe fn largest<S: Simd, const A: u8>(
    s: S,
    o: &Pool,
    z: Src,
    affine: (S::Vector, S::Vector),
    rows: &Range<usize>,
    columns: &Range<usize>,
) -> (S::Vector, S::Vector) {
    let (mut largest, mut nan) = (s.splat(f32::NEG_INFINITY), s.zero());
    o.pixels(
        rows,
        columns,
        #[inline(always)]
        |pixel| {
            let value = value::<S, A>(s, z, affine, pixel);
            // If the value is NaN, this is the second operand.
            largest = s.max(value, largest);
            let finite = s.min(s.splat(f32::MAX), s.max(s.splat(f32::MIN), value));
            nan = s.mul_add(finite, s.zero(), nan);
        },
    );
    (largest, nan)
}

entry_f32! {
    /// The backward pass of [`max_pool`]: stores the gradient `d` of each output at the first largest value of its
    /// window, and 0 elsewhere. Gradients that meet are added.
    ///
    /// # Safety
    /// `source` and `target` hold all images, and `d` all outputs.
    fn max_pool_backward(pool: &Pool, source: Reading, d: Planes, target: Planes)
        => max_pool_backward_kernel
}

#[inline(always)]
unsafe fn max_pool_backward_kernel<S: Simd>(
    s: S,
    o: &Pool,
    source: Reading,
    d: Planes,
    target: Planes,
) {
    for plane in 0..o.planes {
        let affine = source.affine(s, plane);
        let z = source.source(plane);
        let (d, target) = (d.plane(plane).src(), target.plane(plane).start);
        target.fill_zero(o.images * o.height * o.width * LANES);
        for_activation!(source.activation, A => o.each(#[inline(always)] |pixel, rows, columns| {
            let (largest, _) = largest::<S, A>(s, o, z, affine, &rows, &columns);
            // The part of the gradient that no pixel has received yet.
            let mut left = s.load_pixel(d, pixel);
            o.pixels(&rows, &columns, #[inline(always)] |pixel| {
                let value = value::<S, A>(s, z, affine, pixel);
                let received = s.where_greater(largest, value, s.zero(), left);
                left = s.where_greater(largest, value, left, s.zero());
                add(s, target, pixel, received);
            });
        }));
    }
}

#[inline(always)]
unsafe fn add<S: Simd>(s: S, target: Dst, pixel: usize, value: S::Vector) {
    let sum = s.add(s.load_pixel(target.src(), pixel), value);
    s.store_pixel(target, pixel, sum);
}

entry_f32! {
    /// Stores the mean of each window. Pixels outside the image do not count.
    ///
    /// # Safety
    /// The source holds all images, and the target all outputs.
    fn average_pool(pool: &Pool, source: Reading, target: Planes) => average_pool_kernel
}

#[inline(always)]
unsafe fn average_pool_kernel<S: Simd>(s: S, o: &Pool, source: Reading, target: Planes) {
    for plane in 0..o.planes {
        let affine = source.affine(s, plane);
        let (z, target) = (source.source(plane), target.plane(plane).start);
        for_activation!(source.activation, A => o.each(#[inline(always)] |pixel, rows, columns| {
            let mut sum = s.zero();
            o.pixels(&rows, &columns, #[inline(always)] |pixel| {
                sum = s.add(sum, value::<S, A>(s, z, affine, pixel));
            });
            let share = s.splat(1.0 / (rows.len() * columns.len()) as f32);
            s.store_pixel(target, pixel, s.mul(sum, share));
        }));
    }
}

entry_f32! {
    /// The backward pass of [`average_pool`], plus the addend, which may be the target itself.
    ///
    /// # Safety
    /// `addend` and `target` hold all images, and `d` all outputs.
    fn average_pool_backward(pool: &Pool, d: Planes, addend: Option<Planes>, target: Planes)
        => average_pool_backward_kernel
}

#[inline(always)]
unsafe fn average_pool_backward_kernel<S: Simd>(
    s: S,
    o: &Pool,
    d: Planes,
    addend: Option<Planes>,
    target: Planes,
) {
    let pixels = o.images * o.height * o.width;
    for plane in 0..o.planes {
        let (d, target) = (d.plane(plane).src(), target.plane(plane).start);
        match addend {
            None => target.fill_zero(pixels * LANES),
            Some(addend) => {
                let addend = addend.plane(plane).src();
                for pixel in 0..pixels {
                    s.store_pixel(target, pixel, s.load_pixel(addend, pixel));
                }
            }
        }
        o.each(
            #[inline(always)]
            |pixel, rows, columns| {
                let share = s.splat(1.0 / (rows.len() * columns.len()) as f32);
                let share = s.mul(s.load_pixel(d, pixel), share);
                o.pixels(
                    &rows,
                    &columns,
                    #[inline(always)]
                    |pixel| add(s, target, pixel, share),
                );
            },
        );
    }
}
