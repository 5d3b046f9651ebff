//! Folds batch normalisation into weights: the offsets of each layer's folded weights, and their
//! computation.

use std::ops::Range;

use crate::isa::Isa;
use crate::kernels::{pack_outputs, pack_taps, packed_length};
use crate::memory::{Buffer, Dst, Src, padded};
use crate::network::{ConvNorm, Linear, Plan};
use crate::team::Team;

/// Assigns offsets to folded weights and records their sources.
pub(super) struct Places<'a> {
    plan: &'a Plan,
    pieces: Vec<Piece>,
    length: usize,
}

/// One layer to fold: its sources and its targets.
struct Piece {
    /// Range of the weights in the arena, `[outputs][..]`.
    weight: Range<usize>,
    outputs: usize,
    offset: Offset,
    packing: Packing,
    /// Offsets in the folded weights.
    target: usize,
    bias: usize,
}

/// The source of a layer's folded bias.
enum Offset {
    /// A bias in the arena, at this range.
    Bias(Range<usize>),
    /// A batch normalisation: the ranges of gamma and beta in the arena, and of mean and variance
    /// in the statistics.
    Norm {
        gamma: Range<usize>,
        beta: Range<usize>,
        mean: Range<usize>,
        variance: Range<usize>,
    },
}

#[derive(Clone, Copy)]
enum Packing {
    Matrix,
    Taps,
}

impl<'a> Places<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Places {
            plan,
            pieces: Vec::new(),
            length: 0,
        }
    }

    /// Assigns offsets to the weights (`count` per channel) and biases of a filter.
    pub(super) fn taps(&mut self, layer: &ConvNorm, count: usize) -> (usize, usize) {
        let length = padded(layer.out_channels) * count;
        self.piece(
            layer.weight,
            layer.out_channels,
            self.norm(layer),
            Packing::Taps,
            length,
        )
    }

    /// Assigns offsets to the weights and biases of a 1×1 convolution.
    pub(super) fn convolution(&mut self, isa: Isa, layer: &ConvNorm) -> (usize, usize) {
        let length = packed_length(isa, layer.in_channels, layer.out_channels);
        self.piece(
            layer.weight,
            layer.out_channels,
            self.norm(layer),
            Packing::Matrix,
            length,
        )
    }

    /// Assigns offsets to the weights and biases of a fully connected layer.
    pub(super) fn linear(&mut self, isa: Isa, layer: &Linear) -> (usize, usize) {
        let length = packed_length(isa, layer.in_features, layer.out_features);
        let bias = Offset::Bias(self.parameter(layer.weight + 1));
        self.piece(
            layer.weight,
            layer.out_features,
            bias,
            Packing::Matrix,
            length,
        )
    }

    fn parameter(&self, index: usize) -> Range<usize> {
        self.plan.parameters.segments()[index].range.clone()
    }

    fn norm(&self, layer: &ConvNorm) -> Offset {
        let statistic = |index: usize| self.plan.statistics.segments()[index].range.clone();
        Offset::Norm {
            gamma: self.parameter(layer.norm),
            beta: self.parameter(layer.norm + 1),
            mean: statistic(layer.statistics),
            variance: statistic(layer.statistics + 1),
        }
    }

    fn piece(
        &mut self,
        weight: usize,
        outputs: usize,
        offset: Offset,
        packing: Packing,
        length: usize,
    ) -> (usize, usize) {
        // Every range starts on a cache line.
        let target = self.length;
        let bias = target + padded(length);
        self.length = bias + padded(outputs);
        self.pieces.push(Piece {
            weight: self.parameter(weight),
            outputs,
            offset,
            packing,
            target,
            bias,
        });
        (target, bias)
    }

    /// Computes all folded weights.
    pub(super) fn fold(
        self,
        isa: Isa,
        team: &Team,
        parameters: &[f32],
        statistics: &[f32],
    ) -> Buffer {
        let buffer = Buffer::new(self.length);
        let epsilon = self.plan.batch_norm.epsilon;
        team.run(self.pieces.len(), |index, _| {
            let piece = &self.pieces[index];
            let target = buffer.dst();
            // SAFETY: every piece has its own ranges.
            unsafe { piece.fold(isa, epsilon, parameters, statistics, target) }
        });
        buffer
    }
}

impl Piece {
    /// # Safety
    /// The caller must own the piece's ranges in `target`.
    unsafe fn fold(
        &self,
        isa: Isa,
        epsilon: f64,
        parameters: &[f32],
        statistics: &[f32],
        target: Dst,
    ) {
        let mut weights = parameters[self.weight.clone()].to_vec();
        let inputs = weights.len() / self.outputs;
        // SAFETY: the caller owns the piece's ranges.
        let biases = unsafe {
            let place = target.pointer(self.bias, self.outputs);
            std::slice::from_raw_parts_mut(place, self.outputs)
        };
        match &self.offset {
            Offset::Bias(bias) => biases.copy_from_slice(&parameters[bias.clone()]),
            Offset::Norm {
                gamma,
                beta,
                mean,
                variance,
            } => {
                let rows = weights.chunks_exact_mut(inputs).zip(biases);
                for (channel, (row, bias)) in rows.enumerate() {
                    let of = |values: &[f32], range: &Range<usize>| {
                        f64::from(values[range.start + channel])
                    };
                    let std = (of(statistics, variance) + epsilon).sqrt();
                    let factor = of(parameters, gamma) / std;
                    for weight in row {
                        *weight = (f64::from(*weight) * factor) as f32;
                    }
                    *bias = (of(parameters, beta) - of(statistics, mean) * factor) as f32;
                }
            }
        }
        // SAFETY: as above.
        unsafe {
            let target = target.at(self.target);
            let source = Src::of(&weights);
            match self.packing {
                Packing::Matrix => pack_outputs(isa, self.outputs, inputs, source, target),
                Packing::Taps => pack_taps(self.outputs, inputs, source, target),
            }
        }
    }
}
