//! Fetches memory into the caches before it is read.
//!
//! A processor guesses that the next address will be read. It guesses neither the next plane of a value, nor the
//! operands of a tile's epilogue, nor a gradient that a tile adds to, nor the weights behind a panel while tiles read
//! the panel again.

use super::Before;
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};

/// The first cache.
const NEAR: i32 = 3;
/// The second cache.
const FAR: i32 = 2;

/// Fetches the cache line at an address into a cache. Any address is allowed. Does nothing where there is no such
/// instruction.
#[inline(always)]
fn fetch<const CACHE: i32>(address: *const f32) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every processor has this instruction, and it never fails.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<CACHE>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// Fetches a tile's pixels in the plane behind `a` into the first cache.
#[inline(always)]
pub(super) fn fetch_pixels<S: Simd, const ROWS: usize>(a: Src, stride: usize) {
    let next = a.beyond(stride);
    for row in (0..ROWS).step_by(LANES / S::PIXEL) {
        fetch::<NEAR>(next.wrapping_add(row * S::PIXEL));
    }
}

/// The pixels of a tile, in adjacent planes.
pub(super) struct Pixels {
    pub(super) plane: usize,
    pub(super) width: usize,
    /// The first pixel, the number of pixels, and the distance between them.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) step: usize,
}

/// Fetches into the first cache what the epilogue of a backward pass reads. The kernels share this function, so that it
/// is compiled once.
///
/// # Safety
/// The operands must have the pixels.
#[inline(never)]
pub(super) unsafe fn fetch_operands(before: &Before, addend: Option<Planes>, pixels: &Pixels) {
    for planes in [Some(before.z), addend].into_iter().flatten() {
        let first = planes.plane(pixels.plane).row(pixels.first);
        for plane in 0..pixels.width {
            let from = first.src().beyond(plane * planes.stride);
            for row in 0..pixels.rows {
                fetch::<NEAR>(from.wrapping_add(row * pixels.step * planes.pixel));
            }
        }
    }
}

/// Fetches `rows` rows of `width` vectors of a gradient, which are `pitch` values apart, into the first cache.
#[inline(never)]
pub(super) fn fetch_gradient(gradient: Dst, pitch: usize, rows: usize, width: usize) {
    for row in 0..rows {
        for vector in 0..width {
            fetch::<NEAR>(gradient.src().beyond(row * pitch + vector * LANES));
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
    pub(super) fn fetch(&mut self) {
        for line in 0..self.lines {
            fetch::<FAR>(self.from.wrapping_add(line * LANES));
        }
        *self = self.after(1);
    }
}

/// Rows of activations that a kernel reads next.
#[derive(Clone, Copy)]
pub(crate) struct NextRows {
    pub(crate) rows: usize,
    /// The activations from their first row on, and their numbers of planes.
    pub(crate) sources: [Option<(Planes, usize)>; 5],
    /// Planes of the sources that are already fetched.
    pub(crate) fetched: usize,
}

impl NextRows {
    pub(crate) const NONE: NextRows = NextRows {
        rows: 0,
        sources: [None; 5],
        fetched: 0,
    };

    /// The most cache lines of one tile: more would take longer than the tile's arithmetic.
    const MOST: usize = 32;

    /// The same rows, after `planes` planes are fetched.
    pub(crate) fn after(self, planes: usize) -> Self {
        NextRows {
            fetched: self.fetched + planes,
            ..self
        }
    }

    /// The first line of the plane with this number, counted over all sources, and the plane's number of lines.
    #[inline(always)]
    pub(super) fn plane(&self, plane: usize) -> Option<(*const f32, usize)> {
        let mut plane = self.fetched + plane;
        for (planes, count) in self.sources.iter().flatten() {
            if plane < *count {
                let lines = (self.rows * planes.pixel).div_ceil(LANES);
                return Some((planes.src().beyond(plane * planes.stride), lines));
            }
            plane -= count;
        }
        None
    }

    /// The lines, for this many tiles.
    #[inline(always)]
    pub(super) fn lines(self, tiles: usize) -> NextLines {
        let planes = (0..).map_while(|plane| self.plane(plane));
        let total: usize = planes.map(|(_, lines)| lines).sum();
        NextLines {
            share: total.div_ceil(tiles.max(1)).min(Self::MOST),
            next: self,
            plane: 0,
            line: 0,
        }
    }
}

/// The lines of [`NextRows`] that are not yet fetched.
pub(super) struct NextLines {
    next: NextRows,
    /// Lines that a tile fetches.
    share: usize,
    plane: usize,
    line: usize,
}

impl NextLines {
    /// Fetches the lines of one tile into the second cache.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        if self.share > 0 {
            self.fetch_share();
        }
    }

    #[inline(never)]
    fn fetch_share(&mut self) {
        let mut left = self.share;
        while let (1.., Some((from, lines))) = (left, self.next.plane(self.plane)) {
            let stop = lines.min(self.line + left);
            for line in self.line..stop {
                fetch::<FAR>(from.wrapping_add(line * LANES));
            }
            left -= stop - self.line;
            self.line = stop;
            if stop == lines {
                (self.plane, self.line) = (self.plane + 1, 0);
            }
        }
    }
}

/// The lines of a plane, which a loop over its pixels fetches one by one.
#[derive(Clone, Copy)]
pub(super) struct PlaneLines {
    from: *const f32,
    step: usize,
}

impl PlaneLines {
    /// The lines of the plane with this number. Without it, the loop fetches the line at `other` again and again.
    #[inline(always)]
    pub(super) fn new(next: &NextRows, plane: usize, other: Src) -> Self {
        match next.plane(plane) {
            Some((from, _)) => PlaneLines { from, step: LANES },
            None => PlaneLines {
                from: other.beyond(0),
                step: 0,
            },
        }
    }

    /// Fetches the next line into the second cache.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        fetch::<FAR>(self.from);
        self.from = self.from.wrapping_add(self.step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Tensor;

    #[test]
    fn the_lines_of_the_next_rows_are_fetched_once() {
        let (wide, narrow) = (Tensor::new(70, 40), Tensor::of(20, 40, LANES / 2));
        // SAFETY: both have 40 rows.
        let [wide_rows, narrow_rows] = [&wide, &narrow].map(|x| unsafe { x.planes().row(7) });
        let sources = [
            None,
            Some((wide_rows, 5)),
            None,
            Some((narrow_rows, 2)),
            None,
        ];
        let next = NextRows {
            rows: 30,
            sources,
            fetched: 0,
        };
        let planes: Vec<_> = (0..).map_while(|plane| next.plane(plane)).collect();
        let lines: Vec<_> = planes.iter().map(|(_, lines)| *lines).collect();
        assert_eq!(lines, [30, 30, 30, 30, 30, 15, 15]);
        for fetched in 0..=8 {
            let left = next.after(fetched);
            assert_eq!(left.plane(0), planes.get(fetched).copied());
            for tiles in [1, 7, 30, 500] {
                let mut lines = left.lines(tiles);
                let all: usize = planes.iter().skip(fetched).map(|(_, lines)| lines).sum();
                for tile in 1..=tiles {
                    lines.fetch();
                    let done: usize = (0..lines.plane)
                        .filter_map(|plane| left.plane(plane))
                        .map(|(_, lines)| lines)
                        .sum();
                    let most = all.min(tile * NextRows::MOST);
                    assert_eq!(done + lines.line, most.min(tile * all.div_ceil(tiles)));
                }
            }
        }
    }
}
