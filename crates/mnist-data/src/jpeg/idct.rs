//! The inverse cosine transform of libjpeg-turbo (`islow`), bit for bit.
//!
//! The algorithm is from Loeffler, Ligtenberg and Moschytz, in integers with 13 fractional bits. Damaged coefficients
//! may overflow; the results then wrap and saturate as in the SIMD code (jidctint-avx2.asm).

use super::reduced;

/// Fractional bits of the constants.
pub(super) const CONST_BITS: i32 = 13;
/// Fractional bits of the values between the two passes.
pub(super) const PASS1_BITS: i32 = 2;

pub(super) const F_0_298: i32 = 2446;
pub(super) const F_0_390: i32 = 3196;
pub(super) const F_0_541: i32 = 4433;
pub(super) const F_0_765: i32 = 6270;
pub(super) const F_0_899: i32 = 7373;
pub(super) const F_1_175: i32 = 9633;
pub(super) const F_1_501: i32 = 12299;
pub(super) const F_1_847: i32 = 15137;
pub(super) const F_1_961: i32 = 16069;
pub(super) const F_2_053: i32 = 16819;
pub(super) const F_2_562: i32 = 20995;
pub(super) const F_3_072: i32 = 25172;

/// The instructions beyond the build target's that the transform can use.
#[cfg(target_arch = "x86_64")]
pub(super) type Vectors = Option<pulp::x86::V3>;
#[cfg(not(target_arch = "x86_64"))]
pub(super) type Vectors = ();

/// The instructions of this processor.
#[cfg(target_arch = "x86_64")]
pub(super) fn vectors() -> Vectors {
    pulp::x86::V3::try_new()
}
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn vectors() -> Vectors {}

/// A block of 8 × 8 values, in rows.
type Rows = [[i16; 8]; 8];

/// Writes the samples of a block, `side` × `side`, to `out`, with rows `stride` bytes apart. `more` says whether
/// coefficients after the first may be non-zero.
/// Not inlined: the callers are compiled for every instruction set, and this chooses by `vectors`.
#[inline(never)]
pub(super) fn samples(
    vectors: Vectors,
    block: &[i16; 64],
    more: bool,
    quantisation: &[i16; 64],
    out: &mut [u8],
    stride: usize,
    side: usize,
) {
    match side {
        #[cfg(target_arch = "x86_64")]
        8 if more && let Some(vectors) = vectors => {
            vectors.vectorize(
                #[inline(always)]
                || super::idct_avx2::transform(vectors, block, quantisation, out, stride),
            );
        }
        8 if more => transform(block, quantisation, out, stride),
        7 if more => reduced::samples::<7>(vectors, block, quantisation, out, stride),
        6 if more => reduced::samples::<6>(vectors, block, quantisation, out, stride),
        5 if more => reduced::samples::<5>(vectors, block, quantisation, out, stride),
        4 if more => reduced::samples::<4>(vectors, block, quantisation, out, stride),
        3 if more => reduced::samples::<3>(vectors, block, quantisation, out, stride),
        2 if more => reduced::samples::<2>(vectors, block, quantisation, out, stride),
        side => flat(block[0], quantisation[0], out, stride, side),
    }
}

/// Writes the 8 × 8 samples of a block to `out`, with rows `stride` bytes apart.
#[inline(always)]
fn transform(block: &[i16; 64], quantisation: &[i16; 64], out: &mut [u8], stride: usize) {
    let mut values: Rows = [[0; 8]; 8];
    let products = block.iter().zip(quantisation);
    for (value, (coefficient, factor)) in values.as_flattened_mut().iter_mut().zip(products) {
        *value = coefficient.wrapping_mul(*factor);
    }
    match block[8..].iter().all(|&coefficient| coefficient == 0) {
        // All rows equal the first one. Values are not saturated here.
        true => second_pass(
            &values[0].map(|value| [value << PASS1_BITS; 8]),
            out,
            stride,
        ),
        false => {
            let columns = transpose(&pass::<{ CONST_BITS - PASS1_BITS }>(&values));
            second_pass(&columns, out, stride);
        }
    }
}

/// The second pass gives the samples.
#[inline(always)]
fn second_pass(columns: &Rows, out: &mut [u8], stride: usize) {
    let rows = transpose(&pass::<{ CONST_BITS + PASS1_BITS + 3 }>(columns));
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        for (value, sample) in row.iter().zip(&mut out[..8]) {
            *sample = (value.clamp(&-128, &127) + 128) as u8;
        }
    }
}

/// The samples of a block with only the first coefficient: they are all equal.
#[inline(always)]
fn flat(coefficient: i16, factor: i16, out: &mut [u8], stride: usize, side: usize) {
    let value = i32::from(coefficient.wrapping_mul(factor) << PASS1_BITS);
    let value = (value + (1 << (PASS1_BITS + 2))) >> (PASS1_BITS + 3);
    let sample = (value.clamp(-128, 127) + 128) as u8;
    for out in out.chunks_mut(stride).take(side) {
        out[..side].fill(sample);
    }
}

#[inline(always)]
pub(super) fn transpose(rows: &Rows) -> Rows {
    // Plain loops compile to several times as many shuffle instructions.
    #[cfg(target_arch = "x86_64")]
    if let Some(sse2) = pulp::core_arch::x86::Sse2::try_new() {
        let mut rows: [std::arch::x86_64::__m128i; 8] = pulp::bytemuck::cast(*rows);
        for _ in 0..3 {
            let (upper, lower) = rows.split_at(4);
            let mut shuffled = rows;
            for (pair, (&a, &b)) in shuffled
                .as_chunks_mut::<2>()
                .0
                .iter_mut()
                .zip(upper.iter().zip(lower))
            {
                *pair = [sse2._mm_unpacklo_epi16(a, b), sse2._mm_unpackhi_epi16(a, b)];
            }
            rows = shuffled;
        }
        return pulp::bytemuck::cast(rows);
    }
    let mut columns = [[0; 8]; 8];
    for (y, row) in rows.iter().enumerate() {
        for (x, &value) in row.iter().enumerate() {
            columns[x][y] = value;
        }
    }
    columns
}

/// Transforms all eight columns, and removes `SHIFT` fractional bits.
#[inline(always)]
fn pass<const SHIFT: i32>(rows: &Rows) -> Rows {
    let mut out = [[0; 8]; 8];
    for x in 0..8 {
        let input = |y: usize| i32::from(rows[y][x]);
        let sum = |a: usize, b: usize| i32::from(rows[a][x].wrapping_add(rows[b][x]));
        let even = [
            sum(0, 4) << CONST_BITS,
            i32::from(rows[0][x].wrapping_sub(rows[4][x])) << CONST_BITS,
            input(2) * F_0_541 + input(6) * (F_0_541 - F_1_847),
            input(2) * (F_0_541 + F_0_765) + input(6) * F_0_541,
        ];
        let (z3, z4) = (sum(7, 3), sum(5, 1));
        let z = [
            z3 * (F_1_175 - F_1_961) + z4 * F_1_175,
            z3 * F_1_175 + z4 * (F_1_175 - F_0_390),
        ];
        let odd = [
            (input(7) * (F_0_298 - F_0_899) - input(1) * F_0_899).wrapping_add(z[0]),
            (input(5) * (F_2_053 - F_2_562) - input(3) * F_2_562).wrapping_add(z[1]),
            (input(3) * (F_3_072 - F_2_562) - input(5) * F_2_562).wrapping_add(z[0]),
            (input(1) * (F_1_501 - F_0_899) - input(7) * F_0_899).wrapping_add(z[1]),
        ];
        let halves = [
            (even[0].wrapping_add(even[3]), odd[3]),
            (even[1].wrapping_add(even[2]), odd[2]),
            (even[1].wrapping_sub(even[2]), odd[1]),
            (even[0].wrapping_sub(even[3]), odd[0]),
        ];
        for (y, (even, odd)) in halves.into_iter().enumerate() {
            out[y][x] = descale::<SHIFT>(even.wrapping_add(odd));
            out[7 - y][x] = descale::<SHIFT>(even.wrapping_sub(odd));
        }
    }
    out
}

#[inline(always)]
fn descale<const SHIFT: i32>(value: i32) -> i16 {
    let value = value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use super::super::entropy::Block;
    use super::*;
    #[cfg(target_arch = "x86_64")]
    use crate::jpeg::tests::{random, tested_vectors};

    /// For a smooth block, each sample of a smaller transform is the mean of the area that it replaces.
    #[test]
    fn smaller_transforms_give_means_of_the_whole_one() {
        let mut block = [0; 64];
        for (place, value) in [(0, 40), (1, 30), (8, -25), (9, 6), (2, 4)] {
            block[place] = value;
        }
        let quantisation = [5; 64];
        let made = |side: usize| {
            let mut out = [0; 64 + 8];
            samples(vectors(), &block, true, &quantisation, &mut out, 8, side);
            out
        };
        let whole = made(8);
        for side in 1..8 {
            // The share of each row or column of the whole block in sample `place`.
            let share = |place: usize, of: usize| {
                let end = (8 * (place + 1)).min(side * (of + 1));
                end.saturating_sub((8 * place).max(side * of)) as f64 / 8.0
            };
            let small = made(side);
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let parts =
                    (0..64).map(|at| share(y, at / 8) * share(x, at % 8) * f64::from(whole[at]));
                let (sample, mean) = (small[8 * y + x], parts.sum::<f64>());
                assert!(
                    (f64::from(sample) - mean).abs() <= 4.0,
                    "{side} {y} {x}: {sample} {mean}"
                );
            }
        }
    }

    /// The sum of the cosines that the coefficients stand for, in double precision.
    #[test]
    fn smaller_transforms_are_the_sum_of_their_cosines() {
        let block: Block = std::array::from_fn(|at| (at * 37 % 23) as i16 - 11);
        let quantisation: Block = std::array::from_fn(|at| (at % 5) as i16 + 1);
        for side in 2..8 {
            let mut out = [0; 64 + 8];
            samples(vectors(), &block, true, &quantisation, &mut out, 8, side);
            let basis = |u: usize, x: usize| {
                let scale = if u == 0 { 0.125_f64.sqrt() } else { 0.5 };
                let angle = ((2 * x + 1) * u) as f64 / (2 * side) as f64;
                scale * (angle * std::f64::consts::PI).cos()
            };
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let parts = (0..64).filter(|at| at / 8 < side && at % 8 < side);
                let parts = parts.map(|at| {
                    let value = f64::from(block[at]) * f64::from(quantisation[at]);
                    value * basis(at / 8, y) * basis(at % 8, x)
                });
                let expected = (128.0 + parts.sum::<f64>()).clamp(0.0, 255.0);
                let error = f64::from(out[8 * y + x]) - expected;
                assert!(error.abs() <= 0.75, "{side} {y} {x}: {error}");
            }
        }
    }

    /// Both transforms give the same samples, also where damaged coefficients overflow.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_transform_on_vectors_is_the_plain_one() {
        let Some(v) = tested_vectors() else { return };
        let mut random = random();
        for case in 0..20_000 {
            let shift = case % 16;
            let kept = 1 + random().unsigned_abs() % 64;
            let mut block = [0; 64];
            for value in block.iter_mut().take(kept.into()) {
                *value = random() >> shift;
            }
            let mut quantisation = [1; 64];
            for factor in &mut quantisation {
                *factor = match case % 3 {
                    0 => 1,
                    1 => random() & 255,
                    _ => random(),
                };
            }
            let (mut plain, mut vectors) = ([0; 80], [0; 80]);
            transform(&block, &quantisation, &mut plain, 10);
            super::super::idct_avx2::transform(v, &block, &quantisation, &mut vectors, 10);
            assert_eq!(plain, vectors, "{block:?} {quantisation:?}");
        }
    }
}
