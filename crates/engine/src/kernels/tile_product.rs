//! Matrix products on tiles.
//!
//! A tile's row has 32 channels, and a plane of activations 16. So the planes of some rows are first arranged in pairs.
//! Two tiles of rows and two of columns are multiplied over the whole depth. Their sums go through a small buffer to the
//! epilogue, which reads them as columns of vectors.

use super::Epilogue;
use super::product::{Output, Product, Weights, finish, panels};
use super::tile_memory::{OPERAND, ROWS, STORED, TileMemory, summed};
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
                    store_all::<S>(sums, count, &output, vector);
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

/// Applies the epilogue to `count` rows of sums, and stores them. All tiles share it.
#[inline(never)]
unsafe fn store_all<S: Simd>(sums: Src, count: usize, output: &Output<'_>, vector: usize) {
    let s = S::new();
    s.vectorize(
        #[inline(always)]
        || {
            let whole = count / STORED * STORED;
            for row in (0..whole).step_by(STORED) {
                store::<S, STORED>(s, sums, row, output, vector);
            }
            for row in whole..count {
                store::<S, 1>(s, sums, row, output, vector);
            }
        },
    );
}

/// Applies the epilogue to `COUNT` rows of sums from row `row` on, and stores them.
#[inline(always)]
unsafe fn store<S: Simd, const COUNT: usize>(
    s: S,
    sums: Src,
    row: usize,
    output: &Output<'_>,
    vector: usize,
) {
    let bias = output
        .epilogue
        .bias
        .map(|bias| bias.at((output.plane + vector) * LANES));
    let column = summed::<S, COUNT>(s, sums, row, bias);
    let output = Output {
        row: output.row + row,
        c: output.c.row(row),
        ..*output
    };
    finish::<S, COUNT>(s, column, &output, vector);
}
