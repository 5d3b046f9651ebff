//! Memory in which operands and results of tiles are arranged. Each thread keeps its own.

use std::cell::Cell;

use crate::memory::{Buffer, Dst, Src};
use crate::simd::{LANES, Simd, TILE};

/// The most values that a product arranges of one operand at once: a part of the second cache.
pub(super) const OPERAND: usize = 48 * 1024;

/// The most values that a gradient of weights arranges of one operand at once. The more pixels, the less often are the
/// sums in memory added to.
pub(super) const GRADIENT_OPERAND: usize = 3 * OPERAND;

/// Rows of two tiles.
pub(super) const ROWS: usize = 2 * LANES;

/// Rows of sums that an epilogue takes at once.
const STORED: usize = 8;

/// The memory of one thread.
pub(super) struct TileMemory {
    a: Buffer,
    b: Buffer,
    sums: Buffer,
    /// See [`crate::simd::TileProduct::steps`].
    pub(super) steps: Vec<usize>,
}

thread_local! {
    static KEPT: Cell<Option<TileMemory>> = const { Cell::new(None) };
}

impl TileMemory {
    /// Takes the thread's memory. Kernels run in a closure only if it is inlined, so the memory is taken and given back.
    pub(super) fn take() -> Self {
        KEPT.take().unwrap_or_else(|| TileMemory {
            a: Buffer::new(0),
            b: Buffer::new(0),
            sums: Buffer::new(4 * TILE),
            steps: Vec::new(),
        })
    }

    pub(super) fn give_back(self) {
        KEPT.set(Some(self));
    }

    /// Memory of `length` values for the left operand.
    pub(super) fn a(&mut self, length: usize) -> Dst {
        grown(&mut self.a, length)
    }

    /// Memory of `length` values for the right operand.
    pub(super) fn b(&mut self, length: usize) -> Dst {
        grown(&mut self.b, length)
    }

    /// Memory for the sums of four tiles.
    pub(super) fn sums(&self) -> Dst {
        self.sums.dst()
    }

    pub(super) fn set_steps(&mut self, steps: impl Iterator<Item = usize>) {
        self.steps.clear();
        self.steps.extend(steps);
    }
}

/// The place of two tiles' sums, and what is done before they are stored.
pub(super) trait Target {
    /// The bias of a vector's channels.
    unsafe fn bias(&self, vector: usize) -> Option<Src>;

    /// Applies the epilogue to the rows from `row` on of a vector of channels, and stores them.
    unsafe fn finish<S: Simd, const COUNT: usize>(
        &self,
        s: S,
        column: [S::Vector; COUNT],
        row: usize,
        vector: usize,
    );
}

/// Stores `count` rows of a vector of sums, `[rows][16]`. All tiles share it.
#[inline(never)]
pub(super) unsafe fn store_sums<S: Simd>(
    sums: Src,
    count: usize,
    target: &impl Target,
    vector: usize,
) {
    let s = S::new();
    s.vectorize(
        #[inline(always)]
        || {
            let whole = count / STORED * STORED;
            for row in (0..whole).step_by(STORED) {
                store::<S, STORED>(s, sums, row, target, vector);
            }
            for row in whole..count {
                store::<S, 1>(s, sums, row, target, vector);
            }
        },
    );
}

#[inline(always)]
unsafe fn store<S: Simd, const COUNT: usize>(
    s: S,
    sums: Src,
    row: usize,
    target: &impl Target,
    vector: usize,
) {
    let bias = match target.bias(vector) {
        Some(bias) => s.load(bias, 0),
        None => s.zero(),
    };
    let mut column = [bias; COUNT];
    for index in 0..COUNT {
        column[index] = s.add(s.load(sums, (row + index) * LANES), bias);
    }
    target.finish(s, column, row, vector);
}

fn grown(buffer: &mut Buffer, length: usize) -> Dst {
    if buffer.len() < length {
        *buffer = Buffer::new(length);
    }
    buffer.dst()
}
