//! AVX-512. A vector takes one of the 32 registers. In bf16, two activations share the memory of an f32, and products
//! take them in pairs. With AMX, products take them in tiles. With `WIDE`, only the operands of products are bf16, and
//! activations in memory are f32.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{LANES, Simd, TileProduct, amx};
use crate::memory::{Dst, Src};

#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool, const AMX: bool = false, const WIDE: bool = false>(());

// SAFETY of every block below: a value of this type exists only if the processor has AVX-512 and, if `BF16`, AVX-512
// BF16, and, if `AMX`, AMX (see `new`). The callers of the unsafe methods guarantee that pointers are valid.
impl<const BF16: bool, const AMX: bool, const WIDE: bool> Simd for Avx512<BF16, AMX, WIDE> {
    type Vector = __m512;
    type Order = (__mmask16, __m512i);
    const PIXEL: usize = if BF16 && !WIDE { LANES / 2 } else { LANES };
    const RANK: usize = if BF16 { 2 } else { 1 };
    const TILES: bool = AMX;
    const TILE_ROWS: [usize; 3] = if AMX { [32, 32, 0] } else { [14, 12, 8] };
    const GRADIENT_ROWS: [usize; 3] = [16, 8, 8];

    #[inline(always)]
    unsafe fn new() -> Self {
        Avx512(())
    }

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn inner<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma")]
        fn inner_bf16<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if BF16 {
            unsafe { inner_bf16(f) }
        } else {
            unsafe { inner(f) }
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn scale(self, x: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(x, n) }
    }

    #[inline(always)]
    fn reciprocal(self, x: __m512) -> __m512 {
        // An estimate of 14 bits and one step of Newton's method take half the time of a division.
        unsafe {
            let estimate = _mm512_rcp14_ps(x);
            let error = _mm512_fnmadd_ps(x, estimate, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(estimate, error, estimate)
        }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn where_greater(self, a: __m512, b: __m512, then: __m512, otherwise: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), otherwise, then) }
    }

    #[inline(always)]
    fn order(self, lanes: &[u32; LANES]) -> (__mmask16, __m512i) {
        unsafe {
            let order = _mm512_loadu_si512(lanes.as_ptr().cast());
            let all = _mm512_set1_epi32(LANES as i32);
            (_mm512_cmplt_epu32_mask(order, all), order)
        }
    }

    #[inline(always)]
    fn permute(self, value: __m512, (kept, order): (__mmask16, __m512i)) -> __m512 {
        unsafe { _mm512_maskz_permutexvar_ps(kept, order, value) }
    }

    #[inline(always)]
    fn transpose(self, mut x: [__m512; LANES]) -> [__m512; LANES] {
        let mut y = x;
        unsafe {
            // Interleaves pairs of rows, then pairs of pairs, then quarters of registers.
            for i in 0..8 {
                y[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
                y[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
            }
            for i in [0, 4, 8, 12] {
                x[i] = _mm512_shuffle_ps::<0x44>(y[i], y[i + 2]);
                x[i + 1] = _mm512_shuffle_ps::<0xee>(y[i], y[i + 2]);
                x[i + 2] = _mm512_shuffle_ps::<0x44>(y[i + 1], y[i + 3]);
                x[i + 3] = _mm512_shuffle_ps::<0xee>(y[i + 1], y[i + 3]);
            }
            for i in 0..4 {
                y[i] = _mm512_shuffle_f32x4::<0x88>(x[i], x[i + 4]);
                y[i + 4] = _mm512_shuffle_f32x4::<0xdd>(x[i], x[i + 4]);
                y[i + 8] = _mm512_shuffle_f32x4::<0x88>(x[i + 8], x[i + 12]);
                y[i + 12] = _mm512_shuffle_f32x4::<0xdd>(x[i + 8], x[i + 12]);
            }
            for i in 0..8 {
                x[i] = _mm512_shuffle_f32x4::<0x88>(y[i], y[i + 8]);
                x[i + 8] = _mm512_shuffle_f32x4::<0xdd>(y[i], y[i + 8]);
            }
        }
        x
    }

    #[inline(always)]
    unsafe fn load(self, source: Src, offset: usize) -> __m512 {
        unsafe { _mm512_loadu_ps(source.pointer(offset, LANES)) }
    }

    #[inline(always)]
    unsafe fn store(self, target: Dst, offset: usize, value: __m512) {
        unsafe { _mm512_storeu_ps(target.pointer(offset, LANES), value) }
    }

    #[inline(always)]
    unsafe fn load_first(self, count: usize, source: Src, offset: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first(count), source.pointer(offset, count)) }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, target: Dst, offset: usize, value: __m512) {
        unsafe { _mm512_mask_storeu_ps(target.pointer(offset, count), first(count), value) }
    }

    #[inline(always)]
    unsafe fn load_pixel(self, source: Src, row: usize) -> __m512 {
        unsafe {
            let from = source.pointer(row * Self::PIXEL, Self::PIXEL);
            if BF16 && !WIDE {
                let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
            } else {
                _mm512_loadu_ps(from)
            }
        }
    }

    #[inline(always)]
    unsafe fn store_pixel(self, target: Dst, row: usize, value: __m512) {
        unsafe {
            let to = target.pointer(row * Self::PIXEL, Self::PIXEL);
            if BF16 && !WIDE {
                let halves: __m256i = transmute(_mm512_cvtneps_pbh(value));
                _mm256_storeu_si256(to.cast(), halves);
            } else {
                _mm512_storeu_ps(to, value);
            }
        }
    }

    #[inline(always)]
    unsafe fn stream_pixel(self, target: Dst, row: usize, value: __m512) {
        unsafe {
            let to = target.pointer(row * Self::PIXEL, Self::PIXEL);
            if BF16 && !WIDE {
                let halves: __m256i = transmute(_mm512_cvtneps_pbh(value));
                _mm256_stream_si256(to.cast(), halves);
            } else {
                _mm512_stream_ps(to, value);
            }
        }
    }

    #[inline(always)]
    fn settle(self) {
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    fn rank(self, first: __m512, second: __m512) -> __m512 {
        if !BF16 {
            return first;
        }
        unsafe {
            interleave(transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(
                second, first,
            )))
        }
    }

    #[inline(always)]
    unsafe fn load_ranks(self, count: usize, source: Src, offset: usize) -> __m512 {
        unsafe {
            let first = self.load_first(count.min(LANES), source, offset);
            if !BF16 {
                return first;
            }
            let second = match count.saturating_sub(LANES) {
                0 => self.zero(),
                rest => self.load_first(rest, source, offset + LANES),
            };
            transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first))
        }
    }

    #[inline(always)]
    unsafe fn load_rank(self, count: usize, source: Src, row: usize) -> __m512 {
        if !BF16 {
            return unsafe { self.load_pixel(source, row) };
        }
        assert!(!WIDE, "f32 pixels are no ranks");
        unsafe {
            let count = count.min(Self::RANK) * Self::PIXEL;
            interleave(_mm512_castps_si512(self.load_first(
                count,
                source,
                row * Self::PIXEL,
            )))
        }
    }

    #[inline(always)]
    fn multiply_ranks(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if !BF16 {
            return self.mul_add(a, b, c);
        }
        unsafe {
            _mm512_dpbf16_ps(
                c,
                transmute::<__m512, __m512bh>(a),
                transmute::<__m512, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    unsafe fn load_halves(self, count: usize, [low, high]: [Src; 2], row: usize) -> __m512 {
        assert!(!WIDE, "pixels are not halves of a rank's");
        unsafe {
            let half = LANES / 2;
            let (first_half, second_half) = (count.min(half), count.saturating_sub(half));
            let at = row * half;
            let low =
                _mm256_maskz_loadu_ps(first(first_half) as __mmask8, low.pointer(at, first_half));
            let high = match second_half {
                0 => _mm256_setzero_ps(),
                _ => _mm256_maskz_loadu_ps(
                    first(second_half) as __mmask8,
                    high.pointer(at, second_half),
                ),
            };
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
        }
    }

    #[inline(always)]
    unsafe fn multiply_tiles(
        self,
        operands: &TileProduct<'_>,
        [height, width]: [usize; 2],
        c: Dst,
    ) {
        if AMX {
            unsafe { amx::multiply(operands, [height, width], c) }
        } else {
            unreachable!("this instruction set has no tiles")
        }
    }
}

/// Interleaves two vectors of 16 bf16 values each into 16 pairs.
#[inline(always)]
unsafe fn interleave(halves: __m512i) -> __m512 {
    const PAIRS: [u16; 32] = {
        let mut pairs = [0; 32];
        let mut lane = 0;
        while lane < LANES {
            pairs[2 * lane] = lane as u16;
            pairs[2 * lane + 1] = (LANES + lane) as u16;
            lane += 1;
        }
        pairs
    };
    unsafe {
        let order = _mm512_loadu_si512(PAIRS.as_ptr().cast());
        _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
    }
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}
