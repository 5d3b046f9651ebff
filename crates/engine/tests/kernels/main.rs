//! Tests every kernel, on every instruction set of this machine, against a plain reference in
//! double precision.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch_norm;
mod depthwise;
mod plan;
mod pool;

/// Reproducible pseudo-random numbers in [-1, 1).
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|index| {
            let mut x = index.wrapping_mul(0x9E37_79B9) ^ seed;
            x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
            x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
            ((x ^ (x >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Asserts that the distance between both vectors is small relative to the length of the expected
/// one.
fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let square = |x: f64| x * x;
    let distance: f64 = actual
        .iter()
        .zip(expected)
        .map(|(a, e)| square(f64::from(*a) - e))
        .sum();
    let length: f64 = expected.iter().map(|e| square(*e)).sum();
    let relative = (distance / length.max(1e-30)).sqrt();
    assert!(
        relative <= tolerance,
        "{what}: off by {relative:e} of its length"
    );
}
