//! Vectors of sixteen f32, on each instruction set.
//!
//! A kernel is one generic function over [`Simd`]. A value of an implementing type proves that the
//! processor has the instructions, so its methods are safe to call. Kernels and their helpers must
//! be `#[inline(always)]` and entered through [`Simd::vectorize`]; otherwise they are not compiled
//! with the wider instructions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

use crate::memory::{Dst, Src};

/// f32 in a [`Simd::Vector`], and channels in a plane of activations.
pub(crate) const LANES: usize = 16;

/// Vector arithmetic of one instruction set.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// [`LANES`] f32.
    type Vector: Copy;

    /// f32-sized memory per pixel of 16 channels: all 16, or half as many for bf16. Arithmetic is
    /// always f32.
    const PIXEL: usize = LANES;
    /// Adjacent channels that one multiplication of a matrix product combines.
    const RANK: usize = 1;
    /// Rows of a matrix product's tile of 1, 2 or 3 vectors: as many as fit the registers beside
    /// the operands. 0: too wide.
    const TILE_ROWS: [usize; 3];
    /// Rows (1, 2, 4, 8 or 16) of a weight gradient's tile of 1, 2 or 3 vectors. 0: too wide.
    const GRADIENT_ROWS: [usize; 3];

    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn new() -> Self;

    /// Runs `f` compiled for the instruction set. `f` must be `#[inline(always)]`.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;

    fn splat(self, value: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a < b ? a : b`, lane by lane: `b` if one of them is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b ? a : b`, lane by lane: `b` if one of them is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b ? then : otherwise`, lane by lane.
    fn where_greater(
        self,
        a: Self::Vector,
        b: Self::Vector,
        then: Self::Vector,
        otherwise: Self::Vector,
    ) -> Self::Vector;

    /// # Safety
    /// `source` must be readable at `offset..offset + LANES`.
    unsafe fn load(self, source: Src, offset: usize) -> Self::Vector;
    /// # Safety
    /// `target` must be writable at `offset..offset + LANES`.
    unsafe fn store(self, target: Dst, offset: usize, value: Self::Vector);
    /// The first `count` lanes; the others are 0.
    ///
    /// # Safety
    /// `source` must be readable at `offset..offset + count`, `count <= LANES`.
    unsafe fn load_first(self, count: usize, source: Src, offset: usize) -> Self::Vector;
    /// # Safety
    /// `target` must be writable at `offset..offset + count`, `count <= LANES`.
    unsafe fn store_first(self, count: usize, target: Dst, offset: usize, value: Self::Vector);

    /// A pixel of activations.
    ///
    /// # Safety
    /// `source` must have pixel `row`.
    #[inline(always)]
    unsafe fn load_pixel(self, source: Src, row: usize) -> Self::Vector {
        // SAFETY: as promised by the caller.
        unsafe { self.load(source, row * LANES) }
    }
    /// # Safety
    /// `target` must have pixel `row`.
    #[inline(always)]
    unsafe fn store_pixel(self, target: Dst, row: usize, value: Self::Vector) {
        // SAFETY: as promised by the caller.
        unsafe { self.store(target, row * LANES, value) }
    }
    /// [`Simd::store_pixel`] past the caches, for pixels not read again soon. Call [`Simd::settle`]
    /// after the last one. `target` must be aligned to a pixel's size.
    ///
    /// # Safety
    /// `target` must have pixel `row`.
    #[inline(always)]
    unsafe fn stream_pixel(self, target: Dst, row: usize, value: Self::Vector) {
        // SAFETY: as promised by the caller.
        unsafe { self.store_pixel(target, row, value) }
    }
    /// Orders streamed stores before later ones.
    #[inline(always)]
    fn settle(self) {}
    /// Combines `RANK` vectors for [`Simd::multiply_ranks`]; further ones are ignored.
    #[inline(always)]
    fn rank(self, first: Self::Vector, _second: Self::Vector) -> Self::Vector {
        first
    }
    /// Loads a rank of `RANK` consecutive pixels. Only `count` exist; the others count as 0.
    ///
    /// # Safety
    /// `source` must have these pixels, from `row` on.
    #[inline(always)]
    unsafe fn load_rank(self, _count: usize, source: Src, row: usize) -> Self::Vector {
        // SAFETY: as promised by the caller.
        unsafe { self.load_pixel(source, row) }
    }
    /// The sum over a rank of `a * b`, plus `c`.
    #[inline(always)]
    fn multiply_ranks(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.mul_add(a, b, c)
    }

    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    fn transpose(self, rows: [Self::Vector; LANES]) -> [Self::Vector; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }

    /// One number in every lane.
    ///
    /// # Safety
    /// `source` must be readable at `offset`.
    #[inline(always)]
    unsafe fn broadcast(self, source: Src, offset: usize) -> Self::Vector {
        // SAFETY: as promised by the caller.
        self.splat(unsafe { source.get(offset) })
    }
}
