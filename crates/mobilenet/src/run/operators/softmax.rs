use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{slice, with_slices};

/// `softmax(x)` over the last axis.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.contiguous()?.apply_op1(Softmax)
    } else {
        stock(x)
    }
}

fn stock(x: &Tensor) -> Result<Tensor> {
    candle_nn::ops::softmax(x, D::Minus1)
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let length = layout.shape().dims().last().copied().unwrap_or(1);
        let mut output = vec![0.0; x.len()];
        let rows = output.par_chunks_mut(length).zip(x.par_chunks(length));
        rows.for_each(|(output, x)| {
            let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (output, x) in output.iter_mut().zip(x) {
                *output = (x - largest).exp();
                sum += *output;
            }
            output.iter_mut().for_each(|value| *value /= sum);
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let length = x.dim(D::Minus1)?;
        let mut of_x = vec![0.0; x.elem_count()];
        with_slices([output, gradient], |[output, gradient]| {
            let rows = output.par_chunks(length).zip(gradient.par_chunks(length));
            of_x.par_chunks_mut(length)
                .zip(rows)
                .for_each(|(of_x, (y, g))| {
                    let mean: f32 = y.iter().zip(g).map(|(y, g)| y * g).sum();
                    for ((of_x, y), g) in of_x.iter_mut().zip(y).zip(g) {
                        *of_x = y * (g - mean);
                    }
                });
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(of_x, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        let x = (numbers(&[3, 4, 9], 1) * 30.0).unwrap();
        assert_same([x], |[x]| softmax(x).unwrap(), |[x]| stock(x).unwrap());
    }
}
