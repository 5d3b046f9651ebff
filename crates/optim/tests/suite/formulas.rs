//! The inputs of the golden data, computed as in `tests/golden/generate.py`.

/// The finaliser of MurmurHash3.
fn hash32(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
    x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
    x ^ (x >> 16)
}

/// A pseudo-random multiple of 2^-23 in [-1, 1), which is exact in f32.
pub(crate) fn uniform(stream: u32, index: u32) -> f64 {
    let hashed = hash32(hash32(stream).wrapping_add(index));
    f64::from(hashed >> 8) / f64::from(1 << 23) - 1.0
}

/// Lengths of the four tensors, and the scale of each tensor's gradients.
pub(crate) const SIZES: [usize; 4] = [1, 7, 24, 32];
const SCALES: [f64; 4] = [1.0, 1.0 / 1_048_576.0, 8.0, 0.125];

pub(crate) fn parameters() -> Vec<f32> {
    let len = SIZES.iter().sum::<usize>() as u32;
    (0..len).map(|index| uniform(1, index) as f32).collect()
}

pub(crate) fn gradients(step: u32) -> Vec<f32> {
    let scales = SIZES.iter().zip(SCALES);
    let scales = scales.flat_map(|(&size, scale)| std::iter::repeat_n(scale, size));
    scales
        .zip(0..)
        .map(|(scale, index)| match hash32(step * 1000 + index) % 5 {
            0 => 0.0,
            _ => (scale * uniform(1000 + step, index)) as f32,
        })
        .collect()
}

/// A metric that falls towards 0.1, with noise.
pub(crate) fn metric(epoch: u32) -> f64 {
    1.0 / (1.0 + f64::from(epoch) / 10.0) + 0.1 * uniform(7, epoch)
}
