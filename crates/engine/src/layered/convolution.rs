//! Convolutions and fully connected layers in training.

use std::ops::Range;

use super::Layered;
use super::conv::{ConvForward, ConvShape, Part, SMALL, StemForward, conv_forward, stem_forward};
use super::pass::{Pass, Share};
use super::space::{Batch, Fitted, Packs};
use crate::fused::context::{Scratch, blocks_of, flush};
use crate::isa::Isa;
use crate::kernels::{
    ActivateRows, DepthwiseForward, Epilogue, NextRows, Product, ProductSums, Sums, Weights,
    activate_rows, depthwise_forward, pack_inputs, pack_outputs, pack_taps, packed_length, product,
    ring_length,
};
use crate::memory::{Dst, Planes, Src, padded, planes};
use crate::program::{ConvStep, Kind, Value};
use crate::simd::LANES;
use crate::spec::Activation;

/// The geometry of a convolution, and the places of its packed weights.
pub(super) fn fit(
    engine: &Layered,
    step: &ConvStep,
    batch: &Batch,
    training: bool,
    packed: &mut usize,
) -> Fitted {
    let (isa, plan, conv) = (engine.isa, &engine.plan, &step.conv);
    let mut pack = |length: usize| {
        let start = *packed;
        // Every layer starts at a cache line.
        *packed += padded(length);
        start
    };
    let input = batch.shapes[step.input.map_or(0, |input| input.z)];
    let (height, width) = (input.height, input.width);
    let shape = match step.kind {
        Kind::Stem => Some(ConvShape::new(isa.with_f32(), conv, height, width)),
        Kind::General => Some(ConvShape::new(isa, conv, height, width)),
        // Products of maps compute in bf16 as convolutions.
        Kind::Pointwise if isa.rank() > 1 && engine.maps[step.layer] => {
            Some(ConvShape::of_pixels(isa, conv, height, width))
        }
        Kind::Pointwise | Kind::Depthwise => None,
    };
    let isa = isa.with_f32();
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let kernel = conv.window.kernel;
    let (forward, backward) = match (&shape, step.kind) {
        (Some(shape), Kind::Stem) => (shape.stem_length(), None),
        (Some(shape), _) => (shape.forward_length(), Some(shape.backward_length())),
        (None, Kind::Depthwise) => (padded(outputs) * kernel * kernel, None),
        (None, _) => {
            let range = &plan.parameters.segments()[conv.weight].range;
            // Products read the arena itself, unless they would read beyond its end, or its rows would share few
            // places in the caches.
            let beyond = range.end + LANES - 1 > plan.parameters.len();
            let crowded = inputs.is_multiple_of(4 * LANES);
            let backward = (beyond || crowded).then(|| packed_length(isa, outputs, inputs));
            (packed_length(isa, inputs, outputs), backward)
        }
    };
    Fitted {
        packs: Packs {
            forward: pack(forward),
            backward: backward.filter(|_| training).map(&mut pack),
            bias: (conv.bias.is_some() || step.after.norm.is_some()).then(|| pack(outputs)),
        },
        shape,
        gathers: None,
    }
}

/// Packs a convolution's weights, and its bias.
///
/// # Safety
/// `target` must have the step's places, and the caller must own them.
pub(super) unsafe fn pack(
    isa: Isa,
    step: &ConvStep,
    fitted: &Fitted,
    weights: Src,
    bias: Option<&[f32]>,
    target: Dst,
) {
    let Fitted { shape, packs, .. } = fitted;
    let (inputs, outputs) = (step.conv.in_channels, step.conv.out_channels);
    // SAFETY: as promised by the caller.
    unsafe {
        let forward = target.at(packs.forward);
        let backward = packs.backward.map(|place| target.at(place));
        match (shape, step.kind) {
            (Some(shape), Kind::Stem) => shape.pack_stem(weights, forward),
            (Some(shape), _) => {
                shape.pack_forward(weights, forward);
                if let Some(backward) = backward {
                    shape.pack_backward(weights, backward);
                }
            }
            (None, Kind::Depthwise) => {
                let size = step.conv.window.kernel * step.conv.window.kernel;
                pack_taps(outputs, size, weights, forward);
            }
            (None, _) => {
                pack_outputs(isa, outputs, inputs, weights, forward);
                if let Some(backward) = backward {
                    pack_inputs(isa, outputs, inputs, weights, backward);
                }
            }
        }
        if let (Some(place), Some(bias)) = (packs.bias, bias) {
            let to = target.pointer(place, outputs);
            std::slice::from_raw_parts_mut(to, outputs).copy_from_slice(bias);
        }
    }
}

/// Minimum number of rows in a block. Every block reads all weights, and the backward pass their gradient too.
pub(super) const ROWS: usize = 96;

/// Number of a layer's weights from which they do not stay in the second cache.
const MANY: usize = 256 * 1024;

/// Fewer rows than this are divided by columns among the threads.
const FEW_ROWS: usize = 100;

/// The part of a convolution that is a thread's share.
fn part(shape: &ConvShape, share: &Share) -> Option<Part> {
    if share.is_whole() {
        return None;
    }
    let by_rows = shape.rows * shape.columns >= SMALL && shape.rows >= share.parts();
    let all = (0..shape.rows, 0..shape.panels());
    Some(if by_rows {
        Part {
            rows: share.of(shape.rows),
            panels: all.1,
        }
    } else {
        Part {
            rows: all.0,
            panels: share.of(shape.panels()),
        }
    })
}

impl Pass<'_> {
    /// Packs the weights of a convolution.
    pub(super) fn pack(&self, index: usize, step: &ConvStep) {
        let weights = self.weights(step);
        let bias = step
            .conv
            .bias
            .map(|bias| &self.parameters[self.parameter(bias)]);
        let target = self.space.packed.dst();
        // SAFETY: every layer's packed weights have places of their own.
        unsafe {
            let fitted = &self.space.fitted[index];
            pack(self.context.isa, step, fitted, weights, bias, target);
        }
    }

    /// A convolution's weights in the arena.
    fn weights(&self, step: &ConvStep) -> Src {
        Src::of(&self.parameters[self.parameter(step.conv.weight)])
    }

    pub(super) fn packed(&self, place: usize) -> Src {
        // SAFETY: the places are within the packed weights.
        unsafe { self.space.packed.src().at(place) }
    }

    /// Computes the outputs, and the sums for their normalisation.
    ///
    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn convolve(
        &self,
        index: usize,
        step: &ConvStep,
        share: &Share,
        scratch: &mut Scratch,
        sums: &mut Sums,
    ) {
        let Fitted { shape, packs, .. } = &self.space.fitted[index];
        let (images, first) = (share.images.len(), share.images.start);
        let rows = self.all_rows(step.layer, share);
        let weights = self.packed(packs.forward);
        let bias = packs.bias.map(|place| self.packed(place));
        let activation = step.after.activation;
        let isa = self.context.isa;
        let sums_wanted = self.space.summed[step.layer];
        // SAFETY: as promised by the caller.
        unsafe {
            let target = self.space.value(step.layer).row(rows.start);
            match (step.kind, step.input, shape) {
                (Kind::Stem, _, Some(shape)) => {
                    let operands = StemForward {
                        shape,
                        images,
                        pixels: self.image(first),
                        weights,
                        target,
                        bias,
                        activation,
                        rows: share.of(shape.rows),
                    };
                    let sums = sums_wanted.then_some(sums);
                    stem_forward(isa, &operands, &mut scratch.conv, sums);
                }
                (_, Some(input), Some(shape)) => {
                    let addend = step.after.addend.map(|layer| self.space.value(layer));
                    let operands = ConvForward {
                        shape,
                        images,
                        source: self.reading(input, first),
                        weights,
                        target,
                        bias,
                        activation,
                        addend: addend.map(|addend| addend.row(rows.start)),
                        part: part(shape, share),
                    };
                    let sums = sums_wanted.then_some(sums);
                    conv_forward(&operands, &mut scratch.conv, sums);
                }
                (Kind::Depthwise, Some(input), _) => {
                    self.filter(step, input, packs.forward, share, scratch, sums);
                }
                (_, Some(input), _) => {
                    self.multiply(step, input, share, scratch, sums, weights, bias);
                }
                _ => unreachable!("a convolution has an input"),
            }
        }
    }

    /// # Safety
    /// The share must belong to the caller.
    #[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
    unsafe fn multiply(
        &self,
        step: &ConvStep,
        input: Value,
        share: &Share,
        scratch: &mut Scratch,
        sums: &mut Sums,
        weights: Src,
        bias: Option<Src>,
    ) {
        let (inputs, outputs) = (step.conv.in_channels, step.conv.out_channels);
        let sums_wanted = self.space.summed[step.layer];
        let totals = scratch.sums(outputs);
        let mut all = self.share_rows(step.layer, share);
        let mut columns = 0..planes(outputs);
        if !share.is_whole() && all.len() < FEW_ROWS {
            // Few rows and many weights: each weight is read by one thread.
            all = self.all_rows(step.layer, share);
            columns = share.of_panels(columns.end);
        }
        if columns.is_empty() {
            return;
        }
        let start = columns.start * LANES;
        let wide = outputs.min(columns.end * LANES) - start;
        let packed = match inputs * outputs < MANY {
            true => Weights::Packed,
            false => Weights::Followed,
        };
        // Without an addend, the activation may come first, which is the shorter epilogue.
        let (activation, last) = match step.after.addend {
            None => (step.after.activation, Activation::Identity),
            Some(_) => (Activation::Identity, step.after.activation),
        };
        for rows in blocks_of(self.context.isa, ROWS, all, inputs + wide) {
            // SAFETY: as promised by the caller; the block belongs to this thread.
            unsafe {
                let place = |layer: usize| {
                    let value = self.space.value(layer).plane(columns.start);
                    value.row(rows.start)
                };
                let a = self.rows(input, rows.clone(), inputs, scratch);
                let c = place(step.layer);
                let operands = Product {
                    rows: rows.len(),
                    depth: inputs,
                    columns: wide,
                    a,
                    b: packed(weights.at(inputs * start)),
                    c,
                    next: NextRows::NONE,
                };
                let epilogue = Epilogue {
                    bias: bias.map(|bias| bias.at(start)),
                    addend: step.after.addend.map(place),
                    activation,
                    last,
                    sums: sums_wanted.then_some(ProductSums {
                        first: totals[0],
                        second: totals[1],
                        with: None,
                    }),
                    stream: self.context.streams(c),
                    ..Epilogue::NONE
                };
                product(self.context.isa, &operands, &epilogue);
                if sums_wanted {
                    flush(totals, sums);
                }
            }
        }
    }

    /// Rows of a value, which are computed in a block of scratch memory if they are not stored.
    ///
    /// # Safety
    /// The rows must exist.
    pub(super) unsafe fn rows(
        &self,
        value: Value,
        rows: Range<usize>,
        channels: usize,
        scratch: &mut Scratch,
    ) -> Planes {
        // SAFETY: as promised by the caller.
        unsafe {
            let z = self.space.value(value.z).row(rows.start);
            if value.is_plain() {
                return z;
            }
            let target = scratch.block(1, rows.len(), channels, LANES);
            activate_rows(
                self.context.isa,
                &ActivateRows {
                    rows: rows.len(),
                    planes: planes(channels),
                    z,
                    norm: self.affine(value),
                    activation: value.activation,
                    factors: None,
                    target,
                },
            );
            target
        }
    }

    /// A depthwise convolution.
    ///
    /// # Safety
    /// The share must belong to the caller.
    unsafe fn filter(
        &self,
        step: &ConvStep,
        input: Value,
        taps: usize,
        share: &Share,
        scratch: &mut Scratch,
        sums: &mut Sums,
    ) {
        let (conv, shapes) = (&step.conv, &self.space.batch.shapes);
        let (before, after) = (shapes[input.z], shapes[step.layer]);
        let taps = self.packed(taps);
        let (source, target) = (self.space.value(input.z), self.space.value(step.layer));
        let size = conv.window.kernel * conv.window.kernel;
        let ring = scratch.ring(ring_length(before.width));
        let first = share.images.start;
        for plane in share.of(planes(conv.out_channels)) {
            // SAFETY: as promised by the caller.
            unsafe {
                let operands = DepthwiseForward {
                    images: share.images.len(),
                    height: before.height,
                    width: before.width,
                    kernel: conv.window.kernel,
                    stride: conv.window.stride,
                    zeros: conv.window.zeros((before.height, before.width)),
                    source: source.plane(plane).row(first * before.pixels()).src(),
                    norm: Some(self.affine_at(input, plane * LANES)),
                    activation: input.activation,
                    taps: taps.at(plane * LANES * size),
                    target: target.plane(plane).row(first * after.pixels()).start,
                    stream: self.context.streams(target),
                    ring,
                };
                depthwise_forward(self.context.isa, &operands, sums, plane * LANES);
            }
        }
    }
}
