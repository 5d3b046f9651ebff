//! The backward pass of convolutions and fully connected layers.

use std::ops::Range;

use super::conv::{ConvBackward, InputTarget, StemBackward, conv_backward, stem_backward};
use super::convolution::ROWS;
use super::pass::Pass;
use super::space::{BackStep, Sink};
use crate::fused::context::{Scratch, blocks_of, flush};
use crate::kernels::{
    Before, Behind, DepthwiseBackward, Epilogue, NextRows, Product, ProductSums, Sums,
    WeightGradient, Weights, channel_sums, combine, depthwise_backward, product, ring_length,
    weight_gradient,
};
use crate::memory::{Dst, Planes, Src, planes};
use crate::program::{ConvStep, Kind, Value};
use crate::simd::LANES;
use crate::spec::Activation;

impl Pass<'_> {
    /// The gradients of weights and input.
    pub(super) fn convolve_backward(&self, step: &ConvStep, back: &BackStep, d: Planes) {
        let conv = &step.conv;
        let range = self.parameter(conv.weight);
        // SAFETY: the gradient holds the weights.
        let target = unsafe { self.gradient.at(range.start) };
        let sink = back.sinks.first();
        let pixels = self.space.batch.shapes[step.layer].pixels();
        let shape = self.space.fitted[back.step].shape.as_ref();
        let isa = self.context.isa;
        self.context
            .each_group(conv.in_channels, |group, scratch, sums| {
                let (first, images) = (group.images.start, group.images.len());
                let rows = group.rows(pixels);
                // SAFETY: a group writes its own rows and its own part of the gradient.
                unsafe {
                    let behind = Behind {
                        d: d.row(rows.start),
                        z: self.space.value(step.layer).row(rows.start),
                        norm: self.behind(step.layer, back, 0),
                    };
                    match (step.kind, step.input, shape) {
                        (Kind::Depthwise, Some(input), _) => {
                            let partial = self.space.taps[group.index].dst();
                            self.filter_backward(
                                step,
                                (input, back, d),
                                (first, images),
                                partial,
                                scratch,
                                sums,
                            );
                        }
                        (Kind::Stem, _, Some(shape)) => {
                            let operands = StemBackward {
                                shape,
                                images,
                                pixels: self.image(first),
                                behind,
                                gradient: self.context.partial(group, target),
                            };
                            stem_backward(isa, &operands, &mut scratch.conv);
                        }
                        (_, Some(input), Some(shape)) => {
                            let before = self.space.batch.shapes[input.z].pixels() * first;
                            let operands = ConvBackward {
                                shape,
                                images,
                                source: self.reading(input, first),
                                behind,
                                weights: self.packed(
                                    self.space.fitted[back.step].packs.backward.unwrap_or(0),
                                ),
                                gradient: self.context.partial(group, target),
                                target: sink.map(|sink| self.input_target(sink, before)),
                            };
                            let sums = sink.is_some_and(|sink| sink.sums).then_some(sums);
                            conv_backward(&operands, &mut scratch.conv, sums);
                        }
                        (_, Some(input), _) => {
                            let partial = self.context.partial(group, target);
                            self.multiply_backward(
                                step,
                                (input, back, d),
                                rows,
                                partial,
                                scratch,
                                sums,
                            );
                        }
                        _ => unreachable!("a convolution has an input"),
                    }
                }
            });
        if step.kind == Kind::Depthwise {
            self.taps_gradient(step, range.start);
        } else {
            self.context.add_partials(target, range.len());
        }
    }

    /// # Safety
    /// The row must exist.
    unsafe fn input_target(&self, sink: &Sink, row: usize) -> InputTarget {
        let z = self.space.value(sink.value.z);
        // SAFETY: as promised by the caller.
        unsafe {
            InputTarget {
                target: self.space.planes(sink.target).row(row),
                before: self.before(sink, row),
                scale: sink.direct.then(|| self.affine(sink.value).scale),
                addend: sink.addend.map(|place| self.space.planes(place).row(row)),
                sums_with: sink.sums.then_some(z.row(row)),
            }
        }
    }

    /// # Safety
    /// The row must exist.
    unsafe fn before(&self, sink: &Sink, row: usize) -> Option<Before> {
        let activation = sink.value.activation;
        (activation != Activation::Identity).then(|| Before {
            // SAFETY: as promised by the caller.
            z: unsafe { self.space.value(sink.value.z).row(row) },
            norm: self.affine(sink.value),
            activation,
        })
    }

    /// # Safety
    /// The rows and the part of the gradient must belong to the caller.
    unsafe fn multiply_backward(
        &self,
        step: &ConvStep,
        (input, back, d): (Value, &BackStep, Planes),
        all: Range<usize>,
        partial: Dst,
        scratch: &mut Scratch,
        sums: &mut Sums,
    ) {
        let (conv, isa) = (&step.conv, self.context.isa);
        let (inputs, outputs) = (conv.in_channels, conv.out_channels);
        let z = self.space.value(step.layer);
        let totals = scratch.sums(inputs);
        let weights = match self.space.fitted[back.step].packs.backward {
            Some(place) => Weights::Packed(self.packed(place)),
            None => {
                let start = self.parameter(conv.weight).start;
                Weights::Rows(Src::of(&self.parameters[start..]), inputs)
            }
        };
        for rows in blocks_of(isa, ROWS, all.clone(), 2 * inputs + outputs) {
            let (start, count) = (rows.start, rows.len());
            // SAFETY: as promised by the caller; the blocks belong to this thread.
            unsafe {
                let mut d = d.row(start);
                if let Some(norm) = self.behind(step.layer, back, 0) {
                    let block = scratch.block(0, count, outputs, LANES);
                    combine(isa, count, planes(outputs), d, z.row(start), norm, block);
                    d = block;
                }
                let a = self.rows(input, rows, inputs, scratch);
                weight_gradient(
                    isa,
                    &WeightGradient {
                        rows: count,
                        inputs,
                        outputs: (0, outputs),
                        a,
                        d,
                        ranks: None,
                        gradient: partial,
                        accumulate: start != all.start,
                        next: NextRows::NONE,
                    },
                );
                let Some(sink) = back.sinks.first() else {
                    continue;
                };
                let c = self.space.planes(sink.target).row(start);
                let operands = Product {
                    rows: count,
                    depth: outputs,
                    columns: inputs,
                    a: d,
                    b: weights,
                    c,
                    next: NextRows::NONE,
                };
                let epilogue = Epilogue {
                    before: self.before(sink, start),
                    scale: sink.direct.then(|| self.affine(sink.value).scale),
                    addend: sink.addend.map(|place| self.space.planes(place).row(start)),
                    sums: sink.sums.then(|| ProductSums {
                        first: totals[0],
                        second: totals[1],
                        with: Some(self.space.value(sink.value.z).row(start)),
                    }),
                    stream: sink.addend.is_none() && self.context.streams(c),
                    ..Epilogue::NONE
                };
                product(isa, &operands, &epilogue);
                if sink.sums {
                    flush(totals, sums);
                }
            }
        }
    }

    /// # Safety
    /// The images and the part of the gradient must belong to the caller.
    unsafe fn filter_backward(
        &self,
        step: &ConvStep,
        (input, back, d): (Value, &BackStep, Planes),
        (first, images): (usize, usize),
        partial: Dst,
        scratch: &mut Scratch,
        sums: &mut Sums,
    ) {
        let (conv, shapes) = (&step.conv, &self.space.batch.shapes);
        let (before, after) = (shapes[input.z], shapes[step.layer]);
        let taps = self.packed(self.space.fitted[back.step].packs.forward);
        let size = conv.window.kernel * conv.window.kernel;
        let ring = scratch.ring(ring_length(after.width));
        let Some(sink) = back.sinks.first() else {
            unreachable!("a depthwise convolution has an input");
        };
        let target = self.space.planes(sink.target);
        let addend = sink.addend.map(|place| self.space.planes(place));
        for plane in 0..planes(conv.out_channels) {
            let channel = plane * LANES;
            // SAFETY: as promised by the caller.
            unsafe {
                let row = |x: Planes, pixels: usize| x.plane(plane).row(first * pixels);
                let taps_gradient = partial.at(channel * size);
                taps_gradient.fill_zero(LANES * size);
                let operands = DepthwiseBackward {
                    images,
                    height: before.height,
                    width: before.width,
                    kernel: conv.window.kernel,
                    stride: conv.window.stride,
                    zeros: conv.window.zeros((before.height, before.width)),
                    source: row(self.space.value(input.z), before.pixels()).src(),
                    norm: Some(self.affine_at(input, channel)),
                    activation: input.activation,
                    taps: taps.at(channel * size),
                    d: row(d, after.pixels()).src(),
                    z: row(self.space.value(step.layer), after.pixels()).src(),
                    output_norm: (self.behind(step.layer, back, channel))
                        .unwrap_or_else(|| self.space.units.backward()),
                    residual: addend.map(|addend| row(addend, before.pixels()).src()),
                    target: row(target, before.pixels()).start,
                    stream: addend.is_none() && self.context.streams(target),
                    taps_gradient,
                    ring,
                };
                depthwise_backward(self.context.isa, &operands, sums, channel);
            }
        }
    }

    /// Adds up all groups' gradients of a depthwise convolution's weights.
    fn taps_gradient(&self, step: &ConvStep, start: usize) {
        let (channels, kernel) = (step.conv.out_channels, step.conv.window.kernel);
        let parts = &self.space.taps[..self.space.groups.len()];
        // SAFETY: the gradient holds these weights, and no thread writes to them.
        unsafe {
            let place = self.gradient.at(start);
            crate::fused::sum_taps(parts, channels, kernel * kernel, place);
        }
    }

    /// The gradient of a bias: the sum of the gradient over all pixels.
    pub(super) fn bias_gradient(&self, step: &ConvStep, d: Planes) {
        let Some(bias) = step.conv.bias else {
            return;
        };
        let channels = step.conv.out_channels;
        let pixels = self.space.batch.shapes[step.layer].pixels();
        self.context.each_group(channels, |group, _, sums| {
            let rows = group.rows(pixels);
            // SAFETY: the gradient has these rows.
            unsafe {
                let d = d.row(rows.start);
                channel_sums(self.context.isa, rows.len(), planes(channels), d, d, sums);
            }
        });
        let range = self.parameter(bias);
        // SAFETY: the gradient holds the bias, and no thread writes to it.
        let target = unsafe {
            std::slice::from_raw_parts_mut(self.gradient.pointer(range.start, channels), channels)
        };
        self.context.with_totals(channels, |[sums, _]| {
            for (target, sum) in target.iter_mut().zip(sums) {
                *target = *sum as f32;
            }
        });
    }
}
