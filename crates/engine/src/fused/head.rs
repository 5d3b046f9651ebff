//! The classifier in training. It has many weights and few rows (one per image). So the threads
//! divide the columns instead of the rows: each weight is read and summed by only one thread.

use std::ops::Range;

use super::context::{Context, Scratch, lock};
use super::layout::{Layout, Matrix};
use super::squeeze::{bias_gradient, slice_mut};
use super::workspace::HeadSpace;
use crate::isa::Isa;
use crate::kernels::{
    Epilogue, FeatureRows, NextRows, Product, WeightGradient, Weights, feature_rows,
    feature_rows_backward, product, weight_gradient,
};
use crate::memory::{Dst, Planes, Src, planes};
use crate::simd::LANES;

/// Number of planes in a task, twice as many in bf16, where each task prepares the operands of its product: whole panels
/// on every instruction set.
const TASK_PLANES: usize = 6;

/// Computes the logits `[images][classes]` from the pooled features. The factors of the dropout,
/// `[images][features]`, multiply the classifier's input.
pub(super) fn logits(
    context: &Context<'_>,
    layout: &Layout,
    space: &HeadSpace,
    images: usize,
    logits: &mut [f32],
) {
    let dropout = context.mask(layout.dropout);
    let features = space.features.planes();
    let mut source = space.pooled.planes();
    if let (Some(matrix), Some(hidden)) = (&layout.hidden, &space.hidden) {
        forward(context, matrix, images, source, hidden.planes());
        source = hidden.planes();
    }
    let rows = Features {
        hardswish: layout.hidden.is_some(),
        dropout,
        before: source,
        target: features,
    };
    rows.each_plane(context, layout, images, feature_rows);
    let classes = layout.classifier.outputs;
    let planes = space.logits.planes();
    forward(context, &layout.classifier, images, features, planes);
    for (image, row) in logits.chunks_exact_mut(classes).enumerate() {
        for (class, logit) in row.iter_mut().enumerate() {
            // SAFETY: the tensor holds all classes of all images.
            *logit = unsafe { element(planes, image, class) };
        }
    }
}

/// # Safety
/// The element must exist.
unsafe fn element(x: Planes, row: usize, channel: usize) -> f32 {
    // SAFETY: as promised by the caller.
    unsafe {
        let plane = x.plane(channel / LANES).src();
        plane.get(row * LANES + channel % LANES)
    }
}

/// The classifier's input, or its gradient.
struct Features<'a> {
    hardswish: bool,
    dropout: Option<&'a [f32]>,
    /// The input of the activation.
    before: Planes,
    target: Planes,
}

impl Features<'_> {
    /// Runs a kernel on each plane.
    fn each_plane(
        &self,
        context: &Context<'_>,
        layout: &Layout,
        images: usize,
        kernel: unsafe fn(Isa, &FeatureRows),
    ) {
        let width = layout.classifier.inputs;
        context.team.run(planes(width), |plane, _| {
            let rows = FeatureRows {
                images,
                plane,
                channels: LANES.min(width - plane * LANES),
                hardswish: self.hardswish,
                factors: self.dropout.map(|factors| (Src::of(factors), width)),
                before: self.before,
                target: self.target,
            };
            // SAFETY: a task writes its own plane; all operands have these rows.
            unsafe { kernel(context.isa, &rows) };
        });
    }
}

/// Calls `work` for ranges of planes that together cover `channels`.
fn each_range(
    context: &Context<'_>,
    channels: usize,
    work: impl Fn(Range<usize>, &mut Scratch) + Sync,
) {
    let planes = planes(channels);
    let most = TASK_PLANES * context.isa.rank();
    // If only one plane remains, the last task takes it: a separate task would change the panels.
    let tasks = (planes / most + usize::from(planes % most > 1)).max(1);
    context.team.run(tasks, |task, thread| {
        let end = if task + 1 == tasks {
            planes
        } else {
            (task + 1) * most
        };
        work(task * most..end, &mut lock(&context.scratch[thread]));
    });
}

#[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
fn columns(
    context: &Context<'_>,
    rows: usize,
    (depth, columns): (usize, usize),
    a: Planes,
    weights: Weights,
    bias: Option<Src>,
    c: Planes,
) {
    each_range(context, columns, |range, scratch| {
        let first = range.start * LANES;
        // SAFETY: ranges are whole panels and write their own planes.
        unsafe {
            let operands = Product {
                rows,
                depth,
                columns: columns.min(range.end * LANES) - first,
                a: context.operand(scratch, 0, rows, depth, a),
                b: weights.plane(context.isa.ranks(depth), range.start),
                c: c.plane(range.start),
                next: NextRows::NONE,
            };
            let epilogue = Epilogue {
                bias: bias.map(|bias| bias.at(first)),
                ..Epilogue::NONE
            };
            product(context.isa, &operands, &epilogue);
        }
    });
}

fn forward(context: &Context<'_>, matrix: &Matrix, rows: usize, a: Planes, c: Planes) {
    let shape = (matrix.inputs, matrix.outputs);
    let weights = context.weights.forward(matrix);
    let bias = context.weights.bias(matrix);
    columns(context, rows, shape, a, weights, bias, c);
}

/// Computes the gradients of the head's weights and, if requested, of the pooled features. The
/// input is the gradient of the logits, `[images][classes]`.
#[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
pub(super) fn logits_backward(
    context: &Context<'_>,
    layout: &Layout,
    space: &HeadSpace,
    images: usize,
    logits_gradient: &[f32],
    gradient: &mut [f32],
    pooled_wanted: bool,
) {
    let dropout = context.mask(layout.dropout);
    let classifier = &layout.classifier;
    let d = space.logits.planes();
    for plane in 0..planes(classifier.outputs) {
        // SAFETY: nothing else runs; the tensor holds these rows.
        let target = unsafe { slice_mut(d, plane, images) };
        target.fill(0.0);
        let rows = logits_gradient.chunks_exact(classifier.outputs);
        for (target, row) in target.chunks_exact_mut(LANES).zip(rows) {
            for (target, value) in target.iter_mut().zip(&row[plane * LANES..]) {
                *target = *value;
            }
        }
    }
    weights(
        context,
        classifier,
        images,
        space.features.planes(),
        d,
        gradient,
    );
    let Some(hidden) = &layout.hidden else {
        if pooled_wanted {
            let target = space.pooled_gradient.planes();
            inputs(context, classifier, images, d, target);
            if dropout.is_some() {
                let rows = Features {
                    hardswish: false,
                    dropout,
                    before: target,
                    target,
                };
                rows.each_plane(context, layout, images, feature_rows_backward);
            }
        }
        return;
    };
    let target = space.hidden_gradient.planes();
    inputs(context, classifier, images, d, target);
    if let Some(before) = &space.hidden {
        let rows = Features {
            hardswish: true,
            dropout,
            before: before.planes(),
            target,
        };
        rows.each_plane(context, layout, images, feature_rows_backward);
    }
    weights(
        context,
        hidden,
        images,
        space.pooled.planes(),
        target,
        gradient,
    );
    if pooled_wanted {
        let pooled = space.pooled_gradient.planes();
        inputs(context, hidden, images, target, pooled);
    }
}

fn inputs(context: &Context<'_>, matrix: &Matrix, rows: usize, d: Planes, target: Planes) {
    let shape = (matrix.outputs, matrix.inputs);
    let weights = context.weights.backward(matrix);
    columns(context, rows, shape, d, weights, None, target);
}

fn weights(
    context: &Context<'_>,
    matrix: &Matrix,
    rows: usize,
    a: Planes,
    d: Planes,
    gradient: &mut [f32],
) {
    // All tasks write to the gradient, each for its own outputs.
    let gradient = Dst::of(gradient);
    each_range(context, matrix.outputs, |range, scratch| {
        let first = range.start * LANES;
        let (inputs, outputs) = (matrix.inputs, matrix.outputs.min(range.end * LANES) - first);
        // SAFETY: a task writes the rows and biases of its own outputs, which are within the
        // gradient.
        unsafe {
            let d_range = d.plane(range.start);
            if let Some((bias, _)) = matrix.bias {
                bias_gradient(d, rows, matrix.outputs, range, gradient.at(bias));
            }
            weight_gradient(
                context.isa,
                &WeightGradient {
                    rows,
                    inputs,
                    outputs: (0, outputs),
                    a: context.operand(scratch, 0, rows, inputs, a),
                    d: context.operand(scratch, 1, rows, outputs, d_range),
                    ranks: context.ranks(scratch, rows, [inputs, outputs]),
                    gradient: gradient.at(matrix.weight + first * inputs),
                    accumulate: false,
                    next: NextRows::NONE,
                },
            );
        }
    });
}
