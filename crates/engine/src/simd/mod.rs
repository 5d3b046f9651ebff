//! Vectors of sixteen f32, on each instruction set.
//!
//! A kernel is one generic function over [`Simd`]. A value of an implementing type proves that the
//! processor has the instructions, so the type's methods are safe to call. Kernels and their
//! helpers must be `#[inline(always)]` and called through [`Simd::vectorize`]; otherwise they are
//! compiled without the wider instructions.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod portable_tiles;
mod tiles;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::has_amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;
#[cfg(test)]
pub(crate) use portable_tiles::PortableTiles;
pub(crate) use tiles::{TILE, TileProduct};

use crate::memory::{Dst, Src};

/// Number of f32 in a [`Simd::Vector`], and of channels in a plane of activations.
pub(crate) const LANES: usize = 16;

/// Vector arithmetic of one instruction set.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`LANES`] f32.
    type Vector: Copy;
    /// An order of lanes, see [`Simd::permute`].
    type Order: Copy;

    /// Number of f32-sized values that store a pixel of 16 channels: 16 for f32, 8 for bf16.
    /// Arithmetic is always f32.
    const PIXEL: usize = LANES;
    /// Number of channels, or of pixels, that one multiplication of a matrix product combines.
    const RANK: usize = 1;
    /// Number of rows in a matrix product's tile that is 1, 2 or 3 vectors wide: as many as fit the
    /// registers together with the operands. 0 if the tile is too wide.
    const TILE_ROWS: [usize; 3];
    /// Number of rows (1, 2, 4, 8 or 16) in a weight gradient's tile that is 1, 2 or 3 vectors
    /// wide. 0 if the tile is too wide.
    const GRADIENT_ROWS: [usize; 3];
    /// The most columns of a depthwise convolution's tile: 2, 4 or 8. More would not fit the registers.
    const COLUMNS: usize = 8;

    /// Whether matrix products use [`Simd::multiply_tiles`].
    const TILES: bool = false;

    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn new() -> Self;

    /// Number of ranks of a matrix of this depth when it is packed. Tiles take 16 at once; those
    /// behind the last channel are 0.
    #[inline(always)]
    fn ranks(depth: usize) -> usize {
        depth
            .div_ceil(Self::RANK)
            .next_multiple_of(if Self::TILES { LANES } else { 1 })
    }

    /// Runs `f` compiled for the instruction set. `f` must be `#[inline(always)]`.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;

    fn splat(self, value: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `x * 2^n` for whole numbers `n`. Neither `x` nor the result may be denormal. NaN stays NaN.
    fn scale(self, x: Self::Vector, n: Self::Vector) -> Self::Vector;
    /// `1 / x`, with a relative error of at most 1e-7. Neither `x` nor the result may be denormal or infinite.
    fn reciprocal(self, x: Self::Vector) -> Self::Vector;
    /// `a < b ? a : b`, lane by lane; `b` if either is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b ? a : b`, lane by lane; `b` if either is NaN.
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
    /// Loads the first `count` lanes; the other lanes are 0.
    ///
    /// # Safety
    /// `source` must be readable at `offset..offset + count`, `count <= LANES`.
    unsafe fn load_first(self, count: usize, source: Src, offset: usize) -> Self::Vector;
    /// # Safety
    /// `target` must be writable at `offset..offset + count`, `count <= LANES`.
    unsafe fn store_first(self, count: usize, target: Dst, offset: usize, value: Self::Vector);

    /// Loads a pixel of activations.
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
    /// As [`Simd::store_pixel`], but bypasses the caches: for pixels that are not read again soon.
    /// Call [`Simd::settle`] after the last such store. `target` must be aligned to the size of a
    /// pixel.
    ///
    /// # Safety
    /// `target` must have pixel `row`.
    #[inline(always)]
    unsafe fn stream_pixel(self, target: Dst, row: usize, value: Self::Vector) {
        // SAFETY: as promised by the caller.
        unsafe { self.store_pixel(target, row, value) }
    }
    /// Makes stores that bypassed the caches visible before later stores.
    #[inline(always)]
    fn settle(self) {}
    /// Combines `RANK` vectors for [`Simd::multiply_ranks`]; other vectors are ignored.
    #[inline(always)]
    fn rank(self, first: Self::Vector, _second: Self::Vector) -> Self::Vector {
        first
    }
    /// Loads ranks of `RANK` consecutive values, one in each lane. Only `count` values exist; the others are read as 0.
    ///
    /// # Safety
    /// `source` must have these values, from `offset` on.
    #[inline(always)]
    unsafe fn load_ranks(self, count: usize, source: Src, offset: usize) -> Self::Vector {
        // SAFETY: as promised by the caller.
        unsafe { self.load_first(count, source, offset) }
    }
    /// Loads a rank of `RANK` consecutive pixels. Only `count` of them exist; the others are read
    /// as 0.
    ///
    /// # Safety
    /// `source` must have these pixels, from `row` on.
    #[inline(always)]
    unsafe fn load_rank(self, _count: usize, source: Src, row: usize) -> Self::Vector {
        // SAFETY: as promised by the caller.
        unsafe { self.load_pixel(source, row) }
    }
    /// Adds the products `a * b` over each rank, plus `c`.
    #[inline(always)]
    fn multiply_ranks(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.mul_add(a, b, c)
    }

    /// The order in which lane `i` becomes lane `lanes[i]`, or 0 if `lanes[i]` is [`LANES`].
    fn order(self, lanes: &[u32; LANES]) -> Self::Order;
    /// Rearranges lanes.
    fn permute(self, value: Self::Vector, order: Self::Order) -> Self::Vector;

    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    fn transpose(self, rows: [Self::Vector; LANES]) -> [Self::Vector; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }

    /// Loads one number into every lane.
    ///
    /// # Safety
    /// `source` must be readable at `offset`.
    #[inline(always)]
    unsafe fn broadcast(self, source: Src, offset: usize) -> Self::Vector {
        // SAFETY: as promised by the caller.
        self.splat(unsafe { source.get(offset) })
    }

    /// Loads the `count` first ranks of the 16 channels at pixel `row` of two planes.
    /// Other lanes are 0. Only for instruction sets with [`Simd::TILES`].
    ///
    /// # Safety
    /// The planes must have pixel `row`, the second one only if `count` reaches it.
    #[inline(always)]
    unsafe fn load_halves(self, _count: usize, _planes: [Src; 2], _row: usize) -> Self::Vector {
        unreachable!("this instruction set has no tiles")
    }

    /// Stores the product of `height` tiles of rows and `width` tiles of columns, 1 or 2 each, in
    /// `c`: `[width][height * 16][16]` f32. Only for instruction sets with [`Simd::TILES`].
    ///
    /// # Safety
    /// The operands must hold all their tiles.
    #[inline(always)]
    unsafe fn multiply_tiles(
        self,
        _operands: &TileProduct<'_>,
        [_height, _width]: [usize; 2],
        _c: Dst,
    ) {
        unreachable!("this instruction set has no tiles")
    }
}
