use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use engine::depthwise::{Geometry, backward_input, backward_weights, forward};
use engine::{Isa, Window};

use super::{gather, slice, windows, with_slices};

/// Depthwise convolution of `x` `[n, h, w, c]` with `weights` `[k * k, c]`. The result is
/// `[n, out_h, out_w, c]`.
pub(crate) fn depthwise(x: &Tensor, weights: &Tensor, window: Window) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let Some(padding) = window
        .padding()
        .filter(|_| window.kernel % 2 == 1 && x.device().is_cpu())
    else {
        return stock(x, weights, window);
    };
    let geometry = Geometry {
        batch,
        height,
        width,
        channels,
        kernel: window.kernel,
        stride: window.stride,
        padding,
    };
    x.contiguous()?
        .apply_op2(&weights.contiguous()?, Depthwise(geometry))
}

fn stock(x: &Tensor, weights: &Tensor, window: Window) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let taps = gather(x, windows(window, height, width))?;
    let taps = taps.reshape((batch, (), window.kernel.pow(2), channels))?;
    let sums = taps.broadcast_mul(weights)?.sum(2)?;
    sums.reshape((
        batch,
        window.outputs(height),
        window.outputs(width),
        channels,
    ))
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
    use engine::Pad;

    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        for (kernel, stride, height, width) in [
            (3, 1, 5, 7),
            (3, 2, 8, 5),
            (5, 1, 2, 9),
            (5, 2, 7, 7),
            (5, 2, 8, 6),
            (5, 2, 1, 1),
            (7, 1, 6, 9),
            (7, 2, 9, 4),
        ] {
            for pad in [Pad::Zeros(kernel / 2), Pad::Same] {
                let window = Window {
                    kernel,
                    stride,
                    pad,
                    ceil: false,
                };
                assert_same(
                    [
                        numbers(&[2, height, width, 10], 1),
                        numbers(&[kernel * kernel, 10], 2),
                    ],
                    |[x, w]| depthwise(x, w, window).unwrap(),
                    |[x, w]| stock(x, w, window).unwrap(),
                );
            }
        }
    }
}
