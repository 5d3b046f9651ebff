//! The scalar twin of AMX: plain Rust that stores activations in bf16 and multiplies them in tiles. Tests run it on every
//! processor, and in Miri.

use super::{LANES, Portable, Simd, TileProduct};
use crate::memory::{Dst, Src};

/// With `WIDE`, only the operands of products are bf16, and activations in memory are f32.
#[derive(Clone, Copy)]
pub(crate) struct PortableTiles<const WIDE: bool = false>;

type Lanes = [f32; LANES];

/// The nearest bf16, in the upper half of an f32. Ties round to even; NaN stays NaN.
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits | 1 << 22) >> 16;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// The two bf16 that share an f32's memory.
fn pair(value: f32) -> [f32; 2] {
    let bits = value.to_bits();
    [bits << 16, bits & 0xffff_0000].map(f32::from_bits)
}

fn paired(first: u32, second: u32) -> f32 {
    f32::from_bits(second << 16 | first)
}

/// Defines methods that are those of [`Portable`].
macro_rules! portable {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($argument: $type),*) -> $result {
                Portable.$name($($argument),*)
            }
        )*
    };
}

// SAFETY of every block below: the callers of the unsafe methods guarantee that pointers are valid.
impl<const WIDE: bool> Simd for PortableTiles<WIDE> {
    type Vector = Lanes;
    type Order = [u32; LANES];
    const PIXEL: usize = if WIDE { LANES } else { LANES / 2 };
    const RANK: usize = 2;
    const TILES: bool = true;
    const TILE_ROWS: [usize; 3] = [32, 32, 0];
    const GRADIENT_ROWS: [usize; 3] = [16, 8, 0];
    const COLUMNS: usize = Portable::COLUMNS;

    #[inline(always)]
    unsafe fn new() -> Self {
        PortableTiles
    }

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    portable! {
        fn splat(value: f32) -> Lanes;
        fn add(a: Lanes, b: Lanes) -> Lanes;
        fn mul(a: Lanes, b: Lanes) -> Lanes;
        fn mul_add(a: Lanes, b: Lanes, c: Lanes) -> Lanes;
        fn scale(x: Lanes, n: Lanes) -> Lanes;
        fn reciprocal(x: Lanes) -> Lanes;
        fn min(a: Lanes, b: Lanes) -> Lanes;
        fn max(a: Lanes, b: Lanes) -> Lanes;
        fn where_greater(a: Lanes, b: Lanes, then: Lanes, otherwise: Lanes) -> Lanes;
        fn order(lanes: &[u32; LANES]) -> [u32; LANES];
        fn permute(value: Lanes, order: [u32; LANES]) -> Lanes;
        fn transpose(rows: [Lanes; LANES]) -> [Lanes; LANES];
    }

    #[inline(always)]
    unsafe fn load(self, source: Src, offset: usize) -> Lanes {
        unsafe { Portable.load(source, offset) }
    }

    #[inline(always)]
    unsafe fn store(self, target: Dst, offset: usize, value: Lanes) {
        unsafe { Portable.store(target, offset, value) }
    }

    #[inline(always)]
    unsafe fn load_first(self, count: usize, source: Src, offset: usize) -> Lanes {
        unsafe { Portable.load_first(count, source, offset) }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, target: Dst, offset: usize, value: Lanes) {
        unsafe { Portable.store_first(count, target, offset, value) }
    }

    #[inline(always)]
    unsafe fn load_pixel(self, source: Src, row: usize) -> Lanes {
        if WIDE {
            return unsafe { Portable.load_pixel(source, row) };
        }
        let halves = unsafe { self.load_first(Self::PIXEL, source, row * Self::PIXEL) };
        std::array::from_fn(|lane| pair(halves[lane / 2])[lane % 2])
    }

    #[inline(always)]
    unsafe fn store_pixel(self, target: Dst, row: usize, value: Lanes) {
        if WIDE {
            return unsafe { Portable.store_pixel(target, row, value) };
        }
        let mut halves = [0.0; LANES];
        for (index, half) in halves.iter_mut().enumerate().take(Self::PIXEL) {
            *half = paired(rounded(value[2 * index]), rounded(value[2 * index + 1]));
        }
        unsafe { self.store_first(Self::PIXEL, target, row * Self::PIXEL, halves) }
    }

    #[inline(always)]
    fn rank(self, first: Lanes, second: Lanes) -> Lanes {
        std::array::from_fn(|lane| paired(rounded(first[lane]), rounded(second[lane])))
    }

    #[inline(always)]
    unsafe fn load_ranks(self, count: usize, source: Src, offset: usize) -> Lanes {
        let mut values = [0.0; 2 * LANES];
        for (index, value) in values.iter_mut().enumerate().take(count) {
            *value = unsafe { source.get(offset + index) };
        }
        std::array::from_fn(|lane| paired(rounded(values[2 * lane]), rounded(values[2 * lane + 1])))
    }

    #[inline(always)]
    unsafe fn load_rank(self, count: usize, source: Src, row: usize) -> Lanes {
        assert!(!WIDE, "f32 pixels are no ranks");
        let first = unsafe { self.load_pixel(source, row) };
        let second = match count {
            1 => self.zero(),
            _ => unsafe { self.load_pixel(source, row + 1) },
        };
        self.rank(first, second)
    }

    #[inline(always)]
    fn multiply_ranks(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        std::array::from_fn(|lane| {
            let ([a, next_a], [b, next_b]) = (pair(a[lane]), pair(b[lane]));
            c[lane] + a * b + next_a * next_b
        })
    }

    #[inline(always)]
    unsafe fn load_halves(self, count: usize, [low, high]: [Src; 2], row: usize) -> Lanes {
        assert!(!WIDE, "pixels are not halves of a rank's");
        let at = row * Self::PIXEL;
        let mut lanes = unsafe { self.load_first(count.min(Self::PIXEL), low, at) };
        if let Some(count) = count.checked_sub(Self::PIXEL) {
            let halves = unsafe { self.load_first(count, high, at) };
            lanes[Self::PIXEL..].copy_from_slice(&halves[..Self::PIXEL]);
        }
        lanes
    }

    #[inline(always)]
    unsafe fn multiply_tiles(self, o: &TileProduct<'_>, [height, width]: [usize; 2], c: Dst) {
        unsafe { o.check(height, width) };
        for row in 0..height * LANES {
            for vector in 0..width {
                let mut sums = self.zero();
                for (index, step) in o.steps.iter().enumerate() {
                    let a = step + row / LANES * o.rows + row % LANES * LANES;
                    for rank in 0..LANES {
                        let b = (index * LANES + rank) * o.pitch + vector * o.columns;
                        let (a, b) = unsafe { (self.broadcast(o.a, a + rank), self.load(o.b, b)) };
                        sums = self.multiply_ranks(a, b, sums);
                    }
                }
                unsafe { self.store(c, (vector * height * LANES + row) * LANES, sums) };
            }
        }
    }
}
