//! The inverse cosine transforms of 1 to 7 values a side, which decode an image at N/8 of its size.
//!
//! Each transforms the lowest N × N coefficients of a block. The factors are those of N-point transforms, scaled for
//! coefficients of 8 × 8 blocks, as in libjpeg's `jpeg_idct_NxN` (jidctint.c). The arithmetic is f32 without fused
//! products, so every processor gives the same samples.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::entropy::Block;

/// The samples per side of a whole block.
pub(super) const WHOLE: usize = 8;

/// The factors of a transform: a row for each coefficient, with a column for each sample. Other columns are 0.
type Factors<const N: usize, const LANES: usize> = [[f32; LANES]; N];

/// Writes the samples of a block, `N` × `N`, to `out`, with rows `stride` bytes apart. `LANES` is the length of the
/// vectors, at least `N`. So many bytes of each row are written, since whole vectors are faster; the next block
/// overwrites those after the first `N`.
#[inline(always)]
pub(super) fn samples<const N: usize, const LANES: usize>(
    block: &Block,
    quantisation: &Block,
    out: &mut [u8],
    stride: usize,
) {
    let factors = const { &factors::<N, LANES>() };
    // The columns of coefficients, transformed. Columns after the first `N` are not used.
    let mut rows = [[0.0; LANES]; N];
    let coefficients = block.as_chunks::<WHOLE>().0.iter();
    let quantisation = quantisation.as_chunks::<WHOLE>().0;
    for ((coefficients, quantisation), factors) in coefficients.zip(quantisation).zip(factors) {
        let mut values = [0.0; LANES];
        for (value, (coefficient, factor)) in
            values.iter_mut().zip(coefficients.iter().zip(quantisation))
        {
            *value = f32::from(coefficient.wrapping_mul(*factor));
        }
        for (row, factor) in rows.iter_mut().zip(factors) {
            for (sum, value) in row.iter_mut().zip(&values) {
                *sum += value * factor;
            }
        }
    }
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        let mut sums = [128.0; LANES];
        for (value, factors) in row.iter().zip(factors) {
            for (sum, factor) in sums.iter_mut().zip(factors) {
                *sum += value * factor;
            }
        }
        out[..LANES].copy_from_slice(&sums.map(byte));
    }
}

/// The nearest byte.
#[inline(always)]
fn byte(sample: f32) -> u8 {
    // After this sum, the lowest bits are the sample's. A conversion by `as` has more instructions.
    const LAST_BIT_IS_ONE: f32 = (1 << 23) as f32;
    (sample.clamp(0.0, 255.0) + LAST_BIT_IS_ONE).to_bits() as u8
}

const fn factors<const N: usize, const LANES: usize>() -> Factors<N, LANES> {
    let mut factors = [[0.0; LANES]; N];
    let mut u = 0;
    while u < N {
        let scale = if u == 0 { FRAC_1_SQRT_2 / 2.0 } else { 0.5 };
        let mut x = 0;
        while x < N {
            factors[u][x] = (scale * cosine((2 * x + 1) * u, N)) as f32;
            x += 1;
        }
        u += 1;
    }
    factors
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
