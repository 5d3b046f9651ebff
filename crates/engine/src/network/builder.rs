//! Builds a [`Plan`] layer by layer.

use super::layer::{Attention, BatchNorm, Conv, Layer, LayerNorm, Linear, Op, Pad, Window};
use super::plan::Plan;
use super::spec::SpecError;
use super::table::{Role, Table};
use crate::spec::{Activation, BatchNormSpec};

/// A network that is being built.
///
/// Each method appends a layer and returns its index, which later layers take as input. Parameters are in the order of
/// the calls; make it the order of the module's `state_dict`.
///
/// ```
/// use engine::{Activation, BatchNormSpec, Builder, ConvSpec};
///
/// let mut network = Builder::new("tiny", BatchNormSpec { epsilon: 1e-5, momentum: 0.1 });
/// network.block("stem");
/// let x = network.conv("conv1", network.image(), ConvSpec::new(8, 3).stride(2));
/// let x = network.batch_norm("bn1", x);
/// let x = network.activate(x, Activation::Relu);
/// let x = network.global_average(x);
/// network.features(x);
/// let logits = network.linear("fc", x, 10);
/// let plan = network.finish(logits)?;
/// assert_eq!(plan.parameters.segments()[0].shape, [8, 3, 3, 3]);
/// # Ok::<(), engine::SpecError>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    name: String,
    batch_norm: BatchNormSpec,
    layers: Vec<Layer>,
    /// Number of channels of each layer's value.
    channels: Vec<usize>,
    parameters: Table,
    statistics: Table,
    /// Names of the blocks.
    blocks: Vec<String>,
    /// The layer with the features, and the number of parameters before the head.
    features: Option<(usize, usize)>,
}

/// The shape of a convolution, without its input channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Output channels.
    pub out_channels: usize,
    /// The windows.
    pub window: Window,
    /// Number of groups.
    pub groups: usize,
    /// Whether there is a bias.
    pub bias: bool,
}

impl ConvSpec {
    /// A convolution with stride 1, one group and no bias. The padding is half the kernel.
    pub fn new(out_channels: usize, kernel: usize) -> ConvSpec {
        ConvSpec {
            out_channels,
            window: Window::new(kernel),
            groups: 1,
            bias: false,
        }
    }

    /// With this stride.
    pub fn stride(mut self, stride: usize) -> ConvSpec {
        self.window.stride = stride;
        self
    }

    /// With this padding.
    pub fn pad(mut self, pad: Pad) -> ConvSpec {
        self.window.pad = pad;
        self
    }

    /// With this many groups.
    pub fn groups(self, groups: usize) -> ConvSpec {
        ConvSpec { groups, ..self }
    }

    /// With a bias.
    pub fn bias(self) -> ConvSpec {
        ConvSpec { bias: true, ..self }
    }
}

impl Builder {
    /// A network that has only its images.
    pub fn new(name: impl Into<String>, batch_norm: BatchNormSpec) -> Builder {
        Builder {
            name: name.into(),
            batch_norm,
            layers: vec![Layer {
                name: "image".into(),
                op: Op::Image,
                inputs: Vec::new(),
                depth: 0,
            }],
            channels: vec![3],
            parameters: Table::default(),
            statistics: Table::default(),
            blocks: Vec::new(),
            features: None,
        }
    }

    /// The images.
    pub fn image(&self) -> usize {
        0
    }

    /// Number of channels of a layer's value.
    pub fn channels(&self, layer: usize) -> usize {
        self.channels[layer]
    }

    /// Begins a block of the backbone, with the name that the family's own project gives it. Learning rates decay by
    /// block, and Grad-CAM explains the output of a block, so later blocks must read it alone.
    pub fn block(&mut self, name: impl Into<String>) {
        self.blocks.push(name.into());
    }

    /// Appends a layer. `channels` is the number of channels of its value.
    fn push(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: Vec<usize>,
        channels: usize,
    ) -> usize {
        self.layers.push(Layer {
            name: name.into(),
            op,
            inputs,
            depth: self.blocks.len().saturating_sub(1),
        });
        self.channels.push(channels);
        self.layers.len() - 1
    }

    /// Appends a layer without parameters, named after its input.
    fn plain(&mut self, op: Op, inputs: Vec<usize>, channels: usize) -> usize {
        let name = inputs.first().map(|&input| self.layers[input].name.clone());
        self.push(name.unwrap_or_default(), op, inputs, channels)
    }

    fn parameter(&mut self, name: &str, leaf: &str, shape: Vec<usize>, role: Role) -> usize {
        self.parameters.push(format!("{name}.{leaf}"), shape, role)
    }

    /// A convolution with the parameters `name.weight` and, if it has one, `name.bias`.
    pub fn conv(&mut self, name: impl Into<String>, input: usize, spec: ConvSpec) -> usize {
        let name = name.into();
        let in_channels = self.channels(input);
        let ConvSpec {
            out_channels,
            window,
            groups,
            bias,
        } = spec;
        let inputs = in_channels / groups.max(1);
        let shape = vec![out_channels, inputs, window.kernel, window.kernel];
        let weight = self.parameter(&name, "weight", shape, Role::ConvWeight);
        let bias = bias.then(|| self.parameter(&name, "bias", vec![out_channels], Role::Bias));
        let op = Op::Conv(Conv {
            in_channels,
            out_channels,
            window,
            groups,
            weight,
            bias,
        });
        self.push(name, op, vec![input], out_channels)
    }

    /// A batch normalisation with the network's epsilon.
    pub fn batch_norm(&mut self, name: impl Into<String>, input: usize) -> usize {
        let name = name.into();
        let channels = self.channels(input);
        let weight = self.parameter(&name, "weight", vec![channels], Role::NormWeight);
        self.parameter(&name, "bias", vec![channels], Role::NormBias);
        let statistics = self.statistics.push(
            format!("{name}.running_mean"),
            vec![channels],
            Role::RunningMean,
        );
        self.statistics.push(
            format!("{name}.running_var"),
            vec![channels],
            Role::RunningVariance,
        );
        let op = Op::BatchNorm(BatchNorm {
            channels,
            weight,
            statistics,
            epsilon: self.batch_norm.epsilon,
        });
        self.push(name, op, vec![input], channels)
    }

    /// A normalisation over the channels.
    pub fn layer_norm(&mut self, name: impl Into<String>, input: usize, epsilon: f64) -> usize {
        let name = name.into();
        let channels = self.channels(input);
        let weight = self.parameter(&name, "weight", vec![channels], Role::NormWeight);
        self.parameter(&name, "bias", vec![channels], Role::NormBias);
        let op = Op::LayerNorm(LayerNorm {
            channels,
            weight,
            epsilon,
        });
        self.push(name, op, vec![input], channels)
    }

    /// An activation. The identity appends nothing.
    pub fn activate(&mut self, input: usize, activation: Activation) -> usize {
        if activation == Activation::Identity {
            return input;
        }
        self.plain(Op::Activate(activation), vec![input], self.channels(input))
    }

    /// The largest values of windows.
    pub fn max_pool(&mut self, input: usize, window: Window) -> usize {
        self.plain(Op::MaxPool(window), vec![input], self.channels(input))
    }

    /// The means of windows.
    pub fn average_pool(&mut self, input: usize, window: Window) -> usize {
        self.plain(Op::AveragePool(window), vec![input], self.channels(input))
    }

    /// The mean over all pixels.
    pub fn global_average(&mut self, input: usize) -> usize {
        self.plain(Op::GlobalAverage, vec![input], self.channels(input))
    }

    /// The product of a map and factors `[n, c]`.
    pub fn gate(&mut self, map: usize, factors: usize) -> usize {
        self.plain(Op::Gate, vec![map, factors], self.channels(map))
    }

    /// The sum of two values.
    pub fn add(&mut self, a: usize, b: usize) -> usize {
        self.plain(Op::Add, vec![a, b], self.channels(a))
    }

    /// The channels of all inputs.
    pub fn concat(&mut self, inputs: Vec<usize>) -> usize {
        let channels = inputs.iter().map(|&input| self.channels(input)).sum();
        self.plain(Op::Concat, inputs, channels)
    }

    /// The channels `start..start + length`.
    pub fn slice(&mut self, input: usize, start: usize, length: usize) -> usize {
        self.plain(Op::Slice { start, length }, vec![input], length)
    }

    /// ShuffleNet's permutation of channels.
    pub fn shuffle(&mut self, input: usize, groups: usize) -> usize {
        self.plain(Op::Shuffle { groups }, vec![input], self.channels(input))
    }

    /// Swin's patch merging, without its normalisation and projection.
    pub fn merge(&mut self, input: usize) -> usize {
        self.plain(Op::Merge, vec![input], 4 * self.channels(input))
    }

    /// A factor for each channel, the parameter `name`, of this shape.
    pub fn scale(&mut self, name: impl Into<String>, input: usize, shape: Vec<usize>) -> usize {
        let name = name.into();
        let weight = self.parameters.push(name.clone(), shape, Role::Scale);
        let channels = self.channels(input);
        self.push(name, Op::Scale { weight }, vec![input], channels)
    }

    /// A fully connected layer with a bias.
    pub fn linear(&mut self, name: impl Into<String>, input: usize, out_features: usize) -> usize {
        let (name, role) = (name.into(), Role::LinearWeight);
        let layer = self.linear_of(&name, self.channels(input), out_features, role);
        self.push(name, Op::Linear(layer), vec![input], out_features)
    }

    /// A fully connected layer whose weight is stored as that of a 1×1 convolution.
    pub fn linear_conv(
        &mut self,
        name: impl Into<String>,
        input: usize,
        out_features: usize,
    ) -> usize {
        let (name, role) = (name.into(), Role::ConvWeight);
        let layer = self.linear_of(&name, self.channels(input), out_features, role);
        self.push(name, Op::Linear(layer), vec![input], out_features)
    }

    /// A fully connected layer without bias.
    pub fn linear_without_bias(
        &mut self,
        name: impl Into<String>,
        input: usize,
        out_features: usize,
    ) -> usize {
        self.without_bias(name.into(), input, out_features, Role::LinearWeight)
    }

    /// A fully connected layer without bias, whose weight is stored as that of a 1×1 convolution.
    pub fn linear_conv_without_bias(
        &mut self,
        name: impl Into<String>,
        input: usize,
        out_features: usize,
    ) -> usize {
        self.without_bias(name.into(), input, out_features, Role::ConvWeight)
    }

    fn without_bias(
        &mut self,
        name: String,
        input: usize,
        out_features: usize,
        role: Role,
    ) -> usize {
        let in_features = self.channels(input);
        let mut shape = vec![out_features, in_features];
        if role == Role::ConvWeight {
            shape.extend([1, 1]);
        }
        let weight = self.parameter(&name, "weight", shape, role);
        let layer = Linear {
            in_features,
            out_features,
            weight,
            bias: None,
        };
        self.push(name, Op::Linear(layer), vec![input], out_features)
    }

    fn linear_of(
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
        let weight = self.parameter(name, "weight", shape, role);
        let bias = self.parameter(name, "bias", vec![out_features], Role::Bias);
        Linear {
            in_features,
            out_features,
            weight,
            bias: Some(bias),
        }
    }

    /// Swin's attention, with the parameters `name.relative_position_bias_table`, `name.qkv` and `name.proj`.
    pub fn attention(
        &mut self,
        name: impl Into<String>,
        input: usize,
        heads: usize,
        window: usize,
        shift: usize,
    ) -> usize {
        let name = name.into();
        let channels = self.channels(input);
        let shape = vec![(2 * window - 1).pow(2), heads];
        let leaf = "relative_position_bias_table";
        let table = self.parameter(&name, leaf, shape, Role::PositionBias);
        let mut linear = |part: &str, to| {
            self.linear_of(&format!("{name}.{part}"), channels, to, Role::LinearWeight)
        };
        let op = Op::Attention(Attention {
            channels,
            heads,
            window,
            shift,
            table,
            qkv: linear("qkv", 3 * channels),
            project: linear("proj", channels),
        });
        self.push(name, op, vec![input], channels)
    }

    /// A dropout. A rate of 0 appends nothing.
    pub fn dropout(&mut self, input: usize, rate: f64) -> usize {
        if rate == 0.0 {
            return input;
        }
        self.plain(Op::Dropout { rate }, vec![input], self.channels(input))
    }

    /// Stochastic depth. A rate of 0 appends nothing.
    pub fn drop_path(&mut self, input: usize, rate: f64) -> usize {
        if rate == 0.0 {
            return input;
        }
        self.plain(Op::DropPath { rate }, vec![input], self.channels(input))
    }

    /// Marks the pooled features `[n, c]`. The layers after this call are the head.
    pub fn features(&mut self, layer: usize) {
        self.features = Some((layer, self.parameters.len()));
        self.blocks.push("head".into());
    }

    /// The network with these logits, which must be the last layer.
    ///
    /// # Errors
    /// [`SpecError`] if a size is zero, if parts do not fit together, or if the features were not marked.
    pub fn finish(self, logits: usize) -> Result<Plan, SpecError> {
        Plan::assemble(self, logits)
    }

    /// The parts of the finished network.
    pub(super) fn into_parts(self) -> Parts {
        Parts {
            name: self.name,
            batch_norm: self.batch_norm,
            layers: self.layers,
            channels: self.channels,
            parameters: self.parameters,
            statistics: self.statistics,
            blocks: self.blocks,
            features: self.features,
        }
    }
}

/// The parts of a built network.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) batch_norm: BatchNormSpec,
    pub(super) layers: Vec<Layer>,
    pub(super) channels: Vec<usize>,
    pub(super) parameters: Table,
    pub(super) statistics: Table,
    pub(super) blocks: Vec<String>,
    pub(super) features: Option<(usize, usize)>,
}
