use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{slice, with_slices};

/// Multiplies each image of `x` `[n, ..]` by its factor.
pub(crate) fn scale_images(x: &Tensor, factors: Vec<f32>) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.contiguous()?.apply_op1(ImageFactors(factors))
    } else {
        stock(x, factors)
    }
}

fn stock(x: &Tensor, factors: Vec<f32>) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    shape[0] = factors.len();
    x.broadcast_mul(&Tensor::from_vec(factors, shape, x.device())?)
}

struct ImageFactors(Vec<f32>);

impl ImageFactors {
    fn scaled(&self, x: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; x.len()];
        let image = (x.len() / self.0.len()).max(1);
        let images = output.par_chunks_mut(image).zip(x.par_chunks(image));
        images.zip(&self.0).for_each(|((output, x), &factor)| {
            output
                .iter_mut()
                .zip(x)
                .for_each(|(output, x)| *output = x * factor);
        });
        output
    }
}

impl CustomOp1 for ImageFactors {
    fn name(&self) -> &'static str {
        "factors of images"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.scaled(slice(x, layout)?);
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_x = with_slices([gradient], |[gradient]| Ok(self.scaled(gradient)))?;
        Ok(Some(Tensor::from_vec(of_x, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        let factors = vec![0.0, 1.25, 2.0];
        for shape in [&[3, 4, 5, 6][..], &[3, 7]] {
            assert_same(
                [numbers(shape, 1)],
                |[x]| scale_images(x, factors.clone()).unwrap(),
                |[x]| stock(x, factors.clone()).unwrap(),
            );
        }
    }
}
