//! Fetches memory into the caches before it is read.
//!
//! A processor guesses that the next address will be read. It guesses neither the next plane of a value, nor the
//! weights behind a panel while tiles read the panel again.

use crate::memory::Src;
use crate::simd::{LANES, Simd};

/// Fetches a tile's pixels in the plane behind `a` into the first cache.
#[inline(always)]
pub(super) fn fetch_pixels<S: Simd, const ROWS: usize>(s: S, a: Src, stride: usize) {
    let next = a.beyond(stride);
    for row in (0..ROWS).step_by(LANES / S::PIXEL) {
        s.fetch(next.wrapping_add(row * S::PIXEL));
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
