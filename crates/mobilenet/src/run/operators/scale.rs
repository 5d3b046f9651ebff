use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use engine::Isa;
use engine::pool;

use super::{slice, with_slices};

/// Multiplies every pixel of `x` `[n, h, w, c]` by the factors of its image, `factors` `[n, c]`.
pub(crate) fn scale(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.contiguous()?.apply_op2(&factors.contiguous()?, Scale)
    } else {
        stock(x, factors)
    }
}

fn stock(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(&factors.unsqueeze(1)?.unsqueeze(1)?)
}

struct Scale;

impl CustomOp2 for Scale {
    fn name(&self) -> &'static str {
        "channel scale"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        factors: &CpuStorage,
        factors_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, _, _, channels) = x_layout.shape().dims4()?;
        let x = slice(x, x_layout)?;
        let mut output = vec![0.0; x.len()];
        pool::scale(channels, x, slice(factors, factors_layout)?, &mut output);
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        factors: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, _, _, channels) = x.dims4()?;
        let mut of_x = vec![0.0; x.elem_count()];
        let mut of_factors = vec![0.0; factors.elem_count()];
        with_slices([x, factors, gradient], |[x, factors, gradient]| {
            pool::scale(channels, gradient, factors, &mut of_x);
            pool::scale_backward_factors(Isa::best(), channels, x, gradient, &mut of_factors);
            Ok(())
        })?;
        Ok((
            Some(Tensor::from_vec(of_x, x.shape(), x.device())?),
            Some(Tensor::from_vec(of_factors, factors.shape(), x.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        assert_same(
            [numbers(&[3, 4, 5, 6], 1), numbers(&[3, 6], 2)],
            |[x, factors]| scale(x, factors).unwrap(),
            |[x, factors]| stock(x, factors).unwrap(),
        );
    }
}
