//! A resolved [`NetworkSpec`]: every layer with its name and parameter indices. Names and order are
//! those of torchvision's `mobilenetv3.py` and `mobilenetv2.py`.

use std::ops::Range;

use crate::spec::{Activation, BlockSpec, Naming, NetworkSpec, Padding, SpecError};
use crate::table::{Role, Table};

/// A convolution without bias, its batch normalisation and its activation.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvNorm {
    /// torchvision's name of the pair of convolution and normalisation, for example
    /// `features.1.block.0`. If torchvision has no pair, the name of the convolution.
    pub name: String,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Padding. It has no effect with a 1×1 kernel.
    pub padding: Padding,
    /// Whether the convolution is depthwise: one kernel per channel instead of one per pair of
    /// channels.
    pub depthwise: bool,
    /// The activation after the normalisation.
    pub activation: Activation,
    /// Index of the convolution's weight among the parameters.
    pub weight: usize,
    /// Index of the normalisation's weight among the parameters; its bias comes right after.
    pub norm: usize,
    /// Index of the running mean among the statistics; the variance comes right after.
    pub statistics: usize,
}

/// The two 1×1 convolutions of a squeeze-excite block: ReLU between, Hardsigmoid after.
#[derive(Clone, Debug, PartialEq)]
pub struct SqueezeExcite {
    /// Whether squeeze-excite comes before the activation of the depthwise convolution.
    pub before_activation: bool,
    /// The layer that reduces the block's channels.
    pub reduce: Linear,
    /// The layer that restores the block's channels.
    pub expand: Linear,
}

/// A fully connected layer, or a 1×1 convolution on one pixel, with a bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Input features.
    pub in_features: usize,
    /// Output features.
    pub out_features: usize,
    /// Index of the weight among the parameters; the bias comes right after.
    pub weight: usize,
}

/// One inverted residual block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// torchvision's name of the block, for example `features.1`.
    pub name: String,
    /// The block's spec.
    pub spec: BlockSpec,
    /// The 1×1 convolution to the expanded channels, if any.
    pub expand: Option<ConvNorm>,
    /// The k×k depthwise convolution.
    pub depthwise: ConvNorm,
    /// Squeeze-excite, between the depthwise and the projecting convolution.
    pub squeeze: Option<SqueezeExcite>,
    /// The 1×1 convolution to the output channels, without activation.
    pub project: ConvNorm,
}

/// A part of the backbone that turns one map into the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage<'a> {
    /// A convolution on its own: the first or the last one.
    Convolution(&'a ConvNorm),
    /// An inverted residual block.
    Block(&'a Block),
}

impl<'a> Stage<'a> {
    /// torchvision's name of the stage, for example `features.1`.
    pub fn name(self) -> &'a str {
        match self {
            Stage::Convolution(layer) => &layer.name,
            Stage::Block(block) => &block.name,
        }
    }
}

/// A network with the parameter indices of every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The network's spec.
    pub spec: NetworkSpec,
    /// The first convolution, 3×3 over RGB.
    pub stem: ConvNorm,
    /// The blocks, in order.
    pub blocks: Vec<Block>,
    /// The last 1×1 convolution. Its outputs are averaged to give the pooled features.
    pub last: ConvNorm,
    /// The hidden layer, followed by Hardswish and dropout.
    pub hidden: Option<Linear>,
    /// The last layer. Its outputs are the logits.
    pub classifier: Linear,
    /// Names, shapes and ranges of the trained parameters.
    pub parameters: Table,
    /// Names, shapes and ranges of the running means and variances.
    pub statistics: Table,
    /// Indices of the backbone's parameters.
    pub backbone: Range<usize>,
    /// Indices of the head's parameters.
    pub head: Range<usize>,
}

impl Plan {
    /// Resolves `spec` into layers with names and parameter indices.
    ///
    /// # Errors
    /// If the spec is not valid; see [`NetworkSpec::validate`].
    pub fn new(spec: &NetworkSpec) -> Result<Plan, SpecError> {
        spec.validate()?;
        let mut tables = Tables {
            padding: spec.padding,
            ..Tables::default()
        };
        let stem = tables.conv_norm(
            "features.0".into(),
            (3, spec.stem_channels),
            (3, spec.stem_stride, false),
            spec.activation,
        );
        let blocks: Vec<Block> = (1..)
            .zip(&spec.blocks)
            .map(|(index, block)| tables.block(spec.naming, index, block))
            .collect();
        let channels = spec
            .blocks
            .last()
            .map_or(spec.stem_channels, |block| block.out_channels);
        let last = tables.conv_norm(
            format!("features.{}", blocks.len() + 1),
            (channels, spec.features),
            (1, 1, false),
            spec.activation,
        );
        let backbone = 0..tables.parameters.len();
        let linear = Role::LinearWeight;
        let (hidden, name, features) = match spec.head.hidden {
            Some(hidden) => {
                let layer = tables.linear("classifier.0", spec.features, hidden, linear);
                (Some(layer), "classifier.3", hidden)
            }
            None => (None, "classifier.1", spec.features),
        };
        let classifier = tables.linear(name, features, spec.head.classes, linear);
        let Tables {
            parameters,
            statistics,
            ..
        } = tables;
        let head = backbone.end..parameters.len();
        let spec = spec.clone();
        Ok(Plan {
            spec,
            stem,
            blocks,
            last,
            hidden,
            classifier,
            parameters,
            statistics,
            backbone,
            head,
        })
    }

    /// The stages of the backbone, in order. The features are the averages of the last one's map.
    pub fn stages(&self) -> impl ExactSizeIterator<Item = Stage<'_>> {
        (0..self.blocks.len() + 2).map(|index| match index.checked_sub(1) {
            None => Stage::Convolution(&self.stem),
            Some(block) => match self.blocks.get(block) {
                Some(block) => Stage::Block(block),
                None => Stage::Convolution(&self.last),
            },
        })
    }

    /// Multiply-adds for one image of `height` × `width` pixels. As in papers, only convolutions
    /// and fully connected layers count.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let (mut rows, mut columns, mut total) = (height, width, 0);
        let mut convolution = |layer: &ConvNorm| {
            (rows, columns) = (rows.div_ceil(layer.stride), columns.div_ceil(layer.stride));
            let inputs = if layer.depthwise {
                1
            } else {
                layer.in_channels
            };
            total += rows * columns * layer.kernel.pow(2) * inputs * layer.out_channels;
        };
        convolution(&self.stem);
        let mut fully_connected = 0;
        for block in &self.blocks {
            block.expand.iter().for_each(&mut convolution);
            convolution(&block.depthwise);
            convolution(&block.project);
            fully_connected += block.squeeze.as_ref().map_or(0, |squeeze| {
                2 * squeeze.reduce.in_features * squeeze.reduce.out_features
            });
        }
        convolution(&self.last);
        for layer in self.hidden.iter().chain([&self.classifier]) {
            fully_connected += layer.in_features * layer.out_features;
        }
        (total + fully_connected) as u64
    }
}

#[derive(Default)]
struct Tables {
    padding: Padding,
    parameters: Table,
    statistics: Table,
}

impl Tables {
    fn conv_norm(
        &mut self,
        name: String,
        channels: (usize, usize),
        geometry: (usize, usize, bool),
        activation: Activation,
    ) -> ConvNorm {
        let parts = [format!("{name}.0"), format!("{name}.1")];
        self.named_conv_norm(name, parts, channels, geometry, activation)
    }

    /// As `conv_norm`, with explicit names for the convolution and its normalisation.
    fn named_conv_norm(
        &mut self,
        name: String,
        [convolution, norm]: [String; 2],
        (in_channels, out_channels): (usize, usize),
        (kernel, stride, depthwise): (usize, usize, bool),
        activation: Activation,
    ) -> ConvNorm {
        let inputs = if depthwise { 1 } else { in_channels };
        let shape = vec![out_channels, inputs, kernel, kernel];
        let weight = self
            .parameters
            .push(format!("{convolution}.weight"), shape, Role::ConvWeight);
        let channels = || vec![out_channels];
        let (mean, variance) = (
            format!("{norm}.running_mean"),
            format!("{norm}.running_var"),
        );
        let bias = format!("{norm}.bias");
        let norm = self
            .parameters
            .push(format!("{norm}.weight"), channels(), Role::NormWeight);
        self.parameters.push(bias, channels(), Role::NormBias);
        let statistics = self.statistics.push(mean, channels(), Role::RunningMean);
        self.statistics
            .push(variance, channels(), Role::RunningVariance);
        ConvNorm {
            name,
            in_channels,
            out_channels,
            kernel,
            stride,
            padding: self.padding,
            depthwise,
            activation,
            weight,
            norm,
            statistics,
        }
    }

    fn block(&mut self, naming: Naming, index: usize, spec: &BlockSpec) -> Block {
        let name = format!("features.{index}");
        let layer = match naming {
            Naming::MobileNetV3 => "block",
            Naming::MobileNetV2 => "conv",
        };
        let mut layers = 0;
        let mut next = || {
            layers += 1;
            format!("{name}.{layer}.{}", layers - 1)
        };
        let BlockSpec {
            in_channels,
            expanded,
            out_channels,
            ..
        } = *spec;
        let expand = spec.expansion.then(|| {
            let channels = (in_channels, expanded);
            self.conv_norm(next(), channels, (1, 1, false), spec.activation)
        });
        let depthwise = self.conv_norm(
            next(),
            (expanded, expanded),
            (spec.kernel, spec.stride, true),
            spec.activation,
        );
        let squeeze = spec.squeeze.map(|squeeze| {
            let name = next();
            let mut layer = |part: &str, from, to| {
                self.linear(&format!("{name}.{part}"), from, to, Role::ConvWeight)
            };
            SqueezeExcite {
                before_activation: squeeze.before_activation,
                reduce: layer("fc1", expanded, squeeze.hidden),
                expand: layer("fc2", squeeze.hidden, expanded),
            }
        });
        let channels = (expanded, out_channels);
        let (geometry, none) = ((1, 1, false), Activation::Identity);
        let first = next();
        let project = match naming {
            Naming::MobileNetV3 => self.conv_norm(first, channels, geometry, none),
            Naming::MobileNetV2 => {
                let parts = [first.clone(), next()];
                self.named_conv_norm(first, parts, channels, geometry, none)
            }
        };
        Block {
            name,
            spec: *spec,
            expand,
            depthwise,
            squeeze,
            project,
        }
    }

    fn linear(
        &mut self,
        name: &str,
        in_features: usize,
        out_features: usize,
        role: Role,
    ) -> Linear {
        let mut shape = vec![out_features, in_features];
        if role == Role::ConvWeight {
            shape.extend([1, 1]);
        }
        let weight = self.parameters.push(format!("{name}.weight"), shape, role);
        self.parameters
            .push(format!("{name}.bias"), vec![out_features], Role::Bias);
        Linear {
            in_features,
            out_features,
            weight,
        }
    }
}
