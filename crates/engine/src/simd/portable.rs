//! Plain Rust. The compiler vectorises it for the build target: SSE2 on x86-64, NEON on aarch64.

use super::{LANES, Simd};
use crate::isa::multiply_add;
use crate::memory::{Dst, Src};
use crate::sigmoid;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

type Lanes = [f32; LANES];

/// Number of rows in a tile of a product. aarch64 has 32 registers of 4 lanes, x86-64 has 16.
const TILE: usize = if cfg!(target_arch = "aarch64") { 6 } else { 2 };

#[inline(always)]
fn map(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut result = [0.0; LANES];
    for lane in 0..LANES {
        result[lane] = f(a[lane], b[lane]);
    }
    result
}

impl Simd for Portable {
    type Vector = Lanes;
    type Order = [u32; LANES];
    const TILE_ROWS: [usize; 3] = [TILE, 0, 0];
    const GRADIENT_ROWS: [usize; 3] = [if TILE > 4 { 4 } else { 2 }, 0, 0];
    const COLUMNS: usize = if TILE > 4 { 4 } else { 2 };

    #[inline(always)]
    unsafe fn new() -> Self {
        Portable
    }

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; LANES]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        map(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        map(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        let mut result = c;
        for lane in 0..LANES {
            result[lane] =
                multiply_add::<{ cfg!(target_arch = "aarch64") }>(a[lane], b[lane], c[lane]);
        }
        result
    }

    #[inline(always)]
    fn scale(self, x: Lanes, n: Lanes) -> Lanes {
        map(x, n, sigmoid::scale)
    }

    #[inline(always)]
    fn reciprocal(self, x: Lanes) -> Lanes {
        map(x, x, |x, _| 1.0 / x)
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        map(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        map(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn where_greater(self, a: Lanes, b: Lanes, then: Lanes, otherwise: Lanes) -> Lanes {
        let mut result = otherwise;
        for lane in 0..LANES {
            if a[lane] > b[lane] {
                result[lane] = then[lane];
            }
        }
        result
    }

    #[inline(always)]
    fn order(self, lanes: &[u32; LANES]) -> [u32; LANES] {
        *lanes
    }

    #[inline(always)]
    fn permute(self, value: Lanes, order: [u32; LANES]) -> Lanes {
        order.map(|lane| value.get(lane as usize).copied().unwrap_or(0.0))
    }

    #[inline(always)]
    fn transpose(self, rows: [Lanes; LANES]) -> [Lanes; LANES] {
        let mut columns = [[0.0; LANES]; LANES];
        for (index, column) in columns.iter_mut().enumerate() {
            for (value, row) in column.iter_mut().zip(&rows) {
                *value = row[index];
            }
        }
        columns
    }

    #[inline(always)]
    unsafe fn load(self, source: Src, offset: usize) -> Lanes {
        // SAFETY: as promised by the caller.
        unsafe {
            source
                .pointer(offset, LANES)
                .cast::<Lanes>()
                .read_unaligned()
        }
    }

    #[inline(always)]
    unsafe fn store(self, target: Dst, offset: usize, value: Lanes) {
        // SAFETY: as promised by the caller.
        unsafe {
            let to = target.pointer(offset, LANES).cast::<Lanes>();
            to.write_unaligned(value);
        }
    }

    #[inline(always)]
    unsafe fn load_first(self, count: usize, source: Src, offset: usize) -> Lanes {
        let mut result = [0.0; LANES];
        for (lane, value) in result.iter_mut().enumerate().take(count) {
            // SAFETY: as promised by the caller.
            *value = unsafe { source.get(offset + lane) };
        }
        result
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, target: Dst, offset: usize, value: Lanes) {
        for (lane, value) in value.iter().enumerate().take(count) {
            // SAFETY: as promised by the caller.
            unsafe { *target.pointer(offset + lane, 1) = *value };
        }
    }
}
