//! Fetches memory into the caches before it is read.
//!
//! A processor guesses that the next address will be read. It guesses neither the next plane of a value, nor the
//! operands of a tile's epilogue, nor a gradient that a tile adds to, nor the weights behind a panel while tiles read
//! the panel again.

use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};

/// Fetches a tile's pixels in the plane behind `a` into the first cache.
#[inline(always)]
pub(super) fn fetch_pixels<S: Simd, const ROWS: usize>(s: S, a: Src, stride: usize) {
    let next = a.beyond(stride);
    for row in (0..ROWS).step_by(LANES / S::PIXEL) {
        s.fetch(next.wrapping_add(row * S::PIXEL));
    }
}

/// Fetches the pixels of a tile in adjacent planes into the first cache. `planes` begins at the tile's first pixel, and
/// the others follow at a distance of `step` pixels.
#[inline(always)]
pub(super) fn fetch_tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    s: S,
    planes: Planes,
    step: usize,
) {
    for vector in 0..WIDTH {
        let plane = planes.src().beyond(vector * planes.stride);
        for row in 0..ROWS {
            s.fetch(plane.wrapping_add(row * step * S::PIXEL));
        }
    }
}

/// Fetches `rows` rows of a gradient, which are `pitch` values apart, into the first cache.
#[inline(always)]
pub(super) fn fetch_gradient<S: Simd, const WIDTH: usize>(
    s: S,
    gradient: Dst,
    pitch: usize,
    rows: usize,
) {
    for row in 0..rows {
        for vector in 0..WIDTH {
            s.fetch(gradient.src().beyond(row * pitch + vector * LANES));
        }
    }
}

/// The weights behind a panel: the next panel's, or the next layer's. The tiles of a panel fetch them into the second
/// cache, each tile a part.
#[derive(Clone, Copy)]
pub(super) struct NextPanel {
    from: *const f32,
    /// Cache lines that a call fetches.
    lines: usize,
}

impl NextPanel {
    pub(super) const NONE: NextPanel = NextPanel {
        from: std::ptr::null(),
        lines: 0,
    };

    /// The weights behind `panel`, which has `length` values. The tiles make `calls` calls in total. If there are more
    /// calls than lines, fetching would cost more than waiting.
    #[inline(always)]
    pub(super) fn new(panel: Src, length: usize, calls: usize) -> Self {
        let lines = length / LANES;
        NextPanel {
            from: panel.beyond(length),
            lines: if calls <= lines {
                lines.div_ceil(calls.max(1))
            } else {
                0
            },
        }
    }

    /// The lines after the next `calls` calls.
    #[inline(always)]
    pub(super) fn after(self, calls: usize) -> Self {
        NextPanel {
            from: self.from.wrapping_add(calls * self.lines * LANES),
            ..self
        }
    }

    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&mut self, s: S) {
        for line in 0..self.lines {
            s.fetch_far(self.from.wrapping_add(line * LANES));
        }
        *self = self.after(1);
    }
}
