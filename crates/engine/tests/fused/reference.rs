//! A whole network in double precision: every layer is a plain loop, channels last. Slow, but easy
//! to verify.

use engine::{Activation, Block, Chain, ConvNorm, Linear, Padding, Plan, SqueezeExcite};

use crate::common::{Map, Output};

/// Whether batch normalisation uses the running statistics or the statistics of the batch.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Eval,
    Train,
}

/// Rounding of weights and activations.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Numbers {
    Exact,
    /// Rounded to bf16, like the factors of a matrix product. Measures the effect of this rounding
    /// alone.
    Bf16,
}

impl Numbers {
    fn keep(self, values: &mut [f64]) {
        if self == Numbers::Bf16 {
            values.iter_mut().for_each(|x| *x = bf16(*x));
        }
    }
}

/// Rounds to the nearest number with 8 significant bits, ties to even.
fn bf16(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    let up = 0x7FFF + (bits >> 16 & 1);
    f64::from(f32::from_bits((bits + up) & 0xFFFF_0000))
}

/// `images` is `[n][height][width][3]`; `masks` are the factors of the random layers, if any are applied.
pub(crate) fn forward(
    plan: &Plan,
    parameters: &[f32],
    statistics: &[f32],
    images: &Map,
    mode: Mode,
    masks: &[Vec<f32>],
    numbers: Numbers,
) -> Output {
    let mut network = Network {
        plan,
        parameters,
        statistics: statistics.iter().copied().map(f64::from).collect(),
        mode,
        numbers,
        masks,
    };
    let chain = Chain::find(plan).unwrap();
    let mut x = network.conv_norm(&chain.stem, images);
    for block in &chain.blocks {
        x = network.block(block, &x);
    }
    x = network.conv_norm(&chain.last, &x);
    let features = averages(&x).values;
    let mut rows = features.clone();
    if let Some(hidden) = &chain.hidden {
        rows = network.linear(hidden, &rows);
        rows.iter_mut()
            .for_each(|x| *x = activate(Activation::Hardswish, *x));
    }
    if let Some(dropout) = network.mask(chain.dropout) {
        for (x, mask) in rows.iter_mut().zip(dropout) {
            *x *= f64::from(*mask);
        }
    }
    Output {
        logits: network.linear(&chain.classifier, &rows),
        features,
        statistics: network.statistics,
    }
}

struct Network<'a> {
    plan: &'a Plan,
    parameters: &'a [f32],
    statistics: Vec<f64>,
    mode: Mode,
    numbers: Numbers,
    masks: &'a [Vec<f32>],
}

impl<'a> Network<'a> {
    fn mask(&self, index: Option<usize>) -> Option<&'a [f32]> {
        self.masks.get(index?).map(Vec::as_slice)
    }

    fn parameter(&self, index: usize) -> Vec<f64> {
        let range = self.plan.parameters.segments()[index].range.clone();
        self.parameters[range]
            .iter()
            .copied()
            .map(f64::from)
            .collect()
    }

    fn block(&mut self, block: &Block, input: &Map) -> Map {
        let mut x = match &block.expand {
            Some(layer) => self.conv_norm(layer, input),
            None => input.clone(),
        };
        let mut filter = block.depthwise.clone();
        let mut late = Activation::Identity;
        if (block.squeeze.as_ref()).is_some_and(|layer| layer.before_activation) {
            std::mem::swap(&mut filter.activation, &mut late);
        }
        x = self.conv_norm(&filter, &x);
        if let Some(layer) = &block.squeeze {
            self.squeeze(layer, &mut x);
        }
        x.values.iter_mut().for_each(|x| *x = activate(late, *x));
        x = self.conv_norm(&block.project, &x);
        if let Some(factors) = self.mask(block.drop_path) {
            let image = x.height * x.width * x.channels;
            for (values, factor) in x.values.chunks_exact_mut(image).zip(factors) {
                values.iter_mut().for_each(|x| *x *= f64::from(*factor));
            }
        }
        if block.residual {
            for (x, input) in x.values.iter_mut().zip(&input.values) {
                *x += input;
            }
            self.numbers.keep(&mut x.values);
        }
        x
    }

    fn conv_norm(&mut self, layer: &ConvNorm, input: &Map) -> Map {
        let mut weights = self.parameter(layer.weight);
        self.numbers.keep(&mut weights);
        let mut x = convolve(layer, &weights, input);
        self.normalise(layer, &mut x);
        x.values
            .iter_mut()
            .for_each(|x| *x = activate(layer.activation, *x));
        self.numbers.keep(&mut x.values);
        x
    }

    fn normalise(&mut self, layer: &ConvNorm, x: &mut Map) {
        let (gamma, beta) = (self.parameter(layer.norm), self.parameter(layer.norm + 1));
        let constants = self.plan.batch_norm;
        let segments = self.plan.statistics.segments();
        let means = segments[layer.statistics].range.start;
        let variances = segments[layer.statistics + 1].range.start;
        let count = (x.values.len() / x.channels) as f64;
        for channel in 0..x.channels {
            let values = || x.values.iter().skip(channel).step_by(x.channels);
            let (mean, variance) = if self.mode == Mode::Eval {
                (
                    self.statistics[means + channel],
                    self.statistics[variances + channel],
                )
            } else {
                let mean = values().sum::<f64>() / count;
                let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                let mut moved = |at: usize, new: f64| {
                    let running = &mut self.statistics[at];
                    *running += constants.momentum * (new - *running);
                };
                moved(means + channel, mean);
                // The running variance is the unbiased estimate.
                moved(variances + channel, variance * count / (count - 1.0));
                (mean, variance)
            };
            let std = (variance + constants.epsilon).sqrt();
            for x in x.values.iter_mut().skip(channel).step_by(gamma.len()) {
                *x = (*x - mean) / std * gamma[channel] + beta[channel];
            }
        }
    }

    fn squeeze(&self, layer: &SqueezeExcite, x: &mut Map) {
        let mut hidden = self.linear(&layer.reduce, &averages(x).values);
        (hidden.iter_mut()).for_each(|x| *x = activate(layer.activation, *x));
        let factors = self.linear(&layer.expand, &hidden);
        let pixels = x.height * x.width;
        for (index, value) in x.values.iter_mut().enumerate() {
            let image = index / (pixels * x.channels);
            let factor = factors[image * x.channels + index % x.channels];
            *value *= activate(layer.gate, factor);
        }
    }

    /// A fully connected layer, from `[n][in]` to `[n][out]`.
    fn linear(&self, layer: &Linear, rows: &[f64]) -> Vec<f64> {
        let (weight, bias) = (
            self.parameter(layer.weight),
            self.parameter(layer.weight + 1),
        );
        let mut result = Vec::new();
        for row in rows.chunks_exact(layer.in_features) {
            for (weights, bias) in weight.chunks_exact(layer.in_features).zip(&bias) {
                let products = row.iter().zip(weights).map(|(x, w)| x * w);
                result.push(bias + products.sum::<f64>());
            }
        }
        result
    }
}

/// A convolution. The weights are OIHW.
fn convolve(layer: &ConvNorm, weights: &[f64], input: &Map) -> Map {
    let (kernel, stride) = (layer.kernel, layer.stride);
    let (height, width) = (input.height.div_ceil(stride), input.width.div_ceil(stride));
    let mut output = Map::zeros(input.images, (height, width), layer.out_channels);
    let inputs = if layer.depthwise {
        1
    } else {
        layer.in_channels
    };
    let before = |size: usize, outputs: usize| match layer.padding {
        Padding::Symmetric => kernel / 2,
        Padding::Same => ((outputs - 1) * stride + kernel).saturating_sub(size) / 2,
    };
    // The input index for a kernel position, or `None` if it is outside the input.
    let under = |place: usize, tap: usize, size: usize| {
        (place * stride + tap)
            .checked_sub(before(size, size.div_ceil(stride)))
            .filter(|at| *at < size)
    };
    for image in 0..input.images {
        for y in 0..height {
            for x in 0..width {
                for out in 0..layer.out_channels {
                    let mut sum = 0.0;
                    for i in 0..inputs {
                        let channel = if layer.depthwise { out } else { i };
                        for tap_y in 0..kernel {
                            for tap_x in 0..kernel {
                                let from_y = under(y, tap_y, input.height);
                                let from_x = under(x, tap_x, input.width);
                                if let (Some(from_y), Some(from_x)) = (from_y, from_x) {
                                    let weight = ((out * inputs + i) * kernel + tap_y) * kernel;
                                    let value = input.at(image, from_y, from_x, channel);
                                    sum += weights[weight + tap_x] * input.values[value];
                                }
                            }
                        }
                    }
                    let at = output.at(image, y, x, out);
                    output.values[at] = sum;
                }
            }
        }
    }
    output
}

/// Averages over each image and channel, `[n][1][1][channels]`.
fn averages(x: &Map) -> Map {
    let mut result = Map::zeros(x.images, (1, 1), x.channels);
    let pixels = x.height * x.width;
    for (index, value) in x.values.iter().enumerate() {
        let image = index / (pixels * x.channels);
        result.values[image * x.channels + index % x.channels] += value / pixels as f64;
    }
    result
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Hardsigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Gelu => unreachable!("no chain has GELU"),
    }
}
