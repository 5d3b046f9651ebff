//! Rows of outputs of a convolution, on the tiles of a matrix unit.

use super::tiles::{Tile, finish};
use crate::kernels::tile_memory::{ROWS, STORED, TileMemory, summed};
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
            store_all::<S>(sums, count, &tile, vector);
        }
    }
}

/// Applies the epilogue to `count` sums, and stores them.
#[inline(never)]
unsafe fn store_all<S: Simd>(sums: Src, count: usize, tile: &Tile<'_>, vector: usize) {
    let s = S::new();
    s.vectorize(
        #[inline(always)]
        || {
            let whole = count / STORED * STORED;
            for row in (0..whole).step_by(STORED) {
                store::<S, STORED>(s, sums, row, tile, vector);
            }
            for row in whole..count {
                store::<S, 1>(s, sums, row, tile, vector);
            }
        },
    );
}

#[inline(always)]
unsafe fn store<S: Simd, const COUNT: usize>(
    s: S,
    sums: Src,
    row: usize,
    tile: &Tile<'_>,
    vector: usize,
) {
    let conv = tile.conv;
    let bias = tile
        .epilogue
        .bias
        .map(|bias| bias.at((conv.plane + vector) * LANES));
    let column = summed::<S, COUNT>(s, sums, row, bias);
    let tile = Tile {
        pixel: tile.pixel + row * conv.place.column,
        ..*tile
    };
    finish::<S, COUNT>(&column, &tile, vector);
}
