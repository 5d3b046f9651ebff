//! Differentiable operators, channels last. On the CPU, each operator runs a kernel of the crate
//! `engine`. On other devices, the same formula is computed with candle's operators. Tests use that
//! formula as the reference for the kernels.

mod activation;
mod average;
mod batch_norm;
mod depthwise;
mod gather;
mod image_factors;
mod layer_norm;
mod max_pool;
mod rows;
mod scale;
mod softmax;

pub(crate) use activation::activate;
pub(crate) use average::average;
pub(crate) use batch_norm::{Normalised, affine, batch_norm};
pub(crate) use depthwise::depthwise;
pub(crate) use gather::{OUTSIDE, gather, windows};
pub(crate) use image_factors::scale_images;
pub(crate) use layer_norm::layer_norm;
pub(crate) use max_pool::max_pool;
pub(crate) use rows::{add_row, scale_row};
pub(crate) use scale::scale;
pub(crate) use softmax::softmax;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The values of a contiguous f32 tensor on the CPU.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a kernel needs contiguous values"),
    }
}

/// Calls `f` with the values of f32 tensors on the CPU.
fn with_slices<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let mut contiguous = Vec::with_capacity(N);
    for tensor in tensors {
        contiguous.push(tensor.contiguous()?);
    }
    let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[][..]; N];
    for (target, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *target = slice(storage, layout)?,
            _ => bail!("a CPU kernel needs values on the CPU"),
        }
    }
    f(slices)
}

#[cfg(test)]
pub(crate) mod test_support {
    use candle_core::{Device, Tensor, Var};

    /// Reproducible pseudo-random numbers in [-1, 1).
    pub(crate) fn numbers(shape: &[usize], seed: u32) -> Tensor {
        let count = shape.iter().product::<usize>() as u32;
        let values: Vec<f32> = (0..count)
            .map(|index| {
                let mut x = index.wrapping_mul(0x9E37_79B9) ^ seed;
                x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
                x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
                ((x ^ (x >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Asserts that two functions of the same inputs have the same value and the same gradients.
    pub(crate) fn assert_same<const N: usize>(
        inputs: [Tensor; N],
        a: impl Fn([&Tensor; N]) -> Tensor,
        b: impl Fn([&Tensor; N]) -> Tensor,
    ) {
        let inputs = inputs.map(|tensor| Var::from_tensor(&tensor).unwrap());
        let tensors = || std::array::from_fn(|i| inputs[i].as_tensor());
        let (a, b) = (a(tensors()), b(tensors()));
        assert_near(&a, &b, "value");
        let seed = numbers(a.dims(), 99);
        let gradients = |y: &Tensor| (y * &seed).unwrap().sum_all().unwrap().backward().unwrap();
        let (of_a, of_b) = (gradients(&a), gradients(&b));
        for (index, input) in inputs.iter().enumerate() {
            let what = format!("gradient of input {index}");
            assert_near(of_a.get(input).unwrap(), of_b.get(input).unwrap(), &what);
        }
    }

    pub(crate) fn assert_near(a: &Tensor, b: &Tensor, what: &str) {
        assert_eq!(a.dims(), b.dims(), "{what}");
        let norm = |x: &Tensor| {
            x.sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
                .sqrt()
        };
        let off = norm(&(a - b).unwrap()) / norm(b).max(1e-20);
        assert!(off < 1e-5, "{what}: off by {off:e} of its length");
    }
}
