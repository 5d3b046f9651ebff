use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use engine::Isa;
use engine::pool;

use super::{slice, with_slices};

/// Mean over the pixels of each image: from `x` `[n, h, w, c]` to `[n, c]`.
pub(crate) fn average(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.contiguous()?.apply_op1(Average)
    } else {
        stock(x)
    }
}

fn stock(x: &Tensor) -> Result<Tensor> {
    x.flatten(1, 2)?.mean(1)
}

struct Average;

impl CustomOp1 for Average {
    fn name(&self) -> &'static str {
        "global average pooling"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, _, _, channels) = layout.shape().dims4()?;
        let mut output = vec![0.0; batch * channels];
        pool::average(Isa::best(), channels, slice(x, layout)?, &mut output);
        Ok((CpuStorage::F32(output), (batch, channels).into()))
    }

    fn bwd(&self, x: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, _, channels) = x.dims4()?;
        let mut of_x = vec![0.0; x.elem_count()];
        with_slices([gradient], |[gradient]| {
            pool::average_backward(channels, gradient, &mut of_x);
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
        let x = numbers(&[3, 4, 5, 6], 1);
        assert_same([x], |[x]| average(x).unwrap(), |[x]| stock(x).unwrap());
    }
}
