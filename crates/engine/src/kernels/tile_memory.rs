//! Memory in which operands and results of tiles are arranged. Each thread keeps its own.

use std::cell::Cell;

use crate::memory::{Buffer, Dst};
use crate::simd::TILE;

/// The most values that a product arranges of one operand at once: a part of the second cache.
pub(super) const OPERAND: usize = 48 * 1024;

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

fn grown(buffer: &mut Buffer, length: usize) -> Dst {
    if buffer.len() < length {
        *buffer = Buffer::new(length);
    }
    buffer.dst()
}
