//! The logistic function: constants for all kernels, and the function for single numbers.
//!
//! `1 / (1 + exp(-x))`. The exponential is `2^n * exp(g)` with a whole `n` and `|g| <= ln(2) / 2`. The polynomial for
//! `exp(g)` has a relative error of 9e-8, the smallest for its degree. All loops over these functions can be
//! vectorised.

use crate::isa::multiply_add;

/// Inputs are limited to ± this value. So the exponential and its reciprocal stay normal numbers.
pub(crate) const LIMIT: f32 = 87.0;
/// Adding and subtracting this number rounds a smaller one to a whole number.
pub(crate) const ROUND: f32 = 12_582_912.0;
/// The upper digits of ln(2). Their product with a whole number up to 127 is exact.
pub(crate) const LN_2: f32 = 0.693_359_4;
/// ln(2) minus the upper digits.
pub(crate) const LN_2_REST: f32 = -2.121_944_4e-4;
/// The coefficients of `g`, `g²`, … in `exp(g)`, after the constant 1.
pub(crate) const COEFFICIENTS: [f32; 5] = [
    0.999_999_7,
    0.499_991_5,
    0.166_676_36,
    0.041_897_934,
    0.008_290_316,
];

/// `x * 2^n` for a whole number `n`. Neither `x` nor the result may be denormal.
#[inline(always)]
pub(crate) fn scale(x: f32, n: f32) -> f32 {
    f32::from_bits(x.to_bits().wrapping_add((n as i32 as u32) << 23))
}

/// `1 / (1 + exp(-x))`. NaN stays NaN.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    // Comparisons that are false for NaN.
    let x = if x > LIMIT { LIMIT } else { x };
    let x = if x < -LIMIT { -LIMIT } else { x };
    let n = multiply_add::<FMA>(x, -std::f32::consts::LOG2_E, ROUND) - ROUND;
    let g = multiply_add::<FMA>(n, -LN_2, -x);
    let g = multiply_add::<FMA>(n, -LN_2_REST, g);
    let mut value = COEFFICIENTS[4];
    for index in (0..4).rev() {
        value = multiply_add::<FMA>(value, g, COEFFICIENTS[index]);
    }
    1.0 / (1.0 + scale(multiply_add::<FMA>(value, g, 1.0), n))
}

/// The slope of `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu_slope<const FMA: bool>(x: f32) -> f32 {
    let s = sigmoid::<FMA>(x);
    multiply_add::<FMA>(x * s, 1.0 - s, s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_equals_its_formula() {
        for index in -350_000..=350_000 {
            let x = index as f32 / 4096.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            for value in [sigmoid::<true>(x), sigmoid::<false>(x)] {
                let error = (f64::from(value) / exact - 1.0).abs();
                assert!(error < 1e-6, "sigmoid({x}) is {value}, not {exact}");
            }
        }
    }

    #[test]
    fn extreme_numbers_have_limits_and_nan_stays() {
        for (x, expected) in [(f32::INFINITY, 1.0), (1e30, 1.0), (-1e30, 0.0), (0.0, 0.5)] {
            assert!((sigmoid::<true>(x) - expected).abs() < 1e-37);
        }
        for bits in [0x7FC0_0000, 0x7FFF_FFFF, 0xFF80_0001_u32] {
            assert!(sigmoid::<true>(f32::from_bits(bits)).is_nan());
            assert!(silu_slope::<false>(f32::from_bits(bits)).is_nan());
        }
    }
}
