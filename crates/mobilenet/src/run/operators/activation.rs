use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use engine::activation::{backward, forward};
use engine::{Activation, Isa};

use super::{slice, with_slices};

/// `activation(x)`.
pub(crate) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        _ if x.device().is_cpu() => x.contiguous()?.apply_op1(Activate(activation)),
        _ => stock(activation, x),
    }
}

/// The same, computed with candle's operators.
pub(super) fn stock(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Relu => at_least_zero(x),
        Activation::Relu6 => clamp(x, 6.0),
        Activation::Hardswish => x.mul(&hardsigmoid(x)?),
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        Activation::Hardsigmoid => hardsigmoid(x),
    }
}

/// `max(x, 0)`. Unlike candle's `relu`, it keeps NaN. The slope at 0 is 0, as in torch.
fn at_least_zero(x: &Tensor) -> Result<Tensor> {
    x.le(0.0)?.where_cond(&x.zeros_like()?, x)
}

/// `min(max(x, 0), most)`. It keeps NaN, too.
fn clamp(x: &Tensor, most: f64) -> Result<Tensor> {
    let limit = (x.zeros_like()? + most)?;
    x.ge(most)?.where_cond(&limit, &at_least_zero(x)?)
}

/// `min(max(x + 3, 0), 6) / 6` (`torch.nn.Hardsigmoid`).
fn hardsigmoid(x: &Tensor) -> Result<Tensor> {
    (clamp(&(x + 3.0)?, 6.0)? / 6.0)?.contiguous()
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut output = vec![0.0; x.len()];
        forward(Isa::best(), self.0, x, &mut output);
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mut of_x = vec![0.0; x.elem_count()];
        with_slices([x, gradient], |[x, gradient]| {
            backward(Isa::best(), self.0, x, gradient, &mut of_x);
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
        for activation in [
            Activation::Relu,
            Activation::Relu6,
            Activation::Hardswish,
            Activation::Silu,
            Activation::Gelu,
            Activation::Sigmoid,
            Activation::Hardsigmoid,
        ] {
            let x = (numbers(&[3, 50, 7], 1) * 8.0).unwrap();
            assert_same(
                [x],
                |[x]| activate(activation, x).unwrap(),
                |[x]| stock(activation, x).unwrap(),
            );
        }
    }
}
