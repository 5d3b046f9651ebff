//! Rows of outputs of a convolution, on the tiles of a matrix unit.

use super::tiles::{Tile, finish};
use crate::kernels::tile_memory::{ROWS, Target, TileMemory, store_sums};
use crate::memory::Src;
use crate::simd::{LANES, Simd, TILE, TileProduct};

/// Computes a row of outputs. `tile` is its first one. The last tile may read 15 pixels beyond the row.
#[inline(always)]
pub(super) unsafe fn row_on_tiles<S: Simd>(s: S, memory: &TileMemory, tile: &Tile<'_>) {
    let conv = tile.conv;
    for x in (0..conv.columns).step_by(ROWS) {
        let count = ROWS.min(conv.columns - x);
        let height = count.div_ceil(LANES);
        let product = TileProduct {
            a: tile.a.at(x * LANES),
            steps: &memory.steps,
            rows: TILE,
            b: conv.weights,
            pitch: conv.width * LANES,
            columns: LANES,
        };
        let sums = memory.sums();
        // No tap reaches some pixels of an input if the stride is larger than the window.
        if memory.steps.is_empty() {
            sums.fill_zero(height * conv.width * TILE);
        } else {
            s.multiply_tiles(&product, [height, conv.width], sums);
        }
        let tile = Tile {
            pixel: tile.pixel + x * conv.place.column,
            ..*tile
        };
        for vector in 0..conv.width {
            let sums = sums.src().at(vector * height * TILE);
            store_sums::<S>(sums, count, &tile, vector);
        }
    }
}

impl Target for Tile<'_> {
    #[inline(always)]
    unsafe fn bias(&self, vector: usize) -> Option<Src> {
        let bias = self.epilogue.bias?;
        Some(bias.at((self.conv.plane + vector) * LANES))
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const COUNT: usize>(
        &self,
        _s: S,
        column: [S::Vector; COUNT],
        row: usize,
        vector: usize,
    ) {
        let tile = Tile {
            pixel: self.pixel + row * self.conv.place.column,
            ..*self
        };
        finish::<S, COUNT>(&column, &tile, vector);
    }
}
