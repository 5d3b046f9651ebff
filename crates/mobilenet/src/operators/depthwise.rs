use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use engine::depthwise::{Geometry, backward_input, backward_weights, forward};
use engine::{Isa, Padding};

use super::{patches, slice, with_slices};

/// Depthwise convolution of `x` `[n, h, w, c]` with `weights` `[k * k, c]`. The result is
/// `[n, out_h, out_w, c]`.
pub(crate) fn depthwise(
    x: &Tensor,
    weights: &Tensor,
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return stock(x, weights, kernel, stride, padding);
    }
    let (batch, height, width, channels) = x.dims4()?;
    let geometry = Geometry {
        batch,
        height,
        width,
        channels,
        kernel,
        stride,
        padding,
    };
    x.contiguous()?
        .apply_op2(&weights.contiguous()?, Depthwise(geometry))
}

fn stock(
    x: &Tensor,
    weights: &Tensor,
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> Result<Tensor> {
    let taps = patches::taps(x, kernel, stride, padding)?;
    let mut sum = taps[0].broadcast_mul(&weights.get(0)?)?;
    for (tap, values) in taps.iter().enumerate().skip(1) {
        sum = (sum + values.broadcast_mul(&weights.get(tap)?)?)?;
    }
    Ok(sum)
}

struct Depthwise(Geometry);

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = self.0;
        let mut output = vec![0.0; geometry.output_len()];
        let (x, weights) = (slice(x, x_layout)?, slice(weights, weights_layout)?);
        forward(Isa::best(), geometry, x, weights, &mut output);
        let Geometry {
            batch, channels, ..
        } = geometry;
        let shape = (batch, geometry.out_height(), geometry.out_width(), channels);
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let geometry = self.0;
        let mut of_x = vec![0.0; geometry.input_len()];
        let mut of_weights = vec![0.0; geometry.weight_len()];
        with_slices([x, weights, gradient], |[x, weights, gradient]| {
            backward_input(Isa::best(), geometry, gradient, weights, &mut of_x);
            backward_weights(Isa::best(), geometry, x, gradient, &mut of_weights);
            Ok(())
        })?;
        Ok((
            Some(Tensor::from_vec(of_x, x.shape(), x.device())?),
            Some(Tensor::from_vec(of_weights, weights.shape(), x.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        for (kernel, stride, height, width) in [
            (3, 1, 5, 7),
            (3, 2, 8, 5),
            (5, 1, 2, 9),
            (5, 2, 7, 7),
            (5, 2, 8, 6),
            (5, 2, 1, 1),
        ] {
            for padding in [Padding::Symmetric, Padding::Same] {
                assert_same(
                    [
                        numbers(&[2, height, width, 10], 1),
                        numbers(&[kernel * kernel, 10], 2),
                    ],
                    |[x, w]| depthwise(x, w, kernel, stride, padding).unwrap(),
                    |[x, w]| stock(x, w, kernel, stride, padding).unwrap(),
                );
            }
        }
    }
}
