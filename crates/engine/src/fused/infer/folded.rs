//! Weights for inference: batch normalisation folded in, packed for the kernels.

use std::ops::Range;

use super::fold::Places;
use crate::fused::workspace::Side;
use crate::isa::Isa;
use crate::kernels::{Epilogue, NextRows, Product, TAPS, Weights, panel_planes, product};
use crate::memory::{Buffer, Planes, Src, planes};
use crate::network::{Block, Chain, ConvNorm, Linear, Plan};
use crate::simd::LANES;
use crate::spec::{Activation, Padding, Zeros};
use crate::team::Team;

/// A network's weights, ready for [`Engine::infer`](crate::Engine::infer).
///
/// Each batch normalisation is folded into the convolution before it: the weights are multiplied by
/// `gamma / sqrt(running variance + epsilon)`, and the remaining constant becomes a bias. The
/// result is a copy: later changes to the weights do not affect it.
pub struct Folded {
    isa: Isa,
    weights: Buffer,
    pub(super) stem: Filter,
    pub(super) blocks: Vec<FoldedBlock>,
    pub(super) last: Pointwise,
    pub(super) hidden: Option<Pointwise>,
    pub(super) classifier: Pointwise,
}

impl std::fmt::Debug for Folded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folded")
            .field("isa", &self.isa)
            .field("numbers", &self.weights.len())
            .finish_non_exhaustive()
    }
}

/// The stem, or a depthwise convolution.
pub(super) struct Filter {
    pub(super) channels: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    padding: Padding,
    pub(super) activation: Activation,
    /// Weights per channel.
    count: usize,
    taps: usize,
    bias: usize,
}

/// A 1×1 convolution or a fully connected layer.
pub(super) struct Pointwise {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) activation: Activation,
    /// Ranges of output planes. Each range is computed by a separate product.
    pub(super) panels: Vec<Range<usize>>,
    weights: usize,
    bias: usize,
}

/// One inverted residual block.
pub(super) struct FoldedBlock {
    pub(super) expand: Option<Pointwise>,
    pub(super) depthwise: Filter,
    /// Ranges of planes that the depthwise convolution computes together: the panels of the
    /// expansion.
    pub(super) panels: Vec<Range<usize>>,
    pub(super) squeeze: Option<FoldedSqueeze>,
    /// The activation after the multiplication by squeeze-excite's factors.
    pub(super) squeezed: Activation,
    pub(super) project: Pointwise,
    pub(super) residual: bool,
}

/// The layers of squeeze-excite.
pub(super) struct FoldedSqueeze {
    pub(super) reduce: Pointwise,
    pub(super) expand: Pointwise,
    /// The activation that makes the factors. Products do not compute it.
    pub(super) gate: Activation,
}

impl Folded {
    /// Folds `parameters` and running `statistics`, both in the layout of the plan's tables.
    pub(super) fn new(
        plan: &Plan,
        chain: &Chain,
        isa: Isa,
        team: &Team,
        parameters: &[f32],
        statistics: &[f32],
    ) -> Self {
        let mut places = Places::new(plan);
        let stem = Filter::new(&mut places, &chain.stem, TAPS);
        let blocks = (chain.blocks.iter())
            .map(|block| FoldedBlock::new(&mut places, isa, block))
            .collect();
        let last = Pointwise::convolution(&mut places, isa, &chain.last);
        let hidden = chain.hidden.as_ref();
        let hidden =
            hidden.map(|layer| Pointwise::linear(&mut places, isa, layer, Activation::Hardswish));
        let identity = Activation::Identity;
        let classifier = Pointwise::linear(&mut places, isa, &chain.classifier, identity);
        Folded {
            isa,
            weights: places.fold(isa, team, parameters, statistics),
            stem,
            blocks,
            last,
            hidden,
            classifier,
        }
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// Weights and biases of a filter, from plane `plane` on.
    pub(super) fn filter(&self, filter: &Filter, plane: usize) -> (Src, Src) {
        let first = plane * LANES;
        // SAFETY: the plane belongs to the filter, so it is in range.
        unsafe {
            let weights = self.weights.src();
            (
                weights.at(filter.taps + first * filter.count),
                weights.at(filter.bias + first),
            )
        }
    }

    /// `c = activation(a * weights + bias) + addend` for some output planes, in whole panels. `c`
    /// and `addend` start at the first of these planes.
    ///
    /// # Safety
    /// `a`, `c` and `addend` must hold `rows` rows of their channels. The caller must own the rows
    /// of `c`.
    pub(super) unsafe fn multiply(
        &self,
        layer: &Pointwise,
        outputs: Range<usize>,
        rows: usize,
        a: Planes,
        c: Planes,
        addend: Option<Planes>,
    ) {
        let first = outputs.start * LANES;
        // SAFETY: the layer's weights are stored there, panel after panel. The caller promises the
        // rest.
        unsafe {
            let weights = self.weights.src();
            let operands = Product {
                rows,
                depth: layer.inputs,
                columns: outputs.len() * LANES,
                a,
                b: Weights::Packed(
                    weights.at(layer.weights + self.isa.ranks(layer.inputs) * first),
                ),
                c,
                next: NextRows::NONE,
            };
            let epilogue = Epilogue {
                bias: Some(weights.at(layer.bias + first)),
                activation: layer.activation,
                addend,
                ..Epilogue::NONE
            };
            product(self.isa, &operands, &epilogue);
        }
    }
}

impl Filter {
    fn new(places: &mut Places<'_>, layer: &ConvNorm, count: usize) -> Self {
        let (taps, bias) = places.taps(layer, count);
        Filter {
            channels: layer.out_channels,
            kernel: layer.kernel,
            stride: layer.stride,
            padding: layer.padding,
            activation: layer.activation,
            count,
            taps,
            bias,
        }
    }

    pub(super) fn planes(&self) -> usize {
        planes(self.channels)
    }

    /// Padding of an input of this size.
    pub(super) fn zeros(&self, side: Side) -> Zeros {
        side.zeros(self.padding, self.kernel, self.stride)
    }
}

impl Pointwise {
    fn convolution(places: &mut Places<'_>, isa: Isa, layer: &ConvNorm) -> Self {
        let (weights, bias) = places.convolution(isa, layer);
        Pointwise {
            inputs: layer.in_channels,
            outputs: layer.out_channels,
            activation: layer.activation,
            panels: panel_planes(isa, planes(layer.out_channels)),
            weights,
            bias,
        }
    }

    fn linear(places: &mut Places<'_>, isa: Isa, layer: &Linear, activation: Activation) -> Self {
        let (weights, bias) = places.linear(isa, layer);
        Pointwise {
            inputs: layer.in_features,
            outputs: layer.out_features,
            activation,
            panels: panel_planes(isa, planes(layer.out_features)),
            weights,
            bias,
        }
    }

    pub(super) fn planes(&self) -> usize {
        planes(self.outputs)
    }

    /// Multiply-adds per row.
    pub(super) fn cost(&self) -> usize {
        self.inputs * self.outputs
    }
}

impl FoldedBlock {
    fn new(places: &mut Places<'_>, isa: Isa, block: &Block) -> Self {
        let expand = block.expand.as_ref();
        let kernel = block.depthwise.kernel;
        let mut depthwise = Filter::new(places, &block.depthwise, kernel * kernel);
        let mut squeezed = Activation::Identity;
        if (block.squeeze.as_ref()).is_some_and(|layer| layer.before_activation) {
            // The activation comes after squeeze-excite instead of before it.
            std::mem::swap(&mut depthwise.activation, &mut squeezed);
        }
        FoldedBlock {
            expand: expand.map(|layer| Pointwise::convolution(places, isa, layer)),
            depthwise,
            squeezed,
            panels: panel_planes(isa, planes(block.depthwise.out_channels)),
            squeeze: block.squeeze.as_ref().map(|layer| FoldedSqueeze {
                reduce: Pointwise::linear(places, isa, &layer.reduce, layer.activation),
                expand: Pointwise::linear(places, isa, &layer.expand, Activation::Identity),
                gate: layer.gate,
            }),
            project: Pointwise::convolution(places, isa, &block.project),
            residual: block.residual,
        }
    }
}
