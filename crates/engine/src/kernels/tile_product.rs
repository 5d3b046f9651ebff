//! Matrix products on tiles.
//!
//! A tile's row has 32 channels, and a plane of activations 16. So the planes of some rows are first arranged in pairs.
//! Two tiles of rows and two of columns are multiplied over the whole depth. Their sums go through a small buffer to the
//! epilogue, which reads them as columns of vectors.

use super::Epilogue;
use super::product::{Output, Product, Weights, finish, panels};
use super::tile_memory::{OPERAND, ROWS, Target, TileMemory, store_sums};
use crate::memory::{Dst, Planes, Src, planes};
use crate::simd::{LANES, Simd, TILE, TileProduct};

#[inline(always)]
pub(super) unsafe fn product_on_tiles<S: Simd>(s: S, operands: &Product, epilogue: &Epilogue) {
    let mut memory = TileMemory::take();
    let ranks = S::ranks(operands.depth);
    let block = (OPERAND / ranks / ROWS * ROWS).max(ROWS);
    let is_short = epilogue.is_short();
    let vectors = planes(operands.columns);
    let tiles = panels::<S>(vectors).count() * operands.rows.div_ceil(ROWS);
    let mut next = operands.next.lines(tiles);
    for start in (0..operands.rows).step_by(block) {
        let count = block.min(operands.rows - start);
        let stride = count.next_multiple_of(LANES) * LANES;
        let a = memory.a(ranks / LANES * stride);
        memory.set_steps((0..ranks / LANES).map(|step| step * stride));
        arrange(s, operands.a.row(start), operands.depth, count, a, stride);
        for (plane, width) in panels::<S>(vectors) {
            let (Weights::Packed(b) | Weights::Followed(b)) = operands.b.plane(ranks, plane) else {
                unreachable!("tiles need packed weights")
            };
            for row in (0..count).step_by(ROWS) {
                let product = TileProduct {
                    a: a.src().at(row * LANES),
                    steps: &memory.steps,
                    rows: TILE,
                    b,
                    pitch: width * LANES,
                    columns: LANES,
                };
                let output = Output {
                    row: start + row,
                    plane,
                    c: operands.c.plane(plane).row(start + row),
                    epilogue,
                    is_short,
                };
                let count = ROWS.min(count - row);
                let height = count.div_ceil(LANES);
                let sums = memory.sums();
                next.fetch();
                s.multiply_tiles(&product, [height, width], sums);
                for vector in 0..width {
                    let sums = sums.src().at(vector * height * TILE);
                    store_sums::<S>(sums, count, &output, vector);
                }
            }
        }
    }
    if epilogue.stream {
        s.settle();
    }
    memory.give_back();
}

/// Arranges rows as `[ranks / 16][rows][16 ranks]`. Ranks behind the depth are 0.
#[inline(always)]
unsafe fn arrange<S: Simd>(s: S, from: Planes, depth: usize, rows: usize, to: Dst, stride: usize) {
    let ranks = depth.div_ceil(S::RANK);
    for (index, first) in (0..ranks).step_by(LANES).enumerate() {
        let count = LANES.min(ranks - first);
        let low = from.plane(2 * index).src();
        let high = match count > LANES / 2 {
            true => from.plane(2 * index + 1).src(),
            false => low,
        };
        let to = to.at(index * stride);
        for row in 0..rows {
            s.store(to, row * LANES, s.load_halves(count, [low, high], row));
        }
    }
}

impl Target for Output<'_> {
    #[inline(always)]
    unsafe fn bias(&self, vector: usize) -> Option<Src> {
        let bias = self.epilogue.bias?;
        Some(bias.at((self.plane + vector) * LANES))
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const COUNT: usize>(
        &self,
        s: S,
        column: [S::Vector; COUNT],
        row: usize,
        vector: usize,
    ) {
        let output = Output {
            row: self.row + row,
            c: self.c.row(row),
            ..*self
        };
        finish::<S, COUNT>(s, column, &output, vector);
    }
}
