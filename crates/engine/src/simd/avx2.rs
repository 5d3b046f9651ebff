//! AVX2 with FMA. A vector takes two of the 16 registers.

use std::arch::x86_64::*;

use super::{LANES, Simd};
use crate::memory::{Dst, Src};

#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

/// Lanes of one register.
const HALF: usize = LANES / 2;

// SAFETY of every block below: a value of this type exists only if the processor has AVX2 and FMA
// (see `new`). The callers of the unsafe methods guarantee that pointers are valid.
impl Simd for Avx2 {
    type Vector = Pair;
    /// For each half of the result: lanes within a half, a mask of the lanes from the second half, and a mask of the
    /// lanes that are not 0.
    type Order = [(__m256i, __m256, __m256); 2];
    const TILE_ROWS: [usize; 3] = [6, 0, 0];
    const GRADIENT_ROWS: [usize; 3] = [4, 0, 0];
    const COLUMNS: usize = 4;

    #[inline(always)]
    unsafe fn new() -> Self {
        Avx2(())
    }

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,fma")]
        fn inner<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        unsafe { inner(f) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        let half = unsafe { _mm256_set1_ps(value) };
        Pair(half, half)
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        unsafe {
            Pair(
                _mm256_fmadd_ps(a.0, b.0, c.0),
                _mm256_fmadd_ps(a.1, b.1, c.1),
            )
        }
    }

    #[inline(always)]
    fn scale(self, x: Pair, n: Pair) -> Pair {
        // Adds to the exponents. NaN becomes the integer -2^31, which leaves no bit in the exponent.
        let scale = |x: __m256, n: __m256| unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent))
        };
        Pair(scale(x.0, n.0), scale(x.1, n.1))
    }

    #[inline(always)]
    fn reciprocal(self, x: Pair) -> Pair {
        let one = unsafe { _mm256_set1_ps(1.0) };
        unsafe { Pair(_mm256_div_ps(one, x.0), _mm256_div_ps(one, x.1)) }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn where_greater(self, a: Pair, b: Pair, then: Pair, otherwise: Pair) -> Pair {
        unsafe {
            Pair(
                _mm256_blendv_ps(otherwise.0, then.0, _mm256_cmp_ps::<_CMP_GT_OQ>(a.0, b.0)),
                _mm256_blendv_ps(otherwise.1, then.1, _mm256_cmp_ps::<_CMP_GT_OQ>(a.1, b.1)),
            )
        }
    }

    #[inline(always)]
    fn order(self, lanes: &[u32; LANES]) -> Self::Order {
        [0, HALF].map(|start| unsafe {
            let order = _mm256_loadu_si256(lanes.as_ptr().add(start).cast());
            let from = |count: usize| {
                let last = _mm256_set1_epi32(count as i32 - 1);
                _mm256_castsi256_ps(_mm256_cmpgt_epi32(order, last))
            };
            let none = from(LANES);
            let ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
            (order, from(HALF), _mm256_xor_ps(none, ones))
        })
    }

    #[inline(always)]
    fn permute(self, value: Pair, order: Self::Order) -> Pair {
        let [first, second] = order.map(|(lanes, upper, kept)| unsafe {
            // The instruction uses the lowest three bits of each number.
            let low = _mm256_permutevar8x32_ps(value.0, lanes);
            let high = _mm256_permutevar8x32_ps(value.1, lanes);
            _mm256_and_ps(_mm256_blendv_ps(low, high, upper), kept)
        });
        Pair(first, second)
    }

    #[inline(always)]
    fn transpose(self, rows: [Pair; LANES]) -> [Pair; LANES] {
        let quarter = |first: usize, half: fn(Pair) -> __m256| {
            let mut quarter = [half(rows[0]); HALF];
            for index in 0..HALF {
                quarter[index] = half(rows[first + index]);
            }
            unsafe { transpose_quarter(quarter) }
        };
        let halves: [fn(Pair) -> __m256; 2] = [|pair| pair.0, |pair| pair.1];
        let mut columns = rows;
        for (start, half) in [0, HALF].into_iter().zip(halves) {
            let (upper, lower) = (quarter(0, half), quarter(HALF, half));
            for index in 0..HALF {
                columns[start + index] = Pair(upper[index], lower[index]);
            }
        }
        columns
    }

    #[inline(always)]
    unsafe fn load(self, source: Src, offset: usize) -> Pair {
        unsafe {
            let from = source.pointer(offset, LANES);
            Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(HALF)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, target: Dst, offset: usize, value: Pair) {
        unsafe {
            let to = target.pointer(offset, LANES);
            _mm256_storeu_ps(to, value.0);
            _mm256_storeu_ps(to.add(HALF), value.1);
        }
    }

    #[inline(always)]
    unsafe fn load_first(self, count: usize, source: Src, offset: usize) -> Pair {
        unsafe {
            let from = source.pointer(offset, count);
            let (low, high) = masks(count);
            // The instruction does not access lanes that are masked out, so their addresses may be
            // beyond the end.
            Pair(
                _mm256_maskload_ps(from, low),
                _mm256_maskload_ps(from.wrapping_add(HALF), high),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, target: Dst, offset: usize, value: Pair) {
        unsafe {
            let to = target.pointer(offset, count);
            let (low, high) = masks(count);
            _mm256_maskstore_ps(to, low, value.0);
            _mm256_maskstore_ps(to.wrapping_add(HALF), high, value.1);
        }
    }
}

/// Transposes a matrix of eight by eight values.
#[inline(always)]
unsafe fn transpose_quarter(mut x: [__m256; HALF]) -> [__m256; HALF] {
    let mut y = x;
    unsafe {
        for i in 0..4 {
            y[2 * i] = _mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]);
            y[2 * i + 1] = _mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]);
        }
        for i in [0, 4] {
            x[i] = _mm256_shuffle_ps::<0x44>(y[i], y[i + 2]);
            x[i + 1] = _mm256_shuffle_ps::<0xee>(y[i], y[i + 2]);
            x[i + 2] = _mm256_shuffle_ps::<0x44>(y[i + 1], y[i + 3]);
            x[i + 3] = _mm256_shuffle_ps::<0xee>(y[i + 1], y[i + 3]);
        }
        for i in 0..4 {
            y[i] = _mm256_permute2f128_ps::<0x20>(x[i], x[i + 4]);
            y[i + 4] = _mm256_permute2f128_ps::<0x31>(x[i], x[i + 4]);
        }
    }
    y
}

/// A mask with all bits set in the first `count` of 16 lanes.
#[inline(always)]
unsafe fn masks(count: usize) -> (__m256i, __m256i) {
    unsafe {
        let limit = _mm256_set1_epi32(count as i32);
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let upper = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
        (
            _mm256_cmpgt_epi32(limit, lanes),
            _mm256_cmpgt_epi32(limit, upper),
        )
    }
}
