//! Padded copies of rows of images.

use std::ops::Range;

use crate::kernels::activation::{activate, for_activation};
use crate::kernels::{Behind, Reading, entry_f32};
use crate::memory::Dst;
use crate::simd::{LANES, Simd};

/// Pixels that may be read beyond the last one: a tile has 16.
const BEYOND: usize = LANES - 1;

/// Rows of images with zeros around them, `[planes][images][rows][phases][columns][16]`. Column `c` of a row is the
/// column `c / phases` of phase `c % phases`.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) start: Dst,
    pub(crate) images: usize,
    /// Rows of each image.
    pub(crate) rows: usize,
    /// Columns of each phase.
    pub(crate) columns: usize,
    /// Number of phases: the stride of the convolution that reads the frame, or its kernel if that is smaller.
    pub(crate) phases: usize,
}

impl Frame {
    /// Distance in values from one row to the next.
    #[inline(always)]
    pub(crate) fn pitch(&self) -> usize {
        self.phases * self.columns * LANES
    }

    /// Distance in values from one image to the next.
    #[inline(always)]
    pub(crate) fn image(&self) -> usize {
        self.rows * self.pitch()
    }

    /// Distance in values from one plane to the next: an odd number of cache lines.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        ((self.images * self.image() / LANES) | 1) * LANES
    }

    /// Length in values of the memory for this many planes. The last tile of outputs may read beyond the last pixel.
    pub(crate) fn length(&self, planes: usize) -> usize {
        self.values(planes) + BEYOND * LANES
    }

    /// Number of values in this many planes.
    pub(crate) fn values(&self, planes: usize) -> usize {
        planes * self.stride()
    }

    /// Distance in values from the frame's first pixel to another one.
    pub(crate) fn offset(&self, row: usize, column: usize) -> usize {
        let column = column % self.phases * self.columns + column / self.phases;
        row * self.pitch() + column * LANES
    }
}

/// The operands of [`fill`].
#[derive(Clone)]
pub(crate) struct Fill {
    pub(crate) frame: Frame,
    /// The planes to fill.
    pub(crate) planes: Range<usize>,
    /// Height of the source's images.
    pub(crate) height: usize,
    /// Width of the source's images.
    pub(crate) width: usize,
    /// The stride of the convolution that reads the frame. It skips rows and columns if the frame has fewer phases.
    pub(crate) stride: usize,
    /// The row of the images that is the frame's first. Rows outside the images are 0.
    pub(crate) row: isize,
    /// The column of the images that is the frame's first.
    pub(crate) column: isize,
}

/// Fills a frame with the gradient of a layer's output.
///
/// # Safety
/// As for [`fill`].
pub(crate) unsafe fn fill_behind(isa: crate::isa::Isa, operands: &Fill, source: &Behind) {
    match source.norm {
        Some(_) => combined(isa, operands, source),
        None => fill(isa, operands, &Reading::plain(source.d)),
    }
}

entry_f32! {
    /// Fills a frame.
    ///
    /// # Safety
    /// The source holds the frame's number of images of `height * width` pixels, and the frame's memory the planes.
    fn fill(operands: &Fill, source: &Reading) => fill_kernel
}

#[inline(always)]
unsafe fn fill_kernel<S: Simd>(s: S, o: &Fill, source: &Reading) {
    for plane in o.planes.clone() {
        let (scale, shift) = source.affine(s, plane);
        let z = source.source(plane);
        for_activation!(source.activation, A => plane_rows(s, o, plane, #[inline(always)] |pixel| {
            activate::<S, A>(s, s.mul_add(s.load_pixel(z, pixel), scale, shift))
        }));
    }
}

entry_f32! {
    /// Fills a frame with `a * d + b * z + c`.
    ///
    /// # Safety
    /// As for [`fill`].
    fn combined(operands: &Fill, source: &Behind) => combined_kernel
}

#[inline(always)]
unsafe fn combined_kernel<S: Simd>(s: S, o: &Fill, source: &Behind) {
    let Some(norm) = source.norm else { return };
    for plane in o.planes.clone() {
        let norm = norm.at(s, plane * LANES);
        let (d, z) = (source.d.plane(plane).src(), source.z.plane(plane).src());
        plane_rows(
            s,
            o,
            plane,
            #[inline(always)]
            |pixel| norm.combine(s, s.load_pixel(d, pixel), s.load_pixel(z, pixel)),
        );
    }
}

/// Fills one plane with `value(pixel)`. Pixels are counted over all images.
#[inline(always)]
pub(super) unsafe fn plane_rows<S: Simd>(
    s: S,
    o: &Fill,
    plane: usize,
    value: impl Fn(usize) -> S::Vector,
) {
    let frame = &o.frame;
    let start = frame.start.at(plane * frame.stride());
    for image in 0..frame.images {
        for row in 0..frame.rows {
            let target = start.at(image * frame.image() + row * frame.pitch());
            let skipped = row / frame.phases * (o.stride - frame.phases);
            let y = o.row + (row + skipped) as isize;
            if y < 0 || y >= o.height as isize {
                target.fill_zero(frame.pitch());
                continue;
            }
            let first = (image * o.height + y as usize) * o.width;
            for phase in 0..frame.phases {
                let target = target.at(phase * frame.columns * LANES);
                // The image's column of the phase's first column.
                let column = o.column + phase as isize;
                let inside = inside(column, o.stride, frame.columns, o.width);
                target.fill_zero(inside.start * LANES);
                let (step, count) = (o.stride, inside.len());
                let pixel = (first as isize + column) + (inside.start * step) as isize;
                let to = target.at(inside.start * LANES);
                if step == 1 {
                    for index in 0..count {
                        s.store(to, index * LANES, value(pixel as usize + index));
                    }
                } else {
                    for index in 0..count {
                        s.store(to, index * LANES, value(pixel as usize + index * step));
                    }
                }
                let behind = frame.columns - inside.end;
                target.at(inside.end * LANES).fill_zero(behind * LANES);
            }
        }
    }
}

/// Of `count` columns, `column`, `column + step`, …, those from 0 to `width`.
#[inline(always)]
fn inside(column: isize, step: usize, count: usize, width: usize) -> Range<usize> {
    let before = (-column).max(0) as usize;
    let start = before.div_ceil(step).min(count);
    let room = (width as isize - column).max(0) as usize;
    let end = room.div_ceil(step).min(count);
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_inside_an_image() {
        for column in -5..5_isize {
            for (step, count, width) in [(1, 7, 4), (2, 3, 5), (3, 4, 1), (2, 5, 20)] {
                let expected = (0..count).filter(|index| {
                    let at = column + (index * step) as isize;
                    (0..width as isize).contains(&at)
                });
                let found = inside(column, step, count, width);
                assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            }
        }
    }
}
