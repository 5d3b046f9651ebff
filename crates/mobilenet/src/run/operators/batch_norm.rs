use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};
use engine::batch_norm::{apply, backward, scale_and_shift, statistics};
use engine::{Activation, Isa};

use super::activation::stock as activate;
use super::{slice, with_slices};

/// The results of [`batch_norm`].
pub(crate) struct Normalised {
    /// The normalised values, in the shape of the input.
    pub output: Tensor,
    /// The batch's mean, `[c]`. It is not part of the graph.
    pub mean: Tensor,
    /// The batch's biased variance, `[c]`. It is not part of the graph.
    pub variance: Tensor,
}

/// Normalises `x` `[rows, c]` with the mean and variance of `x`, then applies `weight`, `bias` and
/// the activation.
pub(crate) fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    activation: Activation,
) -> Result<Normalised> {
    if !x.device().is_cpu() {
        return stock(x, weight, bias, epsilon, activation);
    }
    let channels = x.dim(1)?;
    let x = x.contiguous()?;
    let found = with_slices([&x], |[x]| Ok(statistics(Isa::best(), channels, x)))?;
    let inverse_std = (found.variance.iter())
        .map(|&variance| (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32)
        .collect();
    let op = BatchNorm {
        mean: found.mean.clone(),
        inverse_std,
        activation,
    };
    Ok(Normalised {
        output: x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?,
        mean: Tensor::from_vec(found.mean, channels, &Device::Cpu)?,
        variance: Tensor::from_vec(found.variance, channels, &Device::Cpu)?,
    })
}

fn stock(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    activation: Activation,
) -> Result<Normalised> {
    let mean = x.mean_keepdim(0)?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim(0)?;
    let normal = centred.broadcast_div(&(&variance + epsilon)?.sqrt()?)?;
    let output = normal.broadcast_mul(weight)?.broadcast_add(bias)?;
    Ok(Normalised {
        output: activate(activation, &output)?,
        mean: mean.squeeze(0)?.detach(),
        variance: variance.squeeze(0)?.detach(),
    })
}

/// `activation(x * scale + shift)` for `x` `[rows, c]`. The kernel has no gradient, so candle's operators compute `x` that
/// is part of a graph.
pub(crate) fn affine(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    if !x.device().is_cpu() || x.track_op() {
        return activate(activation, &x.broadcast_mul(scale)?.broadcast_add(shift)?);
    }
    let mut output = vec![0.0; x.elem_count()];
    with_slices([x, scale, shift], |[x, scale, shift]| {
        apply(Isa::best(), activation, x, scale, shift, &mut output);
        Ok(())
    })?;
    Tensor::from_vec(output, x.shape(), &Device::Cpu)
}

struct BatchNorm {
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
    activation: Activation,
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch normalisation"
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
        let values = slice(x, x_layout)?;
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let (scale, shift) = scale_and_shift(&self.mean, &self.inverse_std, weight, bias);
        let mut output = vec![0.0; values.len()];
        apply(
            Isa::best(),
            self.activation,
            values,
            &scale,
            &shift,
            &mut output,
        );
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
        let gradients = with_slices(
            [x, weight, bias, gradient],
            |[x, weight, bias, gradient]| {
                let (isa, activation) = (Isa::best(), self.activation);
                let (mean, std) = (&self.mean, &self.inverse_std);
                Ok(backward(
                    isa, activation, x, mean, std, weight, bias, gradient,
                ))
            },
        )?;
        Ok((
            Some(Tensor::from_vec(gradients.values, x.shape(), x.device())?),
            Some(Tensor::from_vec(
                gradients.weight,
                weight.shape(),
                x.device(),
            )?),
            Some(Tensor::from_vec(gradients.bias, bias.shape(), x.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::operators::test_support::{assert_near, assert_same, numbers};

    #[test]
    fn affine_has_the_same_values_with_and_without_a_gradient() {
        let (x, scale) = (numbers(&[70, 9], 1), numbers(&[9], 2));
        let x = (x * 4.0).unwrap();
        let run = |x: &Tensor| affine(x, &scale, &scale, Activation::Hardswish).unwrap();
        let tracked = run(candle_core::Var::from_tensor(&x).unwrap().as_tensor());
        assert!(tracked.track_op());
        assert_near(&tracked, &run(&x), "value");
    }

    #[test]
    fn kernel_and_stock_operators_agree() {
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Relu6,
            Activation::Hardswish,
            Activation::Silu,
        ] {
            let inputs = [
                (numbers(&[70, 9], 1) * 4.0).unwrap(),
                (numbers(&[9], 2) * 6.0).unwrap(),
                numbers(&[9], 3),
            ];
            let [x, w, b] = &inputs;
            let ours = batch_norm(x, w, b, 1e-3, activation).unwrap();
            let other = stock(x, w, b, 1e-3, activation).unwrap();
            assert_near(&ours.mean, &other.mean, "mean");
            assert_near(&ours.variance, &other.variance, "variance");
            assert_same(
                inputs,
                |[x, w, b]| batch_norm(x, w, b, 1e-3, activation).unwrap().output,
                |[x, w, b]| stock(x, w, b, 1e-3, activation).unwrap().output,
            );
        }
    }
}
