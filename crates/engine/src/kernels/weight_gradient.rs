//! The gradient of a weight matrix, in torch's layout.
//!
//! `gradient[n][k] (+)= sum_m d[m][n] * a[m][k]`, with rows `[outputs][inputs]`. The sums are
//! computed in tiles of a few outputs by up to three vectors of inputs. A tile stays in registers
//! over all rows `m`.

use std::ops::Range;

use super::ahead::{NextRows, PlaneLines, fetch_gradient};
use super::entry_tiles;
use super::product::panels;
use super::tile_gradient::weight_gradient_on_tiles;
use crate::memory::{Dst, Planes, Src, planes};
use crate::simd::{LANES, Simd};

/// The operands of [`weight_gradient`].
#[derive(Clone, Copy)]
pub(crate) struct WeightGradient {
    /// Number of pixels.
    pub(crate) rows: usize,
    /// Channels of `a`.
    pub(crate) inputs: usize,
    /// The range of channels of `d`; its start is a multiple of 16.
    pub(crate) outputs: (usize, usize),
    /// Activations.
    pub(crate) a: Planes,
    /// The gradient of the layer's output.
    pub(crate) d: Planes,
    /// Scratch memory in which `a` and `d` are rearranged into ranks of pixels. It needs one f32 pixel per rank, in all
    /// planes. Required if a rank is more than one pixel and not part of a tile, otherwise unused.
    pub(crate) ranks: Option<[Planes; 2]>,
    /// The result, `[outputs][inputs]`, starting with output 0.
    pub(crate) gradient: Dst,
    /// Whether to add to the existing values.
    pub(crate) accumulate: bool,
    /// Rows that the caller reads next. Each tile of vectors fetches one of their planes, see [`gradient_tiles`].
    pub(crate) next: NextRows,
}

/// Number of tiles of a weight gradient on vectors.
#[inline(always)]
pub(super) fn gradient_tiles<S: Simd>(inputs: usize, outputs: usize) -> usize {
    if S::TILES {
        return 0;
    }
    panels::<S>(planes(inputs))
        .map(|(_, width)| outputs.div_ceil(S::GRADIENT_ROWS[width - 1]))
        .sum()
}

entry_tiles! {
    /// # Safety
    /// `a` and `d` must hold `rows` pixels of their channels, and `gradient` all its values.
    fn weight_gradient(operands: &WeightGradient) => weight_gradient_kernel
}

#[inline(always)]
unsafe fn weight_gradient_kernel<S: Simd>(s: S, operands: &WeightGradient) {
    if S::TILES {
        return weight_gradient_on_tiles(s, operands);
    }
    let (start, end) = operands.outputs;
    let (mut a, mut d, ranks) = (operands.a, operands.d, operands.rows.div_ceil(S::RANK));
    if S::RANK > 1 {
        let Some([a_ranks, d_ranks]) = operands.ranks else {
            unreachable!(
                "a weight gradient in ranks of {} needs scratch for them",
                S::RANK
            )
        };
        arrange(s, a, 0..planes(operands.inputs), operands.rows, a_ranks);
        arrange(s, d, start / LANES..planes(end), operands.rows, d_ranks);
        (a, d) = (a_ranks, d_ranks);
    }
    let mut tile_number = 0;
    for (plane, width) in panels::<S>(planes(operands.inputs)) {
        let height = S::GRADIENT_ROWS[width - 1];
        let kernel = match width {
            1 => match height {
                16 => tile::<S, 16, 1>,
                8 => tile::<S, 8, 1>,
                4 => tile::<S, 4, 1>,
                _ => tile::<S, 2, 1>,
            },
            2 => tile::<S, 8, 2>,
            _ => tile::<S, 8, 3>,
        };
        let first = plane * LANES;
        // Number of used lanes in the last vector.
        let last = (operands.inputs - first - (width - 1) * LANES).min(LANES);
        let mut output = start;
        while output < end {
            let count = height.min(end - output);
            let vectors = a.plane(plane).src();
            kernel(&Tile {
                ranks,
                next: PlaneLines::new(&operands.next, tile_number, vectors),
                a: vectors,
                stride: a.stride,
                d: d.plane(output / LANES).src().at(output % LANES),
                gradient: operands.gradient.at(output * operands.inputs + first),
                pitch: operands.inputs,
                count,
                last,
                accumulate: operands.accumulate,
            });
            output += count;
            tile_number += 1;
        }
    }
}

/// Arranges some planes in ranks of pixels.
#[inline(always)]
unsafe fn arrange<S: Simd>(s: S, from: Planes, planes: Range<usize>, rows: usize, to: Planes) {
    for plane in planes {
        let (source, target) = (from.plane(plane).src(), to.plane(plane).start);
        for rank in 0..rows.div_ceil(S::RANK) {
            let row = rank * S::RANK;
            let value = s.load_rank(rows - row, source, row);
            s.store(target, rank * LANES, value);
        }
    }
}

struct Tile {
    /// Number of ranks of pixels.
    ranks: usize,
    a: Src,
    stride: usize,
    d: Src,
    gradient: Dst,
    /// Distance in values from one output to the next in `gradient`.
    pitch: usize,
    /// Number of outputs to store.
    count: usize,
    last: usize,
    accumulate: bool,
    next: PlaneLines,
}

unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(operands: &Tile) {
    if !S::TILES && ROWS == S::GRADIENT_ROWS[WIDTH - 1] {
        let s = S::new();
        s.vectorize(
            #[inline(always)]
            || tile_kernel::<S, ROWS, WIDTH>(s, operands),
        );
    }
}

#[inline(always)]
unsafe fn tile_kernel<S: Simd, const ROWS: usize, const WIDTH: usize>(s: S, operands: &Tile) {
    let mut sums = [[s.zero(); WIDTH]; ROWS];
    fetch_gradient(operands.gradient, operands.pitch, operands.count, WIDTH);
    let mut next = operands.next;
    for m in 0..operands.ranks {
        next.fetch();
        let mut values = [s.zero(); WIDTH];
        for vector in 0..WIDTH {
            let a = operands.a.at(vector * operands.stride);
            values[vector] = s.load(a, m * LANES);
        }
        for row in 0..ROWS {
            let d = s.broadcast(operands.d, m * LANES + row);
            for vector in 0..WIDTH {
                sums[row][vector] = s.multiply_ranks(d, values[vector], sums[row][vector]);
            }
        }
    }
    // Every index is a constant, so the sums stay in registers.
    for row in 0..ROWS {
        if row >= operands.count {
            break;
        }
        for vector in 0..WIDTH {
            let at = row * operands.pitch + vector * LANES;
            let count = if vector + 1 == WIDTH {
                operands.last
            } else {
                LANES
            };
            let mut sum = sums[row][vector];
            if operands.accumulate {
                sum = s.add(sum, s.load_first(count, operands.gradient.src(), at));
            }
            s.store_first(count, operands.gradient, at, sum);
        }
    }
}
