//! Weight gradients on tiles.
//!
//! The depth of the product is pixels, so a tile's row has 32 pixels of one channel. Both operands are first arranged in
//! pairs of pixels; for the left one, the gradient of the output, each square of 16 pairs by 16 channels is transposed.

use super::product::panels;
use super::tile_memory::{OPERAND, TileMemory};
use super::weight_gradient::WeightGradient;
use crate::memory::{Dst, Planes, Src, planes};
use crate::simd::{LANES, Simd, TILE, TileProduct};

/// Outputs of two tiles.
const OUTPUTS: usize = 2 * LANES;

#[inline(always)]
pub(super) unsafe fn weight_gradient_on_tiles<S: Simd>(s: S, operands: &WeightGradient) {
    let mut memory = TileMemory::take();
    let &WeightGradient {
        inputs,
        outputs: (start, end),
        ..
    } = operands;
    let pixels = LANES * S::RANK;
    let first = start / LANES;
    let most = planes(inputs).max(planes(end) - first);
    // At least the rows of a block of the caller.
    let block = (OPERAND / TILE / most).max(2) * pixels;
    for row in (0..operands.rows).step_by(block) {
        let rows = block.min(operands.rows - row);
        let steps = rows.div_ceil(pixels);
        let length = steps * TILE;
        memory.set_steps(steps, TILE);
        let d = memory.a((planes(end) - first) * length);
        let a = memory.b(planes(inputs) * length);
        for plane in first..planes(end) {
            let to = d.at((plane - first) * length);
            arrange::<S, true>(s, operands.d.plane(plane).row(row), rows, to);
        }
        for plane in 0..planes(inputs) {
            let to = a.at(plane * length);
            arrange::<S, false>(s, operands.a.plane(plane).row(row), rows, to);
        }
        for (plane, width) in panels::<S>(planes(inputs)) {
            for output in (start..end).step_by(OUTPUTS) {
                let count = OUTPUTS.min(end - output);
                let tiles = Tiles {
                    product: TileProduct {
                        a: d.src().at((output - start) / LANES * length),
                        steps: &memory.steps,
                        rows: length,
                        b: a.src().at(plane * length),
                        pitch: LANES,
                        columns: length,
                    },
                    sums: memory.sums(),
                    count,
                    columns: (inputs - plane * LANES).min(width * LANES),
                    gradient: operands.gradient.at(output * inputs + plane * LANES),
                    pitch: inputs,
                    accumulate: operands.accumulate || row > 0,
                };
                match (count > LANES, width > 1) {
                    (false, false) => multiply::<S, 1, 1>(&tiles),
                    (false, true) => multiply::<S, 1, 2>(&tiles),
                    (true, false) => multiply::<S, 2, 1>(&tiles),
                    (true, true) => multiply::<S, 2, 2>(&tiles),
                }
            }
        }
    }
    memory.give_back();
}

/// Arranges a plane as tiles of pairs of pixels by channels, or of channels by pairs of pixels. Pixels behind the last
/// are 0.
#[inline(always)]
unsafe fn arrange<S: Simd, const TRANSPOSED: bool>(s: S, from: Planes, rows: usize, to: Dst) {
    let pixels = LANES * S::RANK;
    for (index, first) in (0..rows).step_by(pixels).enumerate() {
        let mut tile = [s.zero(); LANES];
        for (rank, value) in tile.iter_mut().enumerate() {
            let row = first + rank * S::RANK;
            if row < rows {
                *value = s.load_rank(rows - row, from.src(), row);
            }
        }
        if TRANSPOSED {
            tile = s.transpose(tile);
        }
        for (rank, &value) in tile.iter().enumerate() {
            s.store(to, index * TILE + rank * LANES, value);
        }
    }
}

/// Up to two tiles of outputs by two of inputs.
struct Tiles<'a> {
    product: TileProduct<'a>,
    sums: Dst,
    /// Number of outputs.
    count: usize,
    /// Number of inputs.
    columns: usize,
    gradient: Dst,
    /// Distance in values from one output to the next in `gradient`.
    pitch: usize,
    accumulate: bool,
}

#[inline(never)]
unsafe fn multiply<S: Simd, const HEIGHT: usize, const WIDTH: usize>(tiles: &Tiles<'_>) {
    let s = S::new();
    s.vectorize(
        #[inline(always)]
        || {
            s.multiply_tiles::<HEIGHT, WIDTH>(&tiles.product, tiles.sums);
            for vector in 0..WIDTH {
                let sums = tiles.sums.src().at(vector * HEIGHT * TILE);
                match tiles.columns - vector * LANES {
                    LANES.. => add::<S, true>(s, tiles, sums, vector, LANES),
                    count => add::<S, false>(s, tiles, sums, vector, count),
                }
            }
        },
    );
}

/// Stores the first `count` lanes of a vector of all outputs, or adds them.
#[inline(always)]
unsafe fn add<S: Simd, const WHOLE: bool>(
    s: S,
    tiles: &Tiles<'_>,
    sums: Src,
    vector: usize,
    count: usize,
) {
    for output in 0..tiles.count {
        let at = output * tiles.pitch + vector * LANES;
        let mut sum = s.load(sums, output * LANES);
        if tiles.accumulate {
            let before = match WHOLE {
                true => s.load(tiles.gradient.src(), at),
                false => s.load_first(count, tiles.gradient.src(), at),
            };
            sum = s.add(sum, before);
        }
        match WHOLE {
            true => s.store(tiles.gradient, at, sum),
            false => s.store_first(count, tiles.gradient, at, sum),
        }
    }
}
