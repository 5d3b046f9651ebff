//! The forward pass of a training step.

use super::context::Context;
use super::head;
use super::input::{Input, block_input, input};
use super::layout::{BlockLayout, Layout};
use super::pointwise::{Filtered, expand, project};
use super::squeeze::squeeze;
use super::workspace::Workspace;
use super::{Fused, RunningStatistics};
use crate::kernels::{
    ActivateRows, DepthwiseForward, Pixels, Stem, activate_rows, average, depthwise_forward,
    pack_inputs, pack_outputs, pack_taps, ring_length, stem_forward,
};
use crate::memory::{Planes, Src, planes};
use crate::simd::LANES;
use crate::spec::{Activation, BatchNormSpec};

impl Fused {
    pub(super) fn forward_pass(
        &self,
        workspace: &mut Workspace,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        pixels: Pixels<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) {
        let _pass = self.team.pass();
        let layout = &self.layout;
        // The norms change between phases. Everything else is shared by the phases.
        let mut norms = std::mem::take(&mut workspace.norms);
        let space = &*workspace;
        let context = self.context(space, parameters, masks);
        pack(&context, layout, parameters, space);
        let constants = BatchNormSpec {
            momentum: statistics.momentum,
            ..self.plan.batch_norm
        };
        let mut normalise = |norms: &mut Vec<super::norm::Norm>, index: usize, pixels| {
            norms[index].forward(
                &context,
                &layout.norms[index],
                space.images * pixels,
                constants,
                parameters,
                statistics.values,
            );
        };

        let side = space.sides.blocks[0];
        stem(&context, layout, space, pixels);
        normalise(&mut norms, layout.stem.1, side.pixels());
        let output = space.stem_output.planes();
        context.each_group(0, |group, _, _| {
            let rows = group.rows(side.pixels());
            // SAFETY: a group writes its own rows.
            unsafe {
                activate_rows(
                    context.isa,
                    &ActivateRows {
                        rows: rows.len(),
                        planes: planes(layout.stem.0.channels),
                        z: space.stem.planes().row(rows.start),
                        norm: norms[layout.stem.1].affine(),
                        activation: layout.activation,
                        factors: None,
                        target: output.row(rows.start),
                    },
                );
            }
        });

        for (index, block) in layout.blocks.iter().enumerate() {
            let memory = &space.blocks[index];
            let (before, after) = (space.sides.blocks[index], space.sides.blocks[index + 1]);
            if let (Some((matrix, norm)), Some(z)) = (&block.expand, &memory.expanded) {
                let input = input(&context, layout, space, &norms, index);
                expand(&context, matrix, before.pixels(), input, z.planes());
                normalise(&mut norms, *norm, before.pixels());
            } else if let input @ Input::Projected { .. } =
                input(&context, layout, space, &norms, index)
            {
                context.each_group(0, |group, _, _| {
                    // SAFETY: a group writes its own rows.
                    unsafe {
                        input.make(&context, group.rows(before.pixels()), block.in_channels);
                    }
                });
            }
            depthwise(&context, layout, space, &norms, index);
            normalise(&mut norms, block.depthwise.1, after.pixels());
            let mut filtered = Filtered {
                z: memory.filtered.planes(),
                norm: &norms[block.depthwise.1],
                activation: block.activation,
                factors: None,
                squeeze_first: block.squeeze_first,
                pixels: after.pixels(),
            };
            if let (Some(layer), Some(memory)) = (&block.squeeze, &memory.squeeze) {
                squeeze(&context, layer, &filtered, memory);
                filtered.factors = Some(memory.factors.planes());
            }
            let (matrix, norm) = &block.project;
            project(&context, matrix, &filtered, memory.projected.planes());
            normalise(&mut norms, *norm, after.pixels());
        }

        let pixels = space.sides.last().pixels();
        let (matrix, norm) = &layout.last;
        let input = input(&context, layout, space, &norms, layout.blocks.len());
        expand(&context, matrix, pixels, input, space.last.planes());
        normalise(&mut norms, *norm, pixels);
        context.each_group(0, |group, _, _| {
            let first = group.images.start;
            // SAFETY: a group writes its own images.
            unsafe {
                average(
                    context.isa,
                    group.images.len(),
                    pixels,
                    planes(matrix.outputs),
                    space.last.planes().row(first * pixels),
                    norms[*norm].affine(),
                    layout.activation,
                    space.head.pooled.planes().row(first),
                );
            }
        });
        head::logits(&context, layout, &space.head, space.images, logits);
        workspace.norms = norms;
    }
}

fn pack(context: &Context<'_>, layout: &Layout, parameters: &[f32], space: &Workspace) {
    let target = space.packed.dst();
    let matrices = layout.matrices.len();
    context.team.run(matrices + 1, |task, _| {
        // SAFETY: every layer's weights have their own range.
        unsafe {
            let Some(matrix) = layout.matrices.get(task) else {
                for taps in &layout.taps {
                    let weights = Src::of(&parameters[taps.weight..]);
                    let target = target.at(taps.packed);
                    pack_taps(taps.channels, taps.size, weights, target);
                }
                return;
            };
            let (outputs, inputs) = (matrix.outputs, matrix.inputs);
            let weights = Src::of(&parameters[matrix.weight..][..outputs * inputs]);
            if let Some(backward) = matrix.backward {
                pack_inputs(context.isa, outputs, inputs, weights, target.at(backward));
            }
            let forward = target.at(matrix.forward);
            pack_outputs(context.isa, outputs, inputs, weights, forward);
            if let Some((bias, packed)) = matrix.bias {
                let values = &parameters[bias..][..outputs];
                let place = target.at(packed).pointer(0, outputs);
                std::ptr::copy_nonoverlapping(values.as_ptr(), place, outputs);
            }
        }
    });
}

/// The stem's geometry for some images.
pub(super) fn stem_of(
    layout: &Layout,
    space: &Workspace,
    images: usize,
    scratch: &mut super::context::Scratch,
) -> Stem {
    let side = space.sides.image;
    Stem {
        images,
        height: side.height,
        width: side.width,
        stride: layout.stem_stride,
        zeros: side.zeros(layout.padding, 3, layout.stem_stride),
        planes: planes(layout.stem.0.channels),
        // SAFETY: the packed weights contain the stem's weights at this offset.
        taps: unsafe { space.packed.src().at(layout.stem.0.packed) },
        scratch: scratch.ring(Stem::scratch_length(side.width)),
    }
}

fn stem(context: &Context<'_>, layout: &Layout, space: &Workspace, pixels: Pixels<'_>) {
    let channels = layout.stem.0.channels;
    context.each_group(channels, |group, scratch, sums| {
        let stem = stem_of(layout, space, group.images.len(), scratch);
        let rows = group.rows(space.sides.blocks[0].pixels());
        let pixels = pixels.image(group.images.start, space.sides.image.pixels());
        // SAFETY: a group writes its own rows.
        unsafe {
            let z = space.stem.planes().row(rows.start);
            stem_forward(context.isa, &stem, pixels, z, sums);
        }
    });
}

/// Input of a depthwise convolution: the normalised expansion, or the block's input.
pub(super) struct DepthwiseInput<'a> {
    pub(super) source: Planes,
    pub(super) norm: Option<&'a super::norm::Norm>,
    pub(super) activation: Activation,
}

pub(super) fn depthwise_input<'a>(
    block: &BlockLayout,
    space: &Workspace,
    norms: &'a [super::norm::Norm],
    index: usize,
) -> DepthwiseInput<'a> {
    match (&block.expand, &space.blocks[index].expanded) {
        (Some((_, norm)), Some(z)) => DepthwiseInput {
            source: z.planes(),
            norm: Some(&norms[*norm]),
            activation: block.activation,
        },
        _ => DepthwiseInput {
            source: block_input(space, index),
            norm: None,
            activation: Activation::Identity,
        },
    }
}

fn depthwise(
    context: &Context<'_>,
    layout: &Layout,
    space: &Workspace,
    norms: &[super::norm::Norm],
    index: usize,
) {
    let block = &layout.blocks[index];
    let (before, after) = (space.sides.blocks[index], space.sides.blocks[index + 1]);
    let input = depthwise_input(block, space, norms, index);
    let (taps, _) = &block.depthwise;
    let target = space.blocks[index].filtered.planes();
    let zeros = before.zeros(layout.padding, block.kernel, block.stride);
    context.each_group(block.expanded, |group, scratch, sums| {
        let ring = scratch.ring(ring_length(before.width));
        for plane in 0..planes(block.expanded) {
            // SAFETY: tensors have the layer's shape; a group writes its own rows.
            unsafe {
                let source = input
                    .source
                    .plane(plane)
                    .row(group.rows(before.pixels()).start);
                let target = target.plane(plane).row(group.rows(after.pixels()).start);
                let operands = DepthwiseForward {
                    images: group.images.len(),
                    height: before.height,
                    width: before.width,
                    kernel: block.kernel,
                    stride: block.stride,
                    zeros,
                    source: source.src(),
                    norm: input.norm.map(|norm| norm.affine_at(plane * LANES)),
                    activation: input.activation,
                    taps: space
                        .packed
                        .src()
                        .at(taps.packed + plane * LANES * taps.size),
                    target: target.start,
                    stream: context.streams(target),
                    ring,
                };
                depthwise_forward(context.isa, &operands, sums, plane * LANES);
            }
        }
    });
}
