//! Offsets of each layer's values, in the arena and among the packed weights.

use crate::isa::Isa;
use crate::kernels::{TAPS, Weights, packed_length};
use crate::memory::{Buffer, Src, padded};
use crate::network::{Chain, ConvNorm, Linear, Plan, Table};
use crate::simd::LANES;
use crate::spec::{Activation, Padding};

/// A matrix of weights, `[outputs][inputs]` in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Offset in the arena.
    pub(super) weight: usize,
    /// Offset in the arena, and offset (padded) in the packed weights.
    pub(super) bias: Option<(usize, usize)>,
    /// Offset in the packed weights for the forward pass.
    pub(super) forward: usize,
    /// Offset in the packed weights for the backward pass. `None` if products read the arena
    /// directly. They do so in f32, unless they would read beyond the arena's end.
    pub(super) backward: Option<usize>,
}

/// The weights of a depthwise convolution or of the stem, `[channels][size]` in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelWeights {
    pub(super) channels: usize,
    /// Weights per channel.
    pub(super) size: usize,
    /// Offset in the arena.
    pub(super) weight: usize,
    /// Offset in the packed weights.
    pub(super) packed: usize,
}

/// A batch normalisation.
#[derive(Clone, Debug)]
pub(crate) struct NormPlace {
    /// Name of the preceding convolution.
    pub(super) name: String,
    pub(super) channels: usize,
    /// Offsets in the arena.
    pub(super) weight: usize,
    pub(super) bias: usize,
    /// Offsets in the statistics.
    pub(super) mean: usize,
    pub(super) variance: usize,
}

/// One inverted residual block. The indices of its norms refer to [`Layout::norms`].
#[derive(Clone, Debug)]
pub(super) struct BlockLayout {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) activation: Activation,
    pub(super) residual: bool,
    pub(super) in_channels: usize,
    pub(super) expanded: usize,
    pub(super) out_channels: usize,
    pub(super) expand: Option<(Matrix, usize)>,
    pub(super) depthwise: (KernelWeights, usize),
    pub(super) squeeze: Option<SqueezeLayout>,
    /// Whether squeeze-excite, if present, comes before the activation.
    pub(super) squeeze_first: bool,
    pub(super) project: (Matrix, usize),
    /// Index of the stochastic depth's factors among the masks of a step.
    pub(super) drop_path: Option<usize>,
}

/// The layers of squeeze-excite.
#[derive(Clone, Copy, Debug)]
pub(super) struct SqueezeLayout {
    pub(super) reduce: Matrix,
    /// ReLU or SiLU.
    pub(super) activation: Activation,
    pub(super) expand: Matrix,
    /// Hardsigmoid or Sigmoid.
    pub(super) gate: Activation,
}

/// All layers.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) stem: (KernelWeights, usize),
    pub(super) stem_stride: usize,
    /// Padding of the stem and the depthwise convolutions.
    pub(super) padding: Padding,
    /// Activation after the stem and the last convolution.
    pub(super) activation: Activation,
    pub(super) blocks: Vec<BlockLayout>,
    pub(super) last: (Matrix, usize),
    pub(super) hidden: Option<Matrix>,
    pub(super) classifier: Matrix,
    /// Index of the dropout's factors among the masks of a step.
    pub(super) dropout: Option<usize>,
    pub(super) norms: Vec<NormPlace>,
    /// All matrices of weights.
    pub(super) matrices: Vec<Matrix>,
    /// The weights of every depthwise convolution and of the stem.
    pub(super) taps: Vec<KernelWeights>,
    /// Number of packed values.
    pub(super) packed: usize,
}

impl Layout {
    pub(super) fn new(plan: &Plan, chain: &Chain, isa: Isa) -> Self {
        let mut places = Places {
            isa,
            parameters: &plan.parameters,
            statistics: &plan.statistics,
            norms: Vec::new(),
            matrices: Vec::new(),
            taps: Vec::new(),
            packed: 0,
        };
        let stem = places.taps(&chain.stem);
        let blocks = chain
            .blocks
            .iter()
            .map(|block| BlockLayout {
                kernel: block.depthwise.kernel,
                stride: block.depthwise.stride,
                activation: block.depthwise.activation,
                residual: block.residual,
                in_channels: block.in_channels(),
                expanded: block.depthwise.out_channels,
                out_channels: block.project.out_channels,
                expand: block.expand.as_ref().map(|layer| places.convolution(layer)),
                depthwise: places.taps(&block.depthwise),
                squeeze: block.squeeze.as_ref().map(|layer| SqueezeLayout {
                    reduce: places.linear(&layer.reduce),
                    activation: layer.activation,
                    expand: places.linear(&layer.expand),
                    gate: layer.gate,
                }),
                squeeze_first: (block.squeeze.as_ref())
                    .is_some_and(|layer| layer.before_activation),
                project: places.convolution(&block.project),
                drop_path: block.drop_path,
            })
            .collect();
        let last = places.convolution(&chain.last);
        let hidden = chain.hidden.as_ref().map(|layer| places.linear(layer));
        let classifier = places.linear(&chain.classifier);
        Layout {
            stem,
            stem_stride: chain.stem.stride,
            padding: chain.stem.padding,
            activation: chain.stem.activation,
            blocks,
            last,
            hidden,
            classifier,
            dropout: chain.dropout,
            norms: places.norms,
            matrices: places.matrices,
            taps: places.taps,
            packed: places.packed,
        }
    }
}

impl Layout {
    /// Number of values in the largest gradient that is summed over groups at once.
    pub(super) fn largest_partial(&self) -> usize {
        let squeezes = self
            .blocks
            .iter()
            .filter_map(|block| block.squeeze.as_ref());
        let pairs = squeezes.map(|SqueezeLayout { reduce, expand, .. }| {
            2 * reduce.outputs * reduce.inputs + reduce.outputs + expand.outputs
        });
        let matrices = self.matrices.iter().map(|m| m.outputs * m.inputs);
        matrices.chain(pairs).max().unwrap_or(0)
    }

    /// The largest number of packed kernel weights of a layer.
    pub(super) fn largest_taps(&self) -> usize {
        let taps = self.taps.iter();
        taps.map(|taps| padded(taps.channels) * taps.size)
            .max()
            .unwrap_or(0)
    }
}

/// The weights that a training step reads.
#[derive(Clone, Copy)]
pub(crate) struct StepWeights<'a> {
    pub(crate) arena: &'a [f32],
    pub(crate) packed: &'a Buffer,
}

impl StepWeights<'_> {
    fn packed(&self, place: usize) -> Src {
        // SAFETY: the offsets come from the layout of these packed weights.
        unsafe { self.packed.src().at(place) }
    }

    /// Weights for the forward pass.
    pub(super) fn forward(&self, matrix: &Matrix) -> Weights {
        Weights::Packed(self.packed(matrix.forward))
    }

    /// Weights for the backward pass.
    pub(super) fn backward(&self, matrix: &Matrix) -> Weights {
        match matrix.backward {
            Some(place) => Weights::Packed(self.packed(place)),
            None => Weights::Rows(Src::of(&self.arena[matrix.weight..]), matrix.inputs),
        }
    }

    pub(super) fn bias(&self, matrix: &Matrix) -> Option<Src> {
        matrix.bias.map(|(_, place)| self.packed(place))
    }
}

struct Places<'a> {
    isa: Isa,
    parameters: &'a Table,
    statistics: &'a Table,
    norms: Vec<NormPlace>,
    matrices: Vec<Matrix>,
    taps: Vec<KernelWeights>,
    packed: usize,
}

impl Places<'_> {
    fn parameter(&self, index: usize) -> usize {
        self.parameters.segments()[index].range.start
    }

    fn pack(&mut self, length: usize) -> usize {
        let start = self.packed;
        // Every matrix starts at a cache line.
        self.packed += padded(length);
        start
    }

    fn norm(&mut self, layer: &ConvNorm) -> usize {
        let statistic = |index: usize| self.statistics.segments()[index].range.start;
        self.norms.push(NormPlace {
            name: layer.name.clone(),
            channels: layer.out_channels,
            weight: self.parameter(layer.norm),
            bias: self.parameter(layer.norm + 1),
            mean: statistic(layer.statistics),
            variance: statistic(layer.statistics + 1),
        });
        self.norms.len() - 1
    }

    fn taps(&mut self, layer: &ConvNorm) -> (KernelWeights, usize) {
        let size = if layer.depthwise {
            layer.kernel * layer.kernel
        } else {
            TAPS
        };
        let taps = KernelWeights {
            channels: layer.out_channels,
            size,
            weight: self.parameter(layer.weight),
            packed: self.pack(padded(layer.out_channels) * size),
        };
        self.taps.push(taps);
        (taps, self.norm(layer))
    }

    fn convolution(&mut self, layer: &ConvNorm) -> (Matrix, usize) {
        let matrix = self.matrix(layer.out_channels, layer.in_channels, layer.weight, false);
        (matrix, self.norm(layer))
    }

    fn linear(&mut self, layer: &Linear) -> Matrix {
        self.matrix(layer.out_features, layer.in_features, layer.weight, true)
    }

    fn matrix(&mut self, outputs: usize, inputs: usize, weight: usize, bias: bool) -> Matrix {
        let place = self.parameter(weight);
        let reached = place + outputs * inputs + LANES - 1;
        let isa = self.isa;
        let matrix = Matrix {
            outputs,
            inputs,
            weight: place,
            bias: bias.then(|| (self.parameter(weight + 1), self.pack(outputs))),
            forward: self.pack(packed_length(isa, inputs, outputs)),
            backward: (isa.rank() > 1 || reached > self.parameters.len())
                .then(|| self.pack(packed_length(isa, outputs, inputs))),
        };
        self.matrices.push(matrix);
        matrix
    }
}
