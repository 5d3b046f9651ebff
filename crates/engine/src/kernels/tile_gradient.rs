//! Weight gradients on tiles.
//!
//! The depth of the product is pixels, so a tile's row has 32 pixels of one channel. Both operands are first arranged in
//! pairs of pixels; for the left one, the gradient of the output, each square of 16 pairs by 16 channels is transposed.

use super::product::panels;
use super::tile_memory::{GRADIENT_OPERAND, ROWS, TileMemory};
use super::weight_gradient::WeightGradient;
use crate::memory::{Dst, Planes, Src, planes};
use crate::simd::{LANES, Simd, TILE, TileProduct};

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
    let block = (GRADIENT_OPERAND / TILE / most).max(2) * pixels;
    for row in (0..operands.rows).step_by(block) {
        let rows = block.min(operands.rows - row);
        let steps = rows.div_ceil(pixels);
        let length = steps * TILE;
        memory.set_steps((0..steps).map(|step| step * TILE));
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
            for output in (start..end).step_by(ROWS) {
                let product = TileProduct {
                    a: d.src().at((output - start) / LANES * length),
                    steps: &memory.steps,
                    rows: length,
                    b: a.src().at(plane * length),
                    pitch: LANES,
                    columns: length,
                };
                let count = ROWS.min(end - output);
                let height = count.div_ceil(LANES);
                let sums = memory.sums();
                s.multiply_tiles(&product, [height, width], sums);
                for vector in 0..width {
                    let input = (plane + vector) * LANES;
                    let target = Target {
                        gradient: operands.gradient.at(output * inputs + input),
                        pitch: inputs,
                        outputs: count,
                        inputs: LANES.min(inputs - input),
                        accumulate: operands.accumulate || row > 0,
                    };
                    target.put(s, sums.src().at(vector * height * TILE));
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

/// A part of the gradient: some outputs by at most 16 inputs.
struct Target {
    gradient: Dst,
    /// Distance in values from one output to the next.
    pitch: usize,
    outputs: usize,
    inputs: usize,
    accumulate: bool,
}

impl Target {
    /// Stores sums, `[outputs][16]`, or adds them.
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, s: S, sums: Src) {
        for output in 0..self.outputs {
            let at = output * self.pitch;
            let mut sum = s.load(sums, output * LANES);
            if self.accumulate {
                let before = s.load_first(self.inputs, self.gradient.src(), at);
                sum = s.add(sum, before);
            }
            s.store_first(self.inputs, self.gradient, at, sum);
        }
    }
}
