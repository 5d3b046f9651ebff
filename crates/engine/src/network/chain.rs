//! Finds a chain of inverted residual blocks in a network, for the fused engine.

use super::layer::{Linear, Op};
use super::plan::Plan;
use crate::kernels::is_for_maps;
use crate::spec::{Activation, Padding};

/// A convolution without bias, its batch normalisation and its activation.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvNorm {
    /// Name of the convolution.
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
    /// Constant that the normalisation adds to the variance.
    pub epsilon: f64,
}

/// The two 1×1 convolutions of a squeeze-excite block.
#[derive(Clone, Debug, PartialEq)]
pub struct SqueezeExcite {
    /// Whether squeeze-excite comes before the activation of the depthwise convolution.
    pub before_activation: bool,
    /// The layer that reduces the block's channels.
    pub reduce: Linear,
    /// The activation between both layers: ReLU or SiLU.
    pub activation: Activation,
    /// The layer that restores the block's channels.
    pub expand: Linear,
    /// The activation that makes the factors: Hardsigmoid or Sigmoid.
    pub gate: Activation,
}

/// One inverted residual block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The 1×1 convolution to the expanded channels, if any.
    pub expand: Option<ConvNorm>,
    /// The k×k depthwise convolution.
    pub depthwise: ConvNorm,
    /// Squeeze-excite, between the depthwise and the projecting convolution.
    pub squeeze: Option<SqueezeExcite>,
    /// The 1×1 convolution to the output channels, without activation.
    pub project: ConvNorm,
    /// Index of the stochastic depth before the sum, if any, among the plan's
    /// [random layers](Plan::random_layers).
    pub drop_path: Option<usize>,
    /// Whether the block adds its input to its output.
    pub residual: bool,
}

impl Block {
    /// Input channels.
    pub fn in_channels(&self) -> usize {
        self.expand.as_ref().unwrap_or(&self.depthwise).in_channels
    }
}

/// A network of inverted residual blocks: a 3×3 convolution, the blocks, a 1×1 convolution, and a head with at most one
/// hidden layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
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
    /// Index of the dropout before the classifier, if any, among the plan's [random layers](Plan::random_layers).
    pub dropout: Option<usize>,
}

impl Chain {
    /// The chain that this network is. `None` if the network has other layers.
    pub fn find(plan: &Plan) -> Option<Chain> {
        let mut reader = Reader {
            plan,
            next: 1,
            random: 0,
        };
        let chain = reader.chain()?;
        let padding = chain.stem.padding;
        let kernels = (chain.blocks.iter()).all(|block| {
            let layer = &block.depthwise;
            layer.padding == padding && matches!(layer.kernel, 3 | 5)
        });
        let epsilon = chain.stem.epsilon;
        let mut norms = plan.layers.iter().filter_map(|layer| match &layer.op {
            Op::BatchNorm(norm) => Some(norm.epsilon),
            _ => None,
        });
        // The engine has one padding, and one epsilon.
        let uniform = kernels && norms.all(|other| other == epsilon);
        uniform.then_some(chain)
    }
}

/// Reads the layers of a plan in order. Each layer must read the one before it, except where the methods say otherwise.
struct Reader<'a> {
    plan: &'a Plan,
    /// Index of the next layer.
    next: usize,
    /// Number of random layers read so far.
    random: usize,
}

impl Reader<'_> {
    /// The next layer's operation, if the layer has these inputs.
    fn op(&self, inputs: &[usize]) -> Option<&Op> {
        let layer = self.plan.layers.get(self.next)?;
        (layer.inputs == inputs).then_some(&layer.op)
    }

    /// Index of the layer just read.
    fn last(&self) -> usize {
        self.next - 1
    }

    fn chain(&mut self) -> Option<Chain> {
        let stem = self.conv_norm()?;
        if stem.depthwise || stem.kernel != 3 || stem.in_channels != 3 {
            return None;
        }
        let mut blocks = Vec::new();
        // A 1×1 convolution that global pooling follows is the last one.
        let last = loop {
            let start = self.next;
            let first = self.conv_norm()?;
            if !first.depthwise && self.op(&[self.last()]) == Some(&Op::GlobalAverage) {
                break first;
            }
            self.next = start;
            blocks.push(self.block()?);
        };
        self.next += 1;
        let pooled = self.last();
        let hidden = self.linear(pooled).filter(|_| {
            let activated = self.op(&[self.last()]) == Some(&Op::Activate(Activation::Hardswish));
            self.next += 1;
            activated
        });
        if hidden.is_none() {
            self.next = pooled + 1;
        }
        let dropout = self.random(|op| matches!(op, Op::Dropout { .. }));
        let classifier = self.linear(self.last())?;
        self.finished(stem, blocks, last, hidden, classifier, dropout)
    }

    fn finished(
        &self,
        stem: ConvNorm,
        blocks: Vec<Block>,
        last: ConvNorm,
        hidden: Option<Linear>,
        classifier: Linear,
        dropout: Option<usize>,
    ) -> Option<Chain> {
        let same = last.kernel == 1 && last.stride == 1 && last.activation == stem.activation;
        (same && self.next == self.plan.layers.len()).then_some(Chain {
            stem,
            blocks,
            last,
            hidden,
            classifier,
            dropout,
        })
    }

    /// Reads a dropout or a stochastic depth, if it comes next, and returns its index among the random layers.
    fn random(&mut self, is_wanted: fn(&Op) -> bool) -> Option<usize> {
        self.op(&[self.last()]).filter(|op| is_wanted(op))?;
        self.next += 1;
        self.random += 1;
        Some(self.random - 1)
    }

    fn block(&mut self) -> Option<Block> {
        let input = self.last();
        let mut expand = None;
        let mut depthwise = self.conv_norm()?;
        if !depthwise.depthwise || depthwise.kernel == 1 {
            if depthwise.kernel != 1 || depthwise.stride != 1 {
                return None;
            }
            expand = Some(depthwise);
            depthwise = self.conv_norm()?;
        }
        let squeeze = self.squeeze(&mut depthwise);
        let project = self.conv_norm()?;
        let fits = depthwise.depthwise
            && matches!(depthwise.stride, 1 | 2)
            && (expand.iter()).all(|expand| expand.activation == depthwise.activation)
            && !project.depthwise
            && project.kernel == 1
            && project.stride == 1
            && project.activation == Activation::Identity;
        if !fits {
            return None;
        }
        let drop_path = self.random(|op| matches!(op, Op::DropPath { .. }));
        let residual = self.op(&[self.last(), input]) == Some(&Op::Add);
        self.next += usize::from(residual);
        if drop_path.is_some() && !residual {
            return None;
        }
        Some(Block {
            expand,
            depthwise,
            squeeze,
            project,
            drop_path,
            residual,
        })
    }

    /// Squeeze-excite, if it comes next, and the activation after it.
    fn squeeze(&mut self, depthwise: &mut ConvNorm) -> Option<SqueezeExcite> {
        let (start, map) = (self.next, self.last());
        let found = self.squeeze_of(map);
        let Some(mut squeeze) = found else {
            self.next = start;
            return None;
        };
        squeeze.before_activation = depthwise.activation == Activation::Identity;
        if squeeze.before_activation {
            depthwise.activation = self.activation();
        }
        Some(squeeze)
    }

    fn squeeze_of(&mut self, map: usize) -> Option<SqueezeExcite> {
        self.step(&[map], &Op::GlobalAverage)?;
        let reduce = self.linear(self.last())?;
        let activation = self.activation();
        let expand = self.linear(self.last())?;
        let gate = self.activation();
        self.step(&[map, self.last()], &Op::Gate)?;
        let known = matches!(activation, Activation::Relu | Activation::Silu)
            && matches!(gate, Activation::Hardsigmoid | Activation::Sigmoid);
        known.then_some(SqueezeExcite {
            before_activation: false,
            reduce,
            activation,
            expand,
            gate,
        })
    }

    /// Reads a layer that must be this one.
    fn step(&mut self, inputs: &[usize], op: &Op) -> Option<()> {
        (self.op(inputs)? == op).then(|| self.next += 1)
    }

    fn linear(&mut self, input: usize) -> Option<Linear> {
        let Op::Linear(layer) = self.op(&[input])? else {
            return None;
        };
        let layer = layer.clone();
        self.next += 1;
        (layer.bias == Some(layer.weight + 1)).then_some(layer)
    }

    fn activation(&mut self) -> Activation {
        match self.op(&[self.last()]) {
            Some(&Op::Activate(activation)) => {
                self.next += 1;
                activation
            }
            _ => Activation::Identity,
        }
    }

    fn conv_norm(&mut self) -> Option<ConvNorm> {
        let name = self.plan.layers.get(self.next)?.name.clone();
        let Op::Conv(conv) = self.op(&[self.last()])? else {
            return None;
        };
        let conv = conv.clone();
        self.next += 1;
        let Op::BatchNorm(norm) = self.op(&[self.last()])? else {
            return None;
        };
        let norm = norm.clone();
        self.next += 1;
        let padding = conv.window.padding()?;
        let fits = conv.bias.is_none() && (conv.groups == 1 || conv.is_depthwise());
        let activation = self.activation();
        let known = is_for_maps(activation);
        (fits && known).then(|| ConvNorm {
            name,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel: conv.window.kernel,
            stride: conv.window.stride,
            padding,
            depthwise: conv.is_depthwise() && conv.window.kernel > 1,
            activation,
            weight: conv.weight,
            norm: norm.weight,
            statistics: norm.statistics,
            epsilon: norm.epsilon,
        })
    }
}
