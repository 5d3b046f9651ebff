//! What each operation computes.

use candle_core::{D, Tensor};
use engine::{Activation, BatchNorm, Conv, Linear, Op, Pad, Window};

use super::pass::{Pass, missing};
use crate::run::dropout::layer_mask;
use crate::run::executor::TrainingStep;
use crate::run::operators::{
    Normalised, OUTSIDE, activate, add_row, affine, average, batch_norm, depthwise, gather,
    layer_norm, max_pool, scale, scale_images, scale_row, windows,
};
use crate::{Error, Result};

impl Pass<'_> {
    /// The value of a layer, from its inputs. `fused` is an activation that a batch normalisation also applies.
    pub(super) fn layer(
        &mut self,
        index: usize,
        inputs: &[Tensor],
        fused: Option<Activation>,
        step: Option<TrainingStep>,
    ) -> Result<Tensor> {
        let layer = &self.plan.layers[index];
        let Some(x) = inputs.first() else {
            missing!("{} has no input", layer.name)
        };
        Ok(match &layer.op {
            Op::Image => x.clone(),
            Op::Conv(conv) => self.convolution(conv, x)?,
            Op::BatchNorm(norm) => {
                let activation = fused.unwrap_or(Activation::Identity);
                self.batch_norm(norm, activation, &layer.name, x)?
            }
            Op::LayerNorm(norm) => {
                let (weight, bias) = (&self.weights[norm.weight], &self.weights[norm.weight + 1]);
                layer_norm(x, weight, bias, norm.epsilon)?
            }
            Op::Activate(activation) => activate(*activation, x)?,
            Op::MaxPool(window) => max_pool(x, *window)?,
            Op::AveragePool(window) => average_pool(x, *window)?,
            Op::GlobalAverage => average(x)?,
            Op::Gate => scale(x, &inputs[1])?,
            Op::Add => (x + &inputs[1])?,
            Op::Concat => Tensor::cat(inputs, D::Minus1)?,
            Op::Slice { start, length } => x.narrow(D::Minus1, *start, *length)?.contiguous()?,
            Op::Shuffle { groups } => shuffle(x, *groups)?,
            Op::Merge => merge(x)?,
            Op::Scale { weight } => scale_row(x, &self.weights[*weight].flatten_all()?)?,
            Op::Linear(linear) => self.linear(linear, x)?,
            Op::Attention(attention) => self.attention(attention, x)?,
            Op::Dropout { rate } => match step.filter(|step| self.changes(index, *step)) {
                None => x.clone(),
                Some(step) => {
                    let mask = layer_mask(self.plan, index, x.elem_count(), *rate, step);
                    (x * Tensor::from_vec(mask, x.shape(), x.device())?)?
                }
            },
            Op::DropPath { rate } => match step.filter(|step| self.changes(index, *step)) {
                None => x.clone(),
                Some(step) => {
                    let factors = layer_mask(self.plan, index, x.dim(0)?, *rate, step);
                    scale_images(x, factors)?
                }
            },
        })
    }

    /// Whether a random layer changes its input in this step. A frozen backbone runs as in inference.
    fn changes(&self, index: usize, step: TrainingStep) -> bool {
        index > self.plan.features || !step.freeze_backbone
    }

    /// Converts `x` `[.., in]` to `[.., out]`. The weight may have the two extra dimensions of a 1×1
    /// convolution.
    pub(super) fn linear(&self, layer: &Linear, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(layer.out_features);
        let x = x.reshape(((), layer.in_features))?;
        let weight = &self.weights[layer.weight];
        let weight = weight.reshape((layer.out_features, layer.in_features))?;
        let product = self.product(&x, &weight.t()?)?;
        self.biased(product.reshape(shape)?, layer.bias)
    }

    /// Adds a bias to the channels of `x`.
    fn biased(&self, x: Tensor, bias: Option<usize>) -> candle_core::Result<Tensor> {
        match bias {
            None => Ok(x),
            Some(bias) if x.rank() > 2 => add_row(&x, &self.weights[bias]),
            Some(bias) => x.broadcast_add(&self.weights[bias]),
        }
    }

    /// The product of matrices.
    pub(super) fn product(&self, x: &Tensor, matrix: &Tensor) -> candle_core::Result<Tensor> {
        // If the types are equal, nothing is copied.
        let product = x
            .to_dtype(self.factors)?
            .matmul(&matrix.to_dtype(self.factors)?)?;
        product.to_dtype(x.dtype())
    }

    fn batch_norm(
        &mut self,
        layer: &BatchNorm,
        activation: Activation,
        name: &str,
        z: &Tensor,
    ) -> Result<Tensor> {
        let shape = z.shape().clone();
        let rows = z.reshape(((), layer.channels))?;
        let weight = &self.weights[layer.weight];
        let bias = &self.weights[layer.weight + 1];
        let epsilon = layer.epsilon;
        if !self.training {
            let mean = &self.statistics[layer.statistics];
            let variance = &self.statistics[layer.statistics + 1];
            let scale = (weight.detach() / (variance + epsilon)?.sqrt()?)?;
            let shift = (bias.detach() - (mean * &scale)?)?;
            return Ok(affine(&rows, &scale, &shift, activation)?.reshape(shape)?);
        }
        let count = rows.dim(0)?;
        if count < 2 {
            return Err(Error::OneValuePerChannel { layer: name.into() });
        }
        let Normalised {
            output,
            mean,
            variance,
        } = batch_norm(&rows, weight, bias, epsilon, activation)?;
        self.found.push(mean);
        // torch normalises with the biased variance and stores the unbiased variance.
        self.found
            .push((variance * (count as f64 / (count - 1) as f64))?);
        Ok(output.reshape(shape)?)
    }

    fn convolution(&self, conv: &Conv, x: &Tensor) -> candle_core::Result<Tensor> {
        let Conv {
            in_channels,
            out_channels,
            window,
            groups,
            weight,
            bias,
        } = *conv;
        let (batch, height, width, _) = x.dims4()?;
        let shape = (
            batch,
            window.outputs(height),
            window.outputs(width),
            out_channels,
        );
        let area = window.kernel.pow(2);
        let weight = &self.weights[weight];
        let product = if conv.is_depthwise() && area > 1 {
            let taps = weight.reshape((out_channels, area))?.t()?;
            depthwise(x, &taps, window)?
        } else if conv.is_pointwise() {
            let matrix = weight.reshape((out_channels, in_channels))?.t()?;
            self.product(&x.reshape(((), in_channels))?, &matrix)?
        } else if groups == 1 {
            let matrix = weight.permute((2, 3, 1, 0))?.reshape(((), out_channels))?;
            let patches = gather(x, windows(window, height, width))?;
            self.product(&patches.reshape(((), area * in_channels))?, &matrix)?
        } else {
            // One product for each group: [groups, pixels, taps * inputs] by [groups, taps * inputs, outputs].
            let (inputs, outputs) = (in_channels / groups, out_channels / groups);
            let matrices = (weight.reshape((groups, outputs, inputs, area))?)
                .permute((0, 3, 2, 1))?
                .reshape((groups, area * inputs, outputs))?;
            let patches = gather(x, windows(window, height, width))?;
            let patches = (patches.reshape(((), area, groups, inputs))?)
                .permute((2, 0, 1, 3))?
                .reshape((groups, (), area * inputs))?;
            let product = self.product(&patches, &matrices)?;
            product.transpose(0, 1)?.contiguous()?
        };
        self.biased(product.reshape(shape)?, bias)
    }
}

/// The mean of the pixels of each window, without padding.
fn average_pool(x: &Tensor, window: Window) -> candle_core::Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let taps = windows(window, height, width);
    let area = window.kernel.pow(2);
    let shares: Vec<f32> = (taps.chunks_exact(area))
        .map(|taps| 1.0 / taps.iter().filter(|&&tap| tap != OUTSIDE).count() as f32)
        .collect();
    let shares = Tensor::from_vec(shares, (1, taps.len() / area, 1), x.device())?;
    let sums = (gather(x, taps)?.reshape((batch, (), area, channels))?).sum(2)?;
    let shape = (
        batch,
        window.outputs(height),
        window.outputs(width),
        channels,
    );
    sums.broadcast_mul(&shares)?.reshape(shape)
}

/// Channel `i * (c / groups) + j` becomes channel `j * groups + i`.
fn shuffle(x: &Tensor, groups: usize) -> candle_core::Result<Tensor> {
    let channels = x.dim(D::Minus1)?;
    let parts = x.reshape(((), groups, channels / groups))?;
    parts.transpose(1, 2)?.contiguous()?.reshape(x.shape())
}

/// Each 2×2 square becomes one pixel, column by column.
fn merge(x: &Tensor) -> candle_core::Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let window = Window {
        kernel: 2,
        stride: 2,
        pad: Pad::Same,
        ceil: false,
    };
    let mut taps = windows(window, height, width);
    taps.chunks_exact_mut(4)
        .for_each(|square| square.swap(1, 2));
    let shape = (batch, height.div_ceil(2), width.div_ceil(2), 4 * channels);
    gather(x, taps)?.reshape(shape)
}
