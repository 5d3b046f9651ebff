//! AVX-512: one register a vector, 32 of them.

use std::arch::x86_64::*;

use super::{LANES, Simd};
use crate::memory::{Dst, Src};

#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

// SAFETY of every block below: a value exists only where the processor has AVX-512
// (`new`), and pointers are valid as the callers of the unsafe methods promise.
impl Simd for Avx512 {
    type Vector = __m512;
    const TILE_ROWS: [usize; 3] = [14, 12, 8];
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
        unsafe { inner(f) }
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
    fn transpose(self, mut x: [__m512; LANES]) -> [__m512; LANES] {
        let mut y = x;
        unsafe {
            // Pairs of rows, pairs of pairs, then quarters of registers.
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
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}
