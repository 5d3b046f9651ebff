//! Operands of products on tiles: of 16 rows by 16 columns, with 16 ranks of depth.

use super::LANES;
use crate::memory::Src;

/// Length in values of a tile.
pub(crate) const TILE: usize = LANES * LANES;

/// The operands of [`super::Simd::multiply_tiles`]. Each step adds the product of one tile of `a` and one tile of `b`.
#[derive(Clone, Copy)]
pub(crate) struct TileProduct<'a> {
    /// A tile is `[16 rows][16 ranks]`.
    pub(crate) a: Src,
    /// For each step, the distance in values from `a` to its tile.
    pub(crate) steps: &'a [usize],
    /// Distance in values from a tile of `a` to the one with the next 16 rows.
    pub(crate) rows: usize,
    /// A tile is `[16 ranks][16 columns]`. The tiles of the steps follow each other.
    pub(crate) b: Src,
    /// Distance in values from one rank of `b` to the next.
    pub(crate) pitch: usize,
    /// Distance in values from a tile of `b` to the one with the next 16 columns.
    pub(crate) columns: usize,
}

impl TileProduct<'_> {
    /// In builds with debug assertions, checks that the operands hold all tiles.
    ///
    /// # Safety
    /// The operands must hold them.
    #[inline(always)]
    pub(super) unsafe fn check(&self, height: usize, width: usize) {
        debug_assert!(!self.steps.is_empty(), "a product without depth");
        if cfg!(debug_assertions) {
            for (index, step) in self.steps.iter().enumerate() {
                for rank in 0..LANES {
                    let row = (index * LANES + rank) * self.pitch + (width - 1) * self.columns;
                    // SAFETY: as promised by the caller.
                    unsafe { self.b.pointer(row, LANES) };
                }
                // SAFETY: as promised by the caller.
                unsafe { self.a.pointer(step + (height - 1) * self.rows, TILE) };
            }
        }
    }
}
