//! The backward pass of a training step.

use super::Fused;
use super::context::Context;
use super::forward::{depthwise_input, stem_of};
use super::head;
use super::input::block_input;
use super::layout::{BlockLayout, Layout};
use super::norm::Norm;
use super::pointwise::{Behind, Filtered, InputGradient, expand_backward, project_backward};
use super::squeeze::squeeze_gradient;
use super::workspace::{BlockSpace, Side, Workspace};
use crate::kernels::{
    ActivationBackward, DepthwiseBackward, DropRowsBackward, Pixels, TAPS, activation_backward,
    average_backward, channel_sums, depthwise_backward, drop_rows_backward, ring_length,
    stem_backward,
};
use crate::memory::{Buffer, Dst, Planes, Src, padded, planes};
use crate::simd::LANES;

impl Fused {
    pub(super) fn backward_pass(
        &self,
        workspace: &mut Workspace,
        parameters: &[f32],
        pixels: Pixels<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) {
        let _pass = self.team.pass();
        let layout = &self.layout;
        let mut norms = std::mem::take(&mut workspace.norms);
        let space = &*workspace;
        let context = self.context(space, parameters, masks);
        head::logits_backward(
            &context,
            layout,
            &space.head,
            space.images,
            logits_gradient,
            gradient,
            true,
        );
        // From here on the threads write to the gradient. Some of its sums are finished one phase
        // later.
        let gradient = Dst::of(gradient);
        let normalise = |norms: &mut [Norm], index: usize, pixels: usize| {
            let count = space.images * pixels;
            norms[index].backward(&context, &layout.norms[index], count, gradient);
        };
        let side = space.sides.last();
        let (matrix, norm) = &layout.last;
        let z = space.last.planes();
        let d = space.wide[0].reshaped(matrix.outputs, space.images * side.pixels());
        context.each_group(matrix.outputs, |group, _, sums| {
            let first = group.images.start;
            let row = first * side.pixels();
            // SAFETY: a group writes its own rows.
            unsafe {
                average_backward(
                    context.isa,
                    group.images.len(),
                    side.pixels(),
                    planes(matrix.outputs),
                    space.head.pooled_gradient.planes().row(first),
                    z.row(row),
                    norms[*norm].affine(),
                    layout.activation,
                    d.row(row),
                    sums,
                );
            }
        });
        normalise(&mut norms, *norm, side.pixels());
        let count = layout.blocks.len();
        // Index of the buffer with the gradient of the current block's output. Two buffers
        // alternate.
        let mut place = 0;
        let mut d_output =
            space.narrow[place].reshaped(matrix.inputs, space.images * side.pixels());
        let behind = Behind {
            d,
            z,
            norm: &norms[*norm],
        };
        let input_gradient = InputGradient {
            target: d_output,
            residual: None,
            with: projected(&context, layout, space, count),
        };
        expand_backward(
            &context,
            matrix,
            side.pixels(),
            &behind,
            block_input(space, count),
            gradient,
            &input_gradient,
        );

        for (index, block) in layout.blocks.iter().enumerate().rev() {
            let memory = &space.blocks[index];
            let (before, after) = (space.sides.blocks[index], space.sides.blocks[index + 1]);
            let rows = |pixels: usize| space.images * pixels;
            let (matrix, norm) = &block.project;
            let d_projected = drop_path(&context, space, block, memory, after, d_output);
            // Uses the sums that were computed together with the gradient of this block's output.
            normalise(&mut norms, *norm, after.pixels());
            let mut filtered = Filtered {
                z: memory.filtered.planes(),
                norm: &norms[block.depthwise.1],
                activation: block.activation,
                factors: memory
                    .squeeze
                    .as_ref()
                    .map(|squeeze| squeeze.factors.planes()),
                squeeze_first: block.squeeze_first,
                pixels: after.pixels(),
            };
            let behind = Behind {
                d: d_projected,
                z: memory.projected.planes(),
                norm: &norms[*norm],
            };
            let d_filtered = space.wide[1].reshaped(block.expanded, rows(after.pixels()));
            let factors = memory
                .squeeze
                .as_ref()
                .map(|squeeze| squeeze.gradient.planes());
            project_backward(
                &context, matrix, &behind, &filtered, gradient, d_filtered, factors,
            );
            if let (Some(layer), Some(memory)) = (&block.squeeze, &memory.squeeze) {
                filtered.factors = None;
                squeeze_gradient(&context, layer, &filtered, memory, d_filtered, gradient);
            }
            normalise(&mut norms, block.depthwise.1, after.pixels());

            place = 1 - place;
            let d_input = space.narrow[place].reshaped(block.in_channels, rows(before.pixels()));
            let residual = block.residual.then_some(d_output);
            if let (Some((matrix, norm)), Some(z)) = (&block.expand, &memory.expanded) {
                let d_expanded = space.wide[0].reshaped(block.expanded, rows(before.pixels()));
                self.depthwise_backward(
                    &context, space, &norms, index, d_filtered, None, d_expanded, gradient,
                );
                normalise(&mut norms, *norm, before.pixels());
                let behind = Behind {
                    d: d_expanded,
                    z: z.planes(),
                    norm: &norms[*norm],
                };
                let input_gradient = InputGradient {
                    target: d_input,
                    residual,
                    with: projected(&context, layout, space, index),
                };
                expand_backward(
                    &context,
                    matrix,
                    before.pixels(),
                    &behind,
                    block_input(space, index),
                    gradient,
                    &input_gradient,
                );
            } else {
                self.depthwise_backward(
                    &context, space, &norms, index, d_filtered, residual, d_input, gradient,
                );
                if let Some(z) = projected(&context, layout, space, index) {
                    input_sums(&context, before.pixels(), block.in_channels, d_input, z);
                }
            }
            d_output = d_input;
        }
        // This also finishes the gradient sums that the previous layer has left pending.
        self.stem_backward(&context, space, &mut norms, pixels, d_output, gradient);
        workspace.norms = norms;
    }

    #[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
    fn depthwise_backward(
        &self,
        context: &Context<'_>,
        space: &Workspace,
        norms: &[Norm],
        index: usize,
        d: Planes,
        residual: Option<Planes>,
        target: Planes,
        gradient: Dst,
    ) {
        let block = &self.layout.blocks[index];
        let (before, after) = (space.sides.blocks[index], space.sides.blocks[index + 1]);
        let input = depthwise_input(block, space, norms, index);
        let (taps, norm) = &block.depthwise;
        let z = space.blocks[index].filtered.planes();
        let zeros = before.zeros(self.layout.padding, block.kernel, block.stride);
        context.each_group(block.expanded, |group, scratch, sums| {
            let ring = scratch.ring(ring_length(after.width));
            let partial = space.tap_gradients[group.index].dst();
            for plane in 0..planes(block.expanded) {
                let channel = plane * LANES;
                // SAFETY: tensors have the layer's shape; a group writes its own rows and its
                // own gradient.
                unsafe {
                    let row =
                        |x: Planes, pixels: usize| x.plane(plane).row(group.rows(pixels).start);
                    let taps_gradient = partial.at(channel * taps.size);
                    taps_gradient.fill_zero(LANES * taps.size);
                    let operands = DepthwiseBackward {
                        images: group.images.len(),
                        height: before.height,
                        width: before.width,
                        kernel: block.kernel,
                        stride: block.stride,
                        zeros,
                        source: row(input.source, before.pixels()).src(),
                        norm: input.norm.map(|norm| norm.affine_at(channel)),
                        activation: input.activation,
                        taps: space.packed.src().at(taps.packed + channel * taps.size),
                        d: row(d, after.pixels()).src(),
                        z: row(z, after.pixels()).src(),
                        output_norm: norms[*norm].gradient_at(channel),
                        residual: residual.map(|residual| row(residual, before.pixels()).src()),
                        target: row(target, before.pixels()).start,
                        stream: context.streams(target),
                        taps_gradient,
                        ring,
                    };
                    depthwise_backward(context.isa, &operands, sums, channel);
                }
            }
        });
        taps_gradient(space, taps, gradient);
    }

    fn stem_backward(
        &self,
        context: &Context<'_>,
        space: &Workspace,
        norms: &mut [Norm],
        pixels: Pixels<'_>,
        d: Planes,
        gradient: Dst,
    ) {
        let layout: &Layout = &self.layout;
        let (taps, norm) = &layout.stem;
        let side = space.sides.blocks[0];
        let z = space.stem.planes();
        let affine = norms[*norm].affine();
        context.each_group(taps.channels, |group, _, sums| {
            let rows = group.rows(side.pixels());
            // SAFETY: a group writes its own rows.
            unsafe {
                let d = d.row(rows.start);
                activation_backward(
                    context.isa,
                    &ActivationBackward {
                        rows: rows.len(),
                        planes: planes(taps.channels),
                        d,
                        z: z.row(rows.start),
                        norm: affine,
                        activation: layout.activation,
                        target: d,
                    },
                    sums,
                );
            }
        });
        let count = space.images * side.pixels();
        norms[*norm].backward(context, &layout.norms[*norm], count, gradient);
        let behind = norms[*norm].gradient();
        context.each_group(0, |group, scratch, _| {
            let stem = stem_of(layout, space, group.images.len(), scratch);
            let pixels = pixels.image(group.images.start, space.sides.image.pixels());
            let row = group.rows(side.pixels()).start;
            let partial = space.tap_gradients[group.index].dst();
            // SAFETY: the partial gradient belongs to this group.
            unsafe {
                partial.fill_zero(padded(taps.channels) * TAPS);
                let (d, z) = (d.row(row), z.row(row));
                stem_backward(context.isa, &stem, pixels, d, z, behind, partial);
            }
        });
        taps_gradient(space, taps, gradient);
    }
}

/// The output of the previous block's projection, if its normalisation takes its sums from the gradient of this block's
/// input. `None` for the first block, and after stochastic depth, which computes them.
fn projected(
    context: &Context<'_>,
    layout: &Layout,
    space: &Workspace,
    index: usize,
) -> Option<Planes> {
    let before = index.checked_sub(1)?;
    let dropped = context.mask(layout.blocks[before].drop_path);
    (dropped.is_none()).then(|| space.blocks[before].projected.planes())
}

/// The gradient of a projection's normalised output, from the gradient `d` of the block's output. With stochastic
/// depth, also computes the sums for that normalisation.
fn drop_path(
    context: &Context<'_>,
    space: &Workspace,
    block: &BlockLayout,
    memory: &BlockSpace,
    side: Side,
    d: Planes,
) -> Planes {
    let (Some(factors), Some(target)) = (context.mask(block.drop_path), &space.dropped) else {
        return d;
    };
    let pixels = side.pixels();
    let target = target.reshaped(block.out_channels, space.images * pixels);
    let z = memory.projected.planes();
    context.each_group(block.out_channels, |group, _, sums| {
        let row = group.rows(pixels).start;
        // SAFETY: a group writes its own rows.
        unsafe {
            let operands = DropRowsBackward {
                images: group.images.len(),
                pixels,
                planes: planes(block.out_channels),
                factors: Src::of(&factors[group.images.clone()]),
                d: d.row(row),
                z: z.row(row),
                target: target.row(row),
            };
            drop_rows_backward(context.isa, &operands, sums);
        }
    });
    target
}

/// Computes the sums for the normalisation before a block that has no expansion.
fn input_sums(context: &Context<'_>, pixels: usize, channels: usize, d: Planes, z: Planes) {
    context.each_group(channels, |group, _, sums| {
        let rows = group.rows(pixels);
        // SAFETY: both tensors hold these rows.
        unsafe {
            let (d, z) = (d.row(rows.start), z.row(rows.start));
            channel_sums(context.isa, rows.len(), planes(channels), d, z, sums);
        }
    });
}

/// Adds up all groups' gradients of one layer's kernel weights, and stores the result in torch's
/// layout.
fn taps_gradient(space: &Workspace, taps: &super::layout::KernelWeights, gradient: Dst) {
    let groups = &space.tap_gradients[..space.groups.len()];
    // SAFETY: the gradient holds these weights; no thread writes to them.
    unsafe { sum_taps(groups, taps.channels, taps.size, gradient.at(taps.weight)) }
}

/// Adds up the parts of a gradient of kernel weights, `[plane][size][16]` each, and stores the sum as
/// `[channels][size]`.
///
/// # Safety
/// The gradient must have space for the weights, and no thread may use it.
pub(crate) unsafe fn sum_taps(groups: &[Buffer], channels: usize, size: usize, gradient: Dst) {
    let length = channels * size;
    // SAFETY: as promised by the caller.
    let target = unsafe { std::slice::from_raw_parts_mut(gradient.pointer(0, length), length) };
    for (plane, target) in target.chunks_mut(LANES * size).enumerate() {
        for tap in 0..size {
            let at = (plane * size + tap) * LANES;
            let mut sums = [0.0; LANES];
            for group in groups {
                for (sum, value) in sums.iter_mut().zip(&group.as_slice()[at..at + LANES]) {
                    *sum += value;
                }
            }
            for (target, sum) in target[tap..].iter_mut().step_by(size).zip(sums) {
                *target = sum;
            }
        }
    }
}
