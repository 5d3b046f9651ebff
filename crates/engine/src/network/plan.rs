//! A network: layers, parameters and statistics.

use std::ops::Range;

use super::builder::{Builder, Parts};
use super::layer::{Layer, Linear, Op};
use super::spec::SpecError;
use super::table::Table;
use crate::spec::BatchNormSpec;

/// A network. [`Builder`] makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The network's name.
    pub name: String,
    /// The layers, in an order of execution. The first is the images, the last the logits.
    pub layers: Vec<Layer>,
    /// Number of channels of each layer's value.
    pub channels: Vec<usize>,
    /// Names, shapes and ranges of the trained parameters.
    pub parameters: Table,
    /// Names, shapes and ranges of the running means and variances.
    pub statistics: Table,
    /// Names of the blocks; the index is [`Layer::depth`]. The last one is the head.
    pub blocks: Vec<String>,
    /// Index of the layer with the pooled features `[n, c]`. The layers after it are the head.
    pub features: usize,
    /// The backbone's range of parameters.
    pub backbone: Range<usize>,
    /// The head's range of parameters.
    pub head: Range<usize>,
    /// The momentum of batch normalisations; each layer has its own epsilon.
    pub batch_norm: BatchNormSpec,
}

/// The shape of one image's value. Values after [`Op::GlobalAverage`] have one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    /// Number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// A layer that multiplies by random factors in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomLayer {
    /// Index of the layer.
    pub layer: usize,
    /// Fraction of factors that are 0. The others are `1 / (1 - rate)`.
    pub rate: f64,
    /// Number of factors for each image: one, or one for each channel.
    pub width: usize,
}

impl Plan {
    pub(super) fn assemble(builder: Builder, logits: usize) -> Result<Plan, SpecError> {
        let Parts {
            name,
            batch_norm,
            layers,
            channels,
            parameters,
            statistics,
            blocks,
            features,
        } = builder.into_parts();
        let last = layers.len() - 1;
        let (features, backbone) = features
            .filter(|_| logits == last && matches!(layers[last].op, Op::Linear(_)))
            .ok_or(SpecError::NoHead)?;
        let plan = Plan {
            name,
            backbone: 0..backbone,
            head: backbone..parameters.len(),
            layers,
            channels,
            parameters,
            statistics,
            blocks,
            features,
            batch_norm,
        };
        super::check::check(&plan)?;
        Ok(plan)
    }

    /// The layers that use random numbers in training, in order.
    pub fn random_layers(&self) -> impl Iterator<Item = RandomLayer> + '_ {
        let layers = self.layers.iter().enumerate();
        layers.filter_map(|(layer, description)| {
            let (rate, width) = match description.op {
                Op::Dropout { rate } => (rate, self.channels[layer]),
                Op::DropPath { rate } => (rate, 1),
                _ => return None,
            };
            Some(RandomLayer { layer, rate, width })
        })
    }

    /// Number of pooled features.
    pub fn feature_count(&self) -> usize {
        self.channels[self.features]
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.channels[self.layers.len() - 1]
    }

    /// The last layer. Its outputs are the logits.
    pub fn classifier(&self) -> &Linear {
        match &self.layers[self.layers.len() - 1].op {
            Op::Linear(layer) => layer,
            _ => unreachable!("a plan ends with a fully connected layer"),
        }
    }

    /// The shape of every layer's value, for images of `height` × `width` pixels.
    pub fn shapes(&self, height: usize, width: usize) -> Vec<Shape> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.layers.len());
        for (layer, &channels) in self.layers.iter().zip(&self.channels) {
            let input = layer.inputs.first().map(|&input| shapes[input]);
            let (rows, columns) = input.map_or((height, width), |s| (s.height, s.width));
            let (height, width) = match &layer.op {
                Op::Conv(conv) => (conv.window.outputs(rows), conv.window.outputs(columns)),
                Op::MaxPool(window) | Op::AveragePool(window) => {
                    (window.outputs(rows), window.outputs(columns))
                }
                Op::Merge => (rows.div_ceil(2), columns.div_ceil(2)),
                Op::GlobalAverage => (1, 1),
                _ => (rows, columns),
            };
            shapes.push(Shape {
                height,
                width,
                channels,
            });
        }
        shapes
    }

    /// For each parameter, the index of its block.
    pub fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.parameters.segments().len()];
        for layer in &self.layers {
            for parameter in layer.op.parameters() {
                depths[parameter] = layer.depth;
            }
        }
        depths
    }

    /// The blocks whose output is a map and all that later layers need, as the index of the block's last layer and the
    /// block's name. A network can be cut there in two. The layers of a block have consecutive indices.
    pub fn stages(&self) -> Vec<(usize, &str)> {
        // The last reader of each value.
        let mut last: Vec<usize> = (0..self.layers.len()).collect();
        for (index, layer) in self.layers.iter().enumerate() {
            for &input in &layer.inputs {
                last[input] = index;
            }
        }
        let mut stages = Vec::new();
        let is_pooling = |&index: &usize| matches!(self.layers[index].op, Op::GlobalAverage);
        let pooled = (0..=self.features)
            .rfind(is_pooling)
            .unwrap_or(self.features);
        // The last reader of any earlier value.
        let mut reach = 0;
        for (index, &reader) in last[..pooled].iter().enumerate() {
            let layer = &self.layers[index];
            let ends = self.layers[index + 1].depth > layer.depth || index + 1 == pooled;
            if ends && index > 0 && reach <= index {
                stages.push((index, self.blocks[layer.depth].as_str()));
            }
            reach = reach.max(reader);
        }
        stages
    }
}
