use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor};
use engine::Isa;
use engine::layer_norm::{backward, forward};

use super::{slice, with_slices};

/// Normalises the channels of each pixel of `x` `[.., c]`, then applies `weight` and `bias` (`torch.nn.LayerNorm`).
pub(crate) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    if x.device().is_cpu() {
        let op = LayerNorm(epsilon as f32);
        (x.contiguous()?).apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
    } else {
        stock(x, weight, bias, epsilon)
    }
}

fn stock(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)
}

/// The operator, with its epsilon.
struct LayerNorm(f32);

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer normalisation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, x_layout)?;
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let mut output = vec![0.0; x.len()];
        forward(Isa::best(), self.0, x, weight, bias, &mut output);
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut of_x = vec![0.0; x.elem_count()];
        let (of_weight, of_bias) = with_slices([x, weight, gradient], |[x, weight, gradient]| {
            Ok(backward(
                Isa::best(),
                self.0,
                x,
                weight,
                gradient,
                &mut of_x,
            ))
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((
            Some(tensor(of_x, x)?),
            Some(tensor(of_weight, weight)?),
            Some(tensor(of_bias, bias)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        for shape in [&[2, 3, 4, 37][..], &[600, 16], &[3, 1]] {
            let channels = shape[shape.len() - 1];
            // A large mean must not cost precision.
            let x = (numbers(shape, 1) + 2.0).unwrap();
            assert_same(
                [x, numbers(&[channels], 2), numbers(&[channels], 3)],
                |[x, w, b]| layer_norm(x, w, b, 1e-3).unwrap(),
                |[x, w, b]| stock(x, w, b, 1e-3).unwrap(),
            );
        }
    }
}
