//! Plain loops in double precision, written from the definitions of the operations.

use engine::{Activation, Attention, Linear, Op, Plan, Window};

/// A value `[n, h, w, c]`. Pooled values have one pixel.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) shape: [usize; 4],
    pub(super) data: Vec<f64>,
}

impl Value {
    fn new(shape: [usize; 4], value: impl Fn([usize; 4]) -> f64) -> Value {
        let [n, h, w, c] = shape;
        let mut data = Vec::with_capacity(n * h * w * c);
        for image in 0..n {
            for row in 0..h {
                for column in 0..w {
                    data.extend((0..c).map(|channel| value([image, row, column, channel])));
                }
            }
        }
        Value { shape, data }
    }

    fn at(&self, [image, row, column, channel]: [usize; 4]) -> f64 {
        let [_, h, w, c] = self.shape;
        self.data[((image * h + row) * w + column) * c + channel]
    }

    /// The value at a signed place; `None` for padding.
    fn inside(&self, image: usize, row: isize, column: isize, channel: usize) -> Option<f64> {
        let [_, h, w, _] = self.shape;
        let within = |place: isize, size: usize| (0..size as isize).contains(&place);
        (within(row, h) && within(column, w))
            .then(|| self.at([image, row as usize, column as usize, channel]))
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Value {
        Value {
            shape: self.shape,
            data: self.data.iter().map(|&x| f(x)).collect(),
        }
    }
}

/// The numbers that a network computes with.
pub(super) struct Numbers<'a> {
    pub(super) parameters: &'a [f64],
    pub(super) statistics: &'a [f64],
    /// The factors of a random layer, by index and number of values; `None` in inference.
    pub(super) masks: Option<&'a dyn Fn(usize, usize, f64) -> Vec<f32>>,
}

/// The logits of images.
pub(super) fn logits(plan: &Plan, numbers: &Numbers<'_>, images: &Value) -> Value {
    let mut values: Vec<Value> = Vec::new();
    for index in 0..plan.layers.len() {
        let inputs: Vec<&Value> = (plan.layers[index].inputs.iter())
            .map(|&input| &values[input])
            .collect();
        let value = if index == 0 {
            images.clone()
        } else {
            layer(plan, numbers, index, &inputs)
        };
        values.push(value);
    }
    values.pop().unwrap()
}

fn layer(plan: &Plan, numbers: &Numbers<'_>, index: usize, inputs: &[&Value]) -> Value {
    let parameter = |index: usize| {
        let segment = &plan.parameters.segments()[index];
        &numbers.parameters[segment.range.clone()]
    };
    let statistic = |index: usize| {
        let segment = &plan.statistics.segments()[index];
        &numbers.statistics[segment.range.clone()]
    };
    let linear = |layer: &Linear, x: &Value| {
        let weight = parameter(layer.weight);
        let [n, h, w, inputs] = x.shape;
        Value::new([n, h, w, layer.out_features], |[i, r, c, out]| {
            let bias = layer.bias.map_or(0.0, |bias| parameter(bias)[out]);
            let products = (0..inputs).map(|k| x.at([i, r, c, k]) * weight[out * inputs + k]);
            products.sum::<f64>() + bias
        })
    };
    let x = inputs[0];
    let [n, h, w, channels] = x.shape;
    match &plan.layers[index].op {
        Op::Image => x.clone(),
        Op::Conv(conv) => {
            let (weight, window) = (parameter(conv.weight), conv.window);
            let (from, to) = (channels / conv.groups, conv.out_channels / conv.groups);
            let area = window.kernel.pow(2);
            let shape = [n, window.outputs(h), window.outputs(w), conv.out_channels];
            Value::new(shape, |[image, row, column, out]| {
                let mut sum = conv.bias.map_or(0.0, |bias| parameter(bias)[out]);
                for input in 0..from {
                    let channel = out / to * from + input;
                    let taps = window_of(x, window, image, row, column, channel);
                    for (tap, value) in taps.into_iter().enumerate() {
                        let weight = weight[(out * from + input) * area + tap];
                        sum += value.unwrap_or(0.0) * weight;
                    }
                }
                sum
            })
        }
        Op::BatchNorm(norm) => {
            let (weight, bias) = (parameter(norm.weight), parameter(norm.weight + 1));
            let moments = |channel: usize| {
                if numbers.masks.is_none() {
                    let variance = statistic(norm.statistics + 1)[channel];
                    return (statistic(norm.statistics)[channel], variance);
                }
                moments(x.data.iter().skip(channel).step_by(channels).copied())
            };
            let moments: Vec<_> = (0..channels).map(moments).collect();
            Value::new(x.shape, |place| {
                let (mean, variance) = moments[place[3]];
                let normal = (x.at(place) - mean) / (variance + norm.epsilon).sqrt();
                normal * weight[place[3]] + bias[place[3]]
            })
        }
        Op::LayerNorm(norm) => {
            let (weight, bias) = (parameter(norm.weight), parameter(norm.weight + 1));
            Value::new(x.shape, |place| {
                let [i, r, c, channel] = place;
                let (mean, variance) = moments((0..channels).map(|k| x.at([i, r, c, k])));
                let normal = (x.at(place) - mean) / (variance + norm.epsilon).sqrt();
                normal * weight[channel] + bias[channel]
            })
        }
        Op::Activate(activation) => x.map(|x| activate(*activation, x)),
        Op::MaxPool(window) => pool(x, *window, |inside| {
            inside.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        }),
        Op::AveragePool(window) => pool(x, *window, |inside| {
            inside.iter().sum::<f64>() / inside.len() as f64
        }),
        Op::GlobalAverage => Value::new([n, 1, 1, channels], |[image, _, _, channel]| {
            let pixels = (0..h * w).map(|p| x.at([image, p / w, p % w, channel]));
            pixels.sum::<f64>() / (h * w) as f64
        }),
        Op::Gate => Value::new(x.shape, |place| {
            x.at(place) * inputs[1].at([place[0], 0, 0, place[3]])
        }),
        Op::Add => Value::new(x.shape, |place| x.at(place) + inputs[1].at(place)),
        Op::Concat => {
            let all = inputs.iter().map(|input| input.shape[3]).sum();
            Value::new([n, h, w, all], |[i, r, c, mut channel]| {
                for input in inputs {
                    if channel < input.shape[3] {
                        return input.at([i, r, c, channel]);
                    }
                    channel -= input.shape[3];
                }
                unreachable!()
            })
        }
        Op::Slice { start, length } => Value::new([n, h, w, *length], |[i, r, c, channel]| {
            x.at([i, r, c, start + channel])
        }),
        Op::Shuffle { groups } => Value::new(x.shape, |[i, r, c, channel]| {
            let (place, group) = (channel / groups, channel % groups);
            x.at([i, r, c, group * (channels / groups) + place])
        }),
        Op::Merge => {
            let shape = [n, h.div_ceil(2), w.div_ceil(2), 4 * channels];
            Value::new(shape, |[image, row, column, channel]| {
                let (part, channel) = (channel / channels, channel % channels);
                let (row, column) = (2 * row + part % 2, 2 * column + part / 2);
                let value = x.inside(image, row as isize, column as isize, channel);
                value.unwrap_or(0.0)
            })
        }
        Op::Scale { weight } => {
            Value::new(x.shape, |place| x.at(place) * parameter(*weight)[place[3]])
        }
        Op::Linear(layer) => linear(layer, x),
        Op::Attention(layer) => attention(layer, x, parameter(layer.table), linear),
        Op::Dropout { rate } => match numbers.masks {
            None => x.clone(),
            Some(masks) => {
                let mask = masks(index, x.data.len(), *rate);
                let data = x.data.iter().zip(&mask);
                Value {
                    shape: x.shape,
                    data: data.map(|(x, &mask)| x * f64::from(mask)).collect(),
                }
            }
        },
        Op::DropPath { rate } => match numbers.masks {
            None => x.clone(),
            Some(masks) => {
                let mask = masks(index, n, *rate);
                Value::new(x.shape, |place| x.at(place) * f64::from(mask[place[0]]))
            }
        },
    }
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (
        mean,
        values.map(|x| (x - mean).powi(2)).sum::<f64>() / count,
    )
}

/// The values of a window of one channel, row by row.
fn window_of(
    x: &Value,
    window: Window,
    image: usize,
    row: usize,
    column: usize,
    channel: usize,
) -> Vec<Option<f64>> {
    let start =
        |out: usize, size: usize| (out * window.stride) as isize - window.before(size) as isize;
    let (top, left) = (start(row, x.shape[1]), start(column, x.shape[2]));
    let side = window.kernel as isize;
    (0..side * side)
        .map(|tap| x.inside(image, top + tap / side, left + tap % side, channel))
        .collect()
}

fn pool(x: &Value, window: Window, f: impl Fn(&[f64]) -> f64) -> Value {
    let [n, h, w, channels] = x.shape;
    let shape = [n, window.outputs(h), window.outputs(w), channels];
    Value::new(shape, |[image, row, column, channel]| {
        let taps = window_of(x, window, image, row, column, channel);
        f(&taps.into_iter().flatten().collect::<Vec<_>>())
    })
}

fn activate(activation: Activation, x: f64) -> f64 {
    let hardsigmoid = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * hardsigmoid(x),
        Activation::Hardsigmoid => hardsigmoid(x),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Gelu => x * normal_distribution(x),
    }
}

/// The integral of the normal density, by its power series.
fn normal_distribution(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..200 {
        term *= -x * x / (2 * k) as f64;
        sum += term / (2 * k + 1) as f64;
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

/// Attention as torchvision's `shifted_window_attention` writes it: pad, roll, compare the windows' parts.
fn attention(
    layer: &Attention,
    x: &Value,
    table: &[f64],
    linear: impl Fn(&Linear, &Value) -> Value,
) -> Value {
    let [n, h, w, channels] = x.shape;
    let (side, heads) = (layer.window, layer.heads);
    let width = channels / heads;
    let padded = [h, w].map(|size| size.div_ceil(side) * side);
    let shift = padded.map(|size| if side >= size { 0 } else { layer.shift });
    let shape = [n, padded[0], padded[1], channels];
    let zeros = Value::new(shape, |[i, r, c, k]| {
        x.inside(i, r as isize, c as isize, k).unwrap_or(0.0)
    });
    let rolled = Value::new(shape, |[i, r, c, k]| {
        zeros.at([i, (r + shift[0]) % padded[0], (c + shift[1]) % padded[1], k])
    });
    let qkv = linear(&layer.qkv, &rolled);
    // The number that torchvision writes on each place of the shifted map, for both axes.
    let part = |axis: usize, place: usize| match shift[axis] {
        0 => 0,
        _ if place < padded[axis] - side => 0,
        shift if place < padded[axis] - shift => 1,
        _ => 2,
    };
    let mixed = Value::new(shape, |[image, row, column, channel]| {
        let (top, left) = (row / side * side, column / side * side);
        let head = channel / width;
        let mut weights = Vec::new();
        for place in 0..side * side {
            let (r, c) = (top + place / side, left + place % side);
            let products = (0..width).map(|k| {
                let query = qkv.at([image, row, column, head * width + k]);
                query * qkv.at([image, r, c, channels + head * width + k])
            });
            let mut score = products.sum::<f64>() / (width as f64).sqrt();
            let rows = row + side - 1 - r;
            let columns = column + side - 1 - c;
            score += table[(rows * (2 * side - 1) + columns) * heads + head];
            if (part(0, row), part(1, column)) != (part(0, r), part(1, c)) {
                score -= 100.0;
            }
            weights.push(score.exp());
        }
        let sum: f64 = weights.iter().sum();
        let values = weights.iter().enumerate().map(|(place, weight)| {
            let (r, c) = (top + place / side, left + place % side);
            weight / sum * qkv.at([image, r, c, 2 * channels + channel])
        });
        values.sum()
    });
    let projected = linear(&layer.project, &mixed);
    Value::new(x.shape, |[i, r, c, k]| {
        let row = (r + padded[0] - shift[0]) % padded[0];
        let column = (c + padded[1] - shift[1]) % padded[1];
        projected.at([i, row, column, k])
    })
}
