//! A training step: the state that all phases share, and the forward pass.

use std::ops::Range;

use super::Layered;
use super::space::Workspace;
use crate::fused::context::{Context, Scratch};
use crate::fused::norm::Norm;
use crate::kernels::{Affine, Pixels, Reading, Sums, channel_sums};
use crate::memory::{Dst, Planes, planes};
use crate::network::{BatchNorm, Shape};
use crate::program::{Program, Step, Value};
use crate::simd::LANES;
use crate::spec::BatchNormSpec;

/// Number of planes that are whole panels on every instruction set.
const PANELS: usize = 6;

/// A part of a step's work: some images, and a part of what they need.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) images: Range<usize>,
    part: usize,
    parts: usize,
}

impl Share {
    pub(super) fn whole(images: Range<usize>) -> Share {
        Share {
            images,
            part: 0,
            parts: 1,
        }
    }

    pub(super) fn part(images: Range<usize>, part: usize, parts: usize) -> Share {
        Share {
            images,
            part,
            parts,
        }
    }

    /// This share of a number of things.
    pub(super) fn of(&self, count: usize) -> Range<usize> {
        count * self.part / self.parts..count * (self.part + 1) / self.parts
    }

    /// This share of packed planes of columns: whole panels on every instruction set.
    pub(super) fn of_panels(&self, planes: usize) -> Range<usize> {
        let range = self.of(planes.div_ceil(PANELS));
        // A single plane that remains belongs to the panel before it.
        let cut = |range: usize| {
            let at = range * PANELS;
            if range > 0 && at + 1 >= planes {
                planes
            } else {
                at
            }
        };
        cut(range.start)..cut(range.end)
    }

    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    pub(super) fn is_whole(&self) -> bool {
        self.parts == 1
    }
}

/// The batch normalisations of a pass, by layer.
pub(super) enum Norms<'a> {
    /// They change between phases.
    Own(Vec<Option<Norm>>),
    Shared(&'a [Option<Norm>]),
}

/// A forward or backward pass.
pub(super) struct Pass<'a> {
    pub(super) engine: &'a Layered,
    pub(super) program: &'a Program,
    pub(super) space: &'a Workspace,
    pub(super) context: Context<'a>,
    pub(super) parameters: &'a [f32],
    pub(super) pixels: Pixels<'a>,
    pub(super) norms: Norms<'a>,
    /// Two sums over all groups, by layer: of a value and its squares, or of a gradient and its products with the value.
    pub(super) totals: Vec<Option<[Vec<f64>; 2]>>,
    /// For each layer, the coefficients that correct its gradient for the normalisations that were skipped.
    pub(super) corrections: Vec<Option<[Vec<f32>; 2]>>,
    /// The gradient of all parameters; of length 0 in a forward pass.
    pub(super) gradient: Dst,
}

impl Pass<'_> {
    pub(super) fn parameter(&self, index: usize) -> Range<usize> {
        self.engine.plan.parameters.segments()[index].range.clone()
    }

    pub(super) fn norm(&self, layer: usize) -> &Norm {
        let norms = match &self.norms {
            Norms::Own(norms) => norms,
            Norms::Shared(norms) => *norms,
        };
        match &norms[layer] {
            Some(norm) => norm,
            None => unreachable!("layer {layer} is no normalisation"),
        }
    }

    pub(super) fn affine(&self, value: Value) -> Affine {
        match value.norm {
            Some(layer) => self.norm(layer).affine(),
            None => self.space.units.affine(),
        }
    }

    pub(super) fn affine_at(&self, value: Value, channel: usize) -> Affine {
        match value.norm {
            Some(layer) => self.norm(layer).affine_at(channel),
            None => self.space.units.affine(),
        }
    }

    pub(super) fn shape(&self, layer: usize) -> Shape {
        self.space.batch.shapes[layer]
    }

    /// A value from image `first` on.
    ///
    /// # Safety
    /// The image must exist.
    pub(super) unsafe fn reading(&self, value: Value, first: usize) -> Reading {
        let row = first * self.shape(value.z).pixels();
        Reading {
            // SAFETY: as promised by the caller.
            z: unsafe { self.space.value(value.z).row(row) },
            norm: value.norm.map(|layer| self.norm(layer).affine()),
            activation: value.activation,
        }
    }

    /// As [`Pass::reading`], from plane `plane` on.
    ///
    /// # Safety
    /// The image and the plane must exist.
    pub(super) unsafe fn reading_at(&self, value: Value, first: usize, plane: usize) -> Reading {
        // SAFETY: as promised by the caller.
        unsafe {
            let reading = self.reading(value, first);
            Reading {
                z: reading.z.plane(plane),
                norm: reading.norm.map(|_| self.affine_at(value, plane * LANES)),
                ..reading
            }
        }
    }

    /// The images' pixels from image `first` on.
    pub(super) fn image(&self, first: usize) -> Pixels<'_> {
        let (height, width) = self.space.batch.side;
        self.pixels.image(first, height * width)
    }

    /// Calls `work` on each group with the range of its rows in a layer, and its sums over the layer's channels.
    pub(super) fn each(
        &self,
        layer: usize,
        work: impl Fn(Range<usize>, &mut Scratch, &mut Sums) + Sync,
    ) {
        let shape = self.shape(layer);
        self.context
            .each_group(shape.channels, |group, scratch, sums| {
                work(group.rows(shape.pixels()), scratch, sums);
            });
    }

    pub(super) fn forward(&mut self, statistics: &mut [f32], momentum: f64) {
        let engine = self.engine;
        let steps = &self.program.steps;
        self.context.team.run(steps.len(), |index, _| {
            if let Step::Conv(step) = &steps[index] {
                self.pack(index, step);
            }
        });
        for (index, step) in engine.program.steps.iter().enumerate() {
            if let Step::Norm { layer, z, norm } = step {
                self.normalise(*layer, *z, norm, statistics, momentum);
                continue;
            }
            let layer = step.layer();
            let channels = self.shape(layer).channels;
            self.context.each_group(channels, |group, scratch, sums| {
                // SAFETY: a group writes its own rows.
                unsafe { self.compute(index, &Share::whole(group.images.clone()), scratch, sums) };
            });
            if self.space.summed[layer] {
                self.totals[layer] = Some(self.sums(channels));
            }
        }
    }

    /// The sums of the last phase over all groups.
    pub(super) fn sums(&self, channels: usize) -> [Vec<f64>; 2] {
        let mut found = [Vec::new(), Vec::new()];
        self.context.with_totals(channels, |totals| {
            found = totals.map(<[f64]>::to_vec);
        });
        found
    }

    fn normalise(
        &mut self,
        layer: usize,
        z: usize,
        norm: &BatchNorm,
        statistics: &mut [f32],
        momentum: f64,
    ) {
        let plan = &self.engine.plan;
        let mut totals = [Vec::new(), Vec::new()];
        for member in self.engine.program.members(plan, z) {
            if let Some(sums) = &self.totals[member] {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    total.extend_from_slice(sum);
                }
            }
        }
        let weights = [norm.weight, norm.weight + 1].map(|index| self.parameter(index));
        let segments = plan.statistics.segments();
        let mean = segments[norm.statistics].range.clone();
        let variance = segments[norm.statistics + 1].range.clone();
        // Mean and variance are adjacent.
        let (means, variances) = statistics.split_at_mut(variance.start);
        let running = [&mut means[mean], &mut variances[..norm.channels]];
        let constants = BatchNormSpec {
            epsilon: norm.epsilon,
            momentum,
        };
        let count = self.space.batch.rows(z) as f64;
        let parameters = weights.map(|range| &self.parameters[range]);
        if let Norms::Own(norms) = &mut self.norms
            && let Some(norm) = &mut norms[layer]
        {
            let totals = [&totals[0][..], &totals[1][..]];
            let isa = self.context.isa;
            norm.set_forward(isa, totals, count, constants, parameters, running);
        }
    }

    /// Computes a share of a step's value. Adds its sums, if a normalisation needs them.
    ///
    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn compute(
        &self,
        index: usize,
        share: &Share,
        scratch: &mut Scratch,
        sums: &mut Sums,
    ) {
        let step = &self.program.steps[index];
        // SAFETY: as promised by the caller.
        unsafe {
            match step {
                Step::Conv(step) => return self.convolve(index, step, share, scratch, sums),
                Step::Norm { .. } => return,
                Step::Other { .. } => unreachable!("the engine refuses such a network"),
                Step::Make { layer, input } => self.make(*layer, *input, None, share),
                Step::Add {
                    layer,
                    inputs,
                    activation,
                } => self.add(*layer, *inputs, *activation, share),
                Step::Gate {
                    layer,
                    map,
                    factors,
                } => self.make(*layer, *map, Some(self.space.value(*factors)), share),
                Step::Mask { layer, input, mask } => {
                    self.make(*layer, *input, Some(self.space.mask(*mask)), share);
                }
                Step::Pool {
                    layer,
                    input,
                    window,
                    largest,
                } => self.pool(*layer, *input, *window, *largest, share),
                Step::Average { layer, input } => self.average(*layer, *input, share),
                Step::Gather { layer, sources, .. } => self.gather(index, *layer, sources, share),
            }
            let layer = step.layer();
            if self.space.summed[layer] {
                let rows = self.all_rows(layer, share);
                let z = self.space.value(layer).row(rows.start);
                let count = planes(self.shape(layer).channels);
                channel_sums(self.context.isa, rows.len(), count, z, z, sums);
            }
        }
    }

    /// The rows of a share's images.
    pub(super) fn all_rows(&self, layer: usize, share: &Share) -> Range<usize> {
        let pixels = self.shape(layer).pixels();
        share.images.start * pixels..share.images.end * pixels
    }

    /// The share's part of its images' rows.
    pub(super) fn share_rows(&self, layer: usize, share: &Share) -> Range<usize> {
        let rows = self.all_rows(layer, share);
        let part = share.of(rows.len());
        rows.start + part.start..rows.start + part.end
    }

    /// Copies the logits to `[images][classes]`.
    pub(super) fn logits(&self, logits: &mut [f32]) {
        let layer = self.engine.plan.layers.len() - 1;
        let channels = self.engine.plan.channels[layer];
        copy_out(self.space.value(layer), channels, logits);
    }
}

/// Copies rows of `channels` channels out of planes.
pub(super) fn copy_out(from: Planes, channels: usize, rows: &mut [f32]) {
    for (index, row) in rows.chunks_exact_mut(channels).enumerate() {
        for (channel, value) in row.iter_mut().enumerate() {
            // SAFETY: the planes hold these rows.
            *value = unsafe {
                let plane = from.plane(channel / LANES).src();
                plane.get(index * LANES + channel % LANES)
            };
        }
    }
}

/// Copies rows of `channels` channels into planes. Unused channels become 0.
///
/// # Safety
/// The planes must have space for the rows, and nothing else may use them.
pub(super) unsafe fn copy_in(rows: &[f32], channels: usize, to: Planes) {
    let count = rows.len() / channels;
    for plane in 0..planes(channels) {
        // SAFETY: as promised by the caller.
        unsafe {
            let target = to.plane(plane).start;
            target.fill_zero(count * LANES);
            for (index, row) in rows.chunks_exact(channels).enumerate() {
                for (lane, value) in row[plane * LANES..].iter().take(LANES).enumerate() {
                    *target.pointer(index * LANES + lane, 1) = *value;
                }
            }
        }
    }
}
