//! Memory in which operands and results of tiles are arranged. Each thread keeps its own.

use std::cell::Cell;

use crate::memory::{Buffer, Dst, Src};
use crate::simd::{LANES, Simd, TILE};

/// The most values that a product arranges of one operand at once: a part of the second cache.
pub(super) const OPERAND: usize = 48 * 1024;

/// Rows of two tiles.
pub(super) const ROWS: usize = 2 * LANES;

/// Rows of sums that an epilogue takes at once.
pub(super) const STORED: usize = 8;

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

/// `COUNT` rows of sums, `[rows][16]`, from row `row` on, plus the bias of their channels.
#[inline(always)]
pub(super) unsafe fn summed<S: Simd, const COUNT: usize>(
    s: S,
    sums: Src,
    row: usize,
    bias: Option<Src>,
) -> [S::Vector; COUNT] {
    // SAFETY: the caller has these rows.
    unsafe {
        let bias = match bias {
            Some(bias) => s.load(bias, 0),
            None => s.zero(),
        };
        let mut column = [bias; COUNT];
        for index in 0..COUNT {
            column[index] = s.add(s.load(sums, (row + index) * LANES), bias);
        }
        column
    }
}

fn grown(buffer: &mut Buffer, length: usize) -> Dst {
    if buffer.len() < length {
        *buffer = Buffer::new(length);
    }
    buffer.dst()
}
