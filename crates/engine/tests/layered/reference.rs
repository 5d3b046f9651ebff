//! Any plan in double precision: every layer is a plain loop, channels last. Slow, but easy to verify.

use engine::{Activation, BatchNorm, Conv, Op, Plan, Window};

use crate::common::{Map, Output};

impl Map {
    fn map(mut self, f: impl Fn(f64) -> f64) -> Map {
        self.values.iter_mut().for_each(|x| *x = f(*x));
        self
    }

    /// The image and the channel of each value.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (length, channels) = (self.values.len() / self.images, self.channels);
        (0..self.values.len()).map(move |index| (index / length, index % channels))
    }
}

/// One forward pass. In training, batch normalisation uses the batch's statistics, and `masks` has one list of factors
/// for each dropout.
pub(crate) struct Network<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) parameters: &'a [f64],
    pub(crate) statistics: Vec<f64>,
    pub(crate) training: bool,
    pub(crate) masks: &'a [Vec<f32>],
}

impl Network<'_> {
    pub(crate) fn run(mut self, images: Map) -> Output {
        let plan = self.plan;
        let mut values: Vec<Map> = vec![images];
        let mut masks = self.masks.iter();
        for layer in &plan.layers[1..] {
            let inputs: Vec<&Map> = layer.inputs.iter().map(|&input| &values[input]).collect();
            let x = inputs[0];
            let value = match &layer.op {
                Op::Conv(conv) => self.convolve(conv, x),
                Op::Linear(linear) => {
                    let conv = Conv {
                        in_channels: linear.in_features,
                        out_channels: linear.out_features,
                        window: Window::new(1),
                        groups: 1,
                        weight: linear.weight,
                        bias: linear.bias,
                    };
                    self.convolve(&conv, x)
                }
                Op::BatchNorm(norm) => self.normalise(norm, x.clone()),
                Op::Activate(activation) => x.clone().map(|x| activate(*activation, x)),
                Op::MaxPool(window) => pool(window, x, true),
                Op::AveragePool(window) => pool(window, x, false),
                Op::GlobalAverage => average(x),
                Op::Add => {
                    let mut sum = x.clone();
                    assert_eq!(sum.values.len(), inputs[1].values.len());
                    sum.values
                        .iter_mut()
                        .zip(&inputs[1].values)
                        .for_each(|(x, y)| *x += y);
                    sum
                }
                Op::Gate => {
                    let mut product = x.clone();
                    let factors = inputs[1];
                    for ((image, channel), value) in x.places().zip(&mut product.values) {
                        *value *= factors.values[factors.at(image, 0, 0, channel)];
                    }
                    product
                }
                Op::Concat => select(
                    x,
                    &inputs
                        .iter()
                        .flat_map(|&map| (0..map.channels).map(move |channel| (map, channel)))
                        .collect::<Vec<_>>(),
                ),
                Op::Slice { start, length } => select(
                    x,
                    &(*start..start + length)
                        .map(|channel| (x, channel))
                        .collect::<Vec<_>>(),
                ),
                Op::Shuffle { groups } => {
                    let each = x.channels / groups;
                    let mut order = vec![(x, 0); x.channels];
                    for group in 0..*groups {
                        for channel in 0..each {
                            order[channel * groups + group].1 = group * each + channel;
                        }
                    }
                    select(x, &order)
                }
                Op::Dropout { .. } | Op::DropPath { .. } => {
                    let mut masked = x.clone();
                    if let Some(mask) = masks.next().filter(|_| self.training) {
                        let whole = mask.len() == x.images;
                        for ((image, channel), value) in x.places().zip(&mut masked.values) {
                            let at = if whole {
                                image
                            } else {
                                image * x.channels + channel
                            };
                            *value *= f64::from(mask[at]);
                        }
                    }
                    masked
                }
                other => unreachable!("{other:?}"),
            };
            values.push(value);
        }
        Output {
            features: values[plan.features].values.clone(),
            logits: values.pop().map(|map| map.values).unwrap_or_default(),
            statistics: self.statistics,
        }
    }

    fn parameter(&self, index: usize) -> &[f64] {
        &self.parameters[self.plan.parameters.segments()[index].range.clone()]
    }

    fn normalise(&mut self, norm: &BatchNorm, mut x: Map) -> Map {
        let (gamma, beta) = (
            self.parameter(norm.weight).to_vec(),
            self.parameter(norm.weight + 1).to_vec(),
        );
        let segments = self.plan.statistics.segments();
        let means = segments[norm.statistics].range.start;
        let variances = segments[norm.statistics + 1].range.start;
        let count = (x.values.len() / x.channels) as f64;
        for channel in 0..x.channels {
            let values = || x.values.iter().skip(channel).step_by(x.channels);
            let (mean, variance) = if self.training {
                let mean = values().sum::<f64>() / count;
                let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                let momentum = self.plan.batch_norm.momentum;
                let mut moved = |at: usize, new: f64| {
                    let running = &mut self.statistics[at];
                    *running += momentum * (new - *running);
                };
                moved(means + channel, mean);
                moved(variances + channel, variance * count / (count - 1.0));
                (mean, variance)
            } else {
                (
                    self.statistics[means + channel],
                    self.statistics[variances + channel],
                )
            };
            let std = (variance + norm.epsilon).sqrt();
            for x in x.values.iter_mut().skip(channel).step_by(gamma.len()) {
                *x = (*x - mean) / std * gamma[channel] + beta[channel];
            }
        }
        x
    }

    fn convolve(&self, conv: &Conv, input: &Map) -> Map {
        let weights = self.parameter(conv.weight);
        let kernel = conv.window.kernel;
        let each = conv.in_channels / conv.groups;
        let mut output = Map::zeros(input.images, sides(&conv.window, input), conv.out_channels);
        for image in 0..input.images {
            for y in 0..output.height {
                for x in 0..output.width {
                    for out in 0..conv.out_channels {
                        let group = out / (conv.out_channels / conv.groups);
                        let mut sum = conv.bias.map_or(0.0, |bias| self.parameter(bias)[out]);
                        under(
                            &conv.window,
                            input,
                            (y, x),
                            |tap_y, tap_x, from_y, from_x| {
                                for i in 0..each {
                                    let weight =
                                        ((out * each + i) * kernel + tap_y) * kernel + tap_x;
                                    let value = input.at(image, from_y, from_x, group * each + i);
                                    sum += weights[weight] * input.values[value];
                                }
                            },
                        );
                        let at = output.at(image, y, x, out);
                        output.values[at] = sum;
                    }
                }
            }
        }
        output
    }
}

fn sides(window: &Window, input: &Map) -> (usize, usize) {
    (window.outputs(input.height), window.outputs(input.width))
}

/// Calls `f` for each position of the window at output `(y, x)` that is inside the input: its row and column in the
/// window, and in the input.
fn under(
    window: &Window,
    input: &Map,
    (y, x): (usize, usize),
    mut f: impl FnMut(usize, usize, usize, usize),
) {
    let (above, left) = (window.before(input.height), window.before(input.width));
    for tap_y in 0..window.kernel {
        for tap_x in 0..window.kernel {
            let from = |place: usize, zeros: usize| place.checked_sub(zeros);
            let from_y = from(y * window.stride + tap_y, above).filter(|y| *y < input.height);
            let from_x = from(x * window.stride + tap_x, left).filter(|x| *x < input.width);
            if let (Some(from_y), Some(from_x)) = (from_y, from_x) {
                f(tap_y, tap_x, from_y, from_x);
            }
        }
    }
}

fn pool(window: &Window, input: &Map, largest: bool) -> Map {
    let mut output = Map::zeros(input.images, sides(window, input), input.channels);
    let share = 1.0 / (window.kernel * window.kernel) as f64;
    for image in 0..input.images {
        for y in 0..output.height {
            for x in 0..output.width {
                for channel in 0..input.channels {
                    let (mut sum, mut most) = (0.0, f64::NEG_INFINITY);
                    under(window, input, (y, x), |_, _, from_y, from_x| {
                        let value = input.values[input.at(image, from_y, from_x, channel)];
                        sum += value * share;
                        most = most.max(value);
                    });
                    let at = output.at(image, y, x, channel);
                    output.values[at] = if largest { most } else { sum };
                }
            }
        }
    }
    output
}

fn average(x: &Map) -> Map {
    let mut result = Map::zeros(x.images, (1, 1), x.channels);
    let pixels = (x.height * x.width) as f64;
    for ((image, channel), value) in x.places().zip(&x.values) {
        result.values[image * x.channels + channel] += value / pixels;
    }
    result
}

/// A map of these channels of other maps.
fn select(like: &Map, channels: &[(&Map, usize)]) -> Map {
    let mut result = Map::zeros(like.images, (like.height, like.width), channels.len());
    for (pixel, row) in result.values.chunks_exact_mut(channels.len()).enumerate() {
        for (value, (map, channel)) in row.iter_mut().zip(channels) {
            *value = map.values[pixel * map.channels + channel];
        }
    }
    result
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Hardsigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        other => unreachable!("{other:?}"),
    }
}
