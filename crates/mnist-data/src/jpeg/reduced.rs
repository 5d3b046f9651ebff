//! The inverse cosine transforms of 1 to 7 values a side, which decode an image at N/8 of its size.
//!
//! Each transforms the lowest N × N coefficients of a block. The factors are those of N-point transforms, scaled for
//! coefficients of 8 × 8 blocks, as in libjpeg's `jpeg_idct_NxN` (jidctint.c). The arithmetic is that of
//! [`super::idct`]: integers with 13 fractional bits, so every processor gives the same samples.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::entropy::Block;
use super::idct::{CONST_BITS, PASS1_BITS, Vectors};

/// The samples per side of a whole block.
pub(super) const WHOLE: usize = 8;

/// Eight pairs of factors.
type Pairs = [[i16; 2]; 8];

/// The factors of coefficients 2p and 2p + 1 for each sample x, at `[p][x]`. Others are 0.
const fn factors<const N: usize>() -> [Pairs; 4] {
    let mut factors = [[[0; 2]; 8]; 4];
    let mut u = 0;
    while u < N {
        let scale = if u == 0 { FRAC_1_SQRT_2 / 2.0 } else { 0.5 };
        let mut x = 0;
        while x < N {
            let factor = scale * cosine((2 * x + 1) * u, N) * (1 << CONST_BITS) as f64;
            factors[u / 2][x][u % 2] = factor.round() as i16;
            x += 1;
        }
        u += 1;
    }
    factors
}

/// Writes the samples of a block, `N` × `N`, to `out`, with rows `stride` bytes apart. Eight bytes of each row are
/// written, since whole vectors are faster; the next block overwrites those after the first `N`.
#[inline(always)]
pub(super) fn samples<const N: usize>(
    vectors: Vectors,
    block: &Block,
    quantisation: &Block,
    out: &mut [u8],
    stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(v) = vectors {
        return v.vectorize(
            #[inline(always)]
            || on_vectors::<N>(v, block, quantisation, out, stride),
        );
    }
    let _ = vectors;
    plain::<N>(block, quantisation, out, stride);
}

#[inline(always)]
fn plain<const N: usize>(block: &Block, quantisation: &Block, out: &mut [u8], stride: usize) {
    let factors = const { &factors::<N>() };
    let descaled = |sum: i32, bits: i32| {
        let value = sum.wrapping_add(1 << (bits - 1)) >> bits;
        value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    };
    let factor = |u: usize, x: usize| i32::from(factors[u / 2][x][u % 2]);
    let mut rows = [[0_i16; 8]; N];
    for (y, row) in rows.iter_mut().enumerate() {
        let mut sums = [0_i32; 8];
        for v in 0..N {
            for (x, sum) in sums.iter_mut().enumerate() {
                let value = block[8 * v + x].wrapping_mul(quantisation[8 * v + x]);
                *sum = sum.wrapping_add(i32::from(value) * factor(v, y));
            }
        }
        *row = sums.map(|sum| descaled(sum, CONST_BITS - PASS1_BITS));
    }
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        let mut sums = [0_i32; 8];
        for (u, &value) in row[..N].iter().enumerate() {
            for (x, sum) in sums.iter_mut().enumerate() {
                *sum = sum.wrapping_add(i32::from(value) * factor(u, x));
            }
        }
        let bytes = sums.map(|sum| {
            let value = descaled(sum, CONST_BITS + PASS1_BITS);
            (value.clamp(-128, 127) + 128) as u8
        });
        out[..8].copy_from_slice(&bytes);
    }
}

/// [`plain`] with AVX2, bit for bit: pairs of 16-bit values are multiplied and added at once.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn on_vectors<const N: usize>(
    v: pulp::x86::V3,
    block: &Block,
    quantisation: &Block,
    out: &mut [u8],
    stride: usize,
) {
    use std::arch::x86_64::{__m128i, __m256i};

    use pulp::bytemuck::cast;

    let factors = const { &factors::<N>() };
    let (mut values, quantisation): ([__m128i; 8], [__m128i; 8]) =
        (cast(*block), cast(*quantisation));
    for (value, factor) in values.iter_mut().zip(quantisation) {
        *value = v.sse2._mm_mullo_epi16(*value, factor);
    }
    let count = N.div_ceil(2);
    let mut pairs = [v.avx._mm256_setzero_si256(); 4];
    for (pair, two) in pairs.iter_mut().zip(values.as_chunks::<2>().0).take(count) {
        let halves = [
            v.sse2._mm_unpacklo_epi16(two[0], two[1]),
            v.sse2._mm_unpackhi_epi16(two[0], two[1]),
        ];
        *pair = cast(halves);
    }
    let spread = |pair: [i16; 2]| v.avx._mm256_set1_epi32(cast(pair));
    let packed = |sum: __m256i| {
        let [low, high]: [__m128i; 2] = cast(sum);
        v.sse2._mm_packs_epi32(low, high)
    };
    let add = |a, b| v.avx2._mm256_add_epi32(a, b);
    let half = |bits: i32| v.avx._mm256_set1_epi32(1 << (bits - 1));
    for (y, out) in out.chunks_mut(stride).take(N).enumerate() {
        let mut sum = half(CONST_BITS - PASS1_BITS);
        for (pair, factors) in pairs.iter().zip(factors).take(count) {
            sum = add(sum, v.avx2._mm256_madd_epi16(*pair, spread(factors[y])));
        }
        let row = packed(v.avx2._mm256_srai_epi32::<{ CONST_BITS - PASS1_BITS }>(sum));
        let row: [[i16; 2]; 4] = cast(row);
        let mut sum = half(CONST_BITS + PASS1_BITS);
        for (pair, factors) in row.iter().zip(factors).take(count) {
            sum = add(sum, v.avx2._mm256_madd_epi16(cast(*factors), spread(*pair)));
        }
        let row = packed(v.avx2._mm256_srai_epi32::<{ CONST_BITS + PASS1_BITS }>(sum));
        let bytes = v.sse2._mm_packs_epi16(row, row);
        let bytes: [[u8; 8]; 2] = cast(v.sse2._mm_xor_si128(bytes, v.sse2._mm_set1_epi8(i8::MIN)));
        out[..8].copy_from_slice(&bytes[0]);
    }
}

/// The cosine of `part` of 2 × `of` parts of half a turn.
const fn cosine(part: usize, of: usize) -> f64 {
    // A turn has 4 × `of` parts. Both halves of a turn mirror each other.
    let part = part % (4 * of);
    let part = if part > 2 * of { 4 * of - part } else { part };
    let angle = PI * part as f64 / (2 * of) as f64;
    let (mut sum, mut term, mut power) = (0.0, 1.0, 0);
    while power < 40 {
        sum += term;
        term *= -angle * angle / ((power + 1) * (power + 2)) as f64;
        power += 2;
    }
    sum
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::jpeg::tests::{random, tested_vectors};

    fn check<const N: usize>(v: pulp::x86::V3, block: &Block, quantisation: &Block) {
        let (mut expected, mut made) = ([0; 80], [0; 80]);
        plain::<N>(block, quantisation, &mut expected, 10);
        on_vectors::<N>(v, block, quantisation, &mut made, 10);
        assert_eq!(expected, made, "{N} {block:?} {quantisation:?}");
    }

    /// Both give the same samples, also where damaged coefficients overflow.
    #[test]
    fn the_reduced_transforms_on_vectors_are_the_plain_ones() {
        let Some(v) = tested_vectors() else { return };
        let mut random = random();
        for case in 0..4000 {
            let block: Block = std::array::from_fn(|_| random() >> (case % 16));
            let quantisation: Block = std::array::from_fn(|_| random() >> (case / 16 % 16));
            check::<2>(v, &block, &quantisation);
            check::<3>(v, &block, &quantisation);
            check::<4>(v, &block, &quantisation);
            check::<5>(v, &block, &quantisation);
            check::<6>(v, &block, &quantisation);
            check::<7>(v, &block, &quantisation);
        }
    }
}
