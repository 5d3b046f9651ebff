//! The hash function and the fills of `tests/golden/generate.py`; see the README there.

use candle_core::{Device, Tensor};
use mobilenet::Images;

/// FNV-1a, 32 bits.
pub(crate) fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |value, byte| {
        (value ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

pub(crate) fn hash(seed: u32, index: u32) -> u32 {
    let mut x = index.wrapping_mul(0x9E37_79B9) ^ seed;
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// Values in `centre - spread .. centre + spread`. They depend on the tensor's name.
pub(crate) fn around(
    centre: f64,
    spread: f64,
    name: &str,
    count: usize,
) -> impl Iterator<Item = f32> + use<> {
    let seed = fnv1a(name);
    (0..count as u32).map(move |index| {
        let uniform = (hash(seed, index) >> 8) as f32 * 2f32.powi(-23) - 1.0;
        centre as f32 + spread as f32 * uniform
    })
}

/// Generates images in torch's order `[n, 3, side, side]` and converts them to channels last.
pub(crate) fn images(batch: usize, side: usize) -> Images {
    let values: Vec<f32> = around(0.0, 2.0, "input", batch * 3 * side * side).collect();
    let images = Tensor::from_vec(values, (batch, 3, side, side), &Device::Cpu).unwrap();
    Images::normalised(&images.permute((0, 2, 3, 1)).unwrap()).unwrap()
}
