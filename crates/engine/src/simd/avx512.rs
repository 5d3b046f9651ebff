//! AVX-512: one register a vector, 32 of them.

use std::arch::x86_64::*;

use super::Simd;
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
        unsafe {
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), otherwise, then)
        }
    }

    #[inline(always)]
    unsafe fn load(self, source: Src, offset: usize) -> __m512 {
        unsafe { _mm512_loadu_ps(source.pointer(offset, super::LANES)) }
    }

    #[inline(always)]
    unsafe fn store(self, target: Dst, offset: usize, value: __m512) {
        unsafe { _mm512_storeu_ps(target.pointer(offset, super::LANES), value) }
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
