//! The transform of a block with AVX2. Pairs of 16-bit values are multiplied and added at once (`pmaddwd`), as in
//! jidctint-avx2.asm. The results are those of [`super::idct`], bit for bit.

use std::arch::x86_64::{__m128i, __m256i};

use pulp::bytemuck::cast;
use pulp::x86::V3;

use super::idct::*;

type Rows = [__m128i; 8];

/// Writes the 8 × 8 samples of a block to `out`, with rows `stride` bytes apart.
#[inline(always)]
pub(super) fn transform(
    v: V3,
    block: &[i16; 64],
    quantisation: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) {
    let (block, factors): (Rows, Rows) = (cast(*block), cast(*quantisation));
    let mut rows = block;
    for (row, factor) in rows.iter_mut().zip(factors) {
        *row = v.sse2._mm_mullo_epi16(*row, factor);
    }
    let rest = block[1..].iter().fold(v.sse2._mm_setzero_si128(), |a, b| {
        v.sse2._mm_or_si128(a, *b)
    });
    let zero = v.sse2._mm_cmpeq_epi8(rest, v.sse2._mm_setzero_si128());
    let first = match v.sse2._mm_movemask_epi8(zero) {
        // All rows equal the first one. Values are not saturated here.
        0xFFFF => [v.sse2._mm_slli_epi16::<{ PASS1_BITS }>(rows[0]); 8],
        _ => pass::<{ CONST_BITS - PASS1_BITS }>(v, rows),
    };
    let columns = cast(transpose(&cast(first)));
    let rows = pass::<{ CONST_BITS + PASS1_BITS + 3 }>(v, columns);
    let rows: Rows = cast(transpose(&cast(rows)));
    let middle = v.sse2._mm_set1_epi8(i8::MIN);
    for (pair, two) in rows
        .as_chunks::<2>()
        .0
        .iter()
        .zip(out.chunks_mut(2 * stride))
    {
        let samples = v.sse2._mm_packs_epi16(pair[0], pair[1]);
        let samples: [[u8; 8]; 2] = cast(v.sse2._mm_xor_si128(samples, middle));
        two[..8].copy_from_slice(&samples[0]);
        two[stride..stride + 8].copy_from_slice(&samples[1]);
    }
}

/// Transforms all eight columns, and removes `SHIFT` fractional bits.
#[inline(always)]
fn pass<const SHIFT: i32>(v: V3, r: Rows) -> Rows {
    let add = |a, b| v.avx2._mm256_add_epi32(a, b);
    let sub = |a, b| v.avx2._mm256_sub_epi32(a, b);
    let wide = |row| {
        v.avx2
            ._mm256_slli_epi32::<{ CONST_BITS }>(v.avx2._mm256_cvtepi16_epi32(row))
    };
    let sums = [
        wide(v.sse2._mm_add_epi16(r[0], r[4])),
        wide(v.sse2._mm_sub_epi16(r[0], r[4])),
    ];
    let twos = pairs(v, r[2], r[6]);
    let even = [
        weighted(v, twos, F_0_541, F_0_541 - F_1_847),
        weighted(v, twos, F_0_541 + F_0_765, F_0_541),
    ];
    let (z3, z4) = (
        v.sse2._mm_add_epi16(r[7], r[3]),
        v.sse2._mm_add_epi16(r[5], r[1]),
    );
    let z = pairs(v, z3, z4);
    let z = [
        weighted(v, z, F_1_175 - F_1_961, F_1_175),
        weighted(v, z, F_1_175, F_1_175 - F_0_390),
    ];
    let (outer, inner) = (pairs(v, r[7], r[1]), pairs(v, r[5], r[3]));
    let odd = [
        add(weighted(v, outer, F_0_298 - F_0_899, -F_0_899), z[0]),
        add(weighted(v, inner, F_2_053 - F_2_562, -F_2_562), z[1]),
        add(weighted(v, inner, -F_2_562, F_3_072 - F_2_562), z[0]),
        add(weighted(v, outer, -F_0_899, F_1_501 - F_0_899), z[1]),
    ];
    let halves = [
        (add(sums[0], even[1]), odd[3]),
        (add(sums[1], even[0]), odd[2]),
        (sub(sums[1], even[0]), odd[1]),
        (sub(sums[0], even[1]), odd[0]),
    ];
    let half = v.avx._mm256_set1_epi32(1 << (SHIFT - 1));
    let mut out = r;
    for (y, (even, odd)) in halves.into_iter().enumerate() {
        let even = add(even, half);
        let (upper, lower) = (add(even, odd), sub(even, odd));
        let packed = v.avx2._mm256_packs_epi32(
            v.avx2._mm256_srai_epi32::<SHIFT>(upper),
            v.avx2._mm256_srai_epi32::<SHIFT>(lower),
        );
        // Packing works within halves of a register.
        let packed = v.avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        [out[y], out[7 - y]] = cast(packed);
    }
    out
}

/// The pairs of two rows' values.
#[inline(always)]
fn pairs(v: V3, a: __m128i, b: __m128i) -> __m256i {
    cast([
        v.sse2._mm_unpacklo_epi16(a, b),
        v.sse2._mm_unpackhi_epi16(a, b),
    ])
}

/// The sum of each pair's values, times `first` and `second`.
#[inline(always)]
fn weighted(v: V3, pairs: __m256i, first: i32, second: i32) -> __m256i {
    let weights = v.avx._mm256_set1_epi32(first & 0xFFFF | second << 16);
    v.avx2._mm256_madd_epi16(pairs, weights)
}
