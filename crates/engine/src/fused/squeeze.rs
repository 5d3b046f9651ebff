//! Squeeze-excite in training: two small fully connected layers, applied to the averages of each
//! image. The images of a group form one block of rows.

use super::context::{Context, Scratch};
use super::layout::{Matrix, SqueezeLayout};
use super::pointwise::Filtered;
use super::workspace::SqueezeSpace;
use crate::kernels::{
    Epilogue, NextRows, Product, SqueezeBackward, WeightGradient, activate_values, average,
    product, squeeze_backward, weight_gradient,
};
use crate::memory::{Dst, Planes, planes};
use crate::sigmoid::{sigmoid, silu_slope};
use crate::simd::LANES;
use crate::spec::Activation;

/// Computes the factors from the averages, for every image.
pub(super) fn squeeze(
    context: &Context<'_>,
    layer: &SqueezeLayout,
    input: &Filtered<'_>,
    space: &SqueezeSpace,
) {
    let SqueezeLayout { reduce, expand, .. } = layer;
    context.each_group(0, |group, scratch, _| {
        let (first, count) = (group.images.start, group.images.len());
        // SAFETY: tensors and packed weights have the layer's shape; a group writes its
        // own images.
        unsafe {
            let averages = space.averages.planes().row(first);
            let hidden = space.hidden.planes().row(first);
            let factors = space.factors.planes().row(first);
            average(
                context.isa,
                count,
                input.pixels,
                planes(reduce.inputs),
                input.z.row(first * input.pixels),
                input.norm.affine(),
                input.squeezed(),
                averages,
            );
            let none = Activation::Identity;
            if let Some(before) = &space.before {
                let before = before.planes().row(first);
                linear(context, scratch, reduce, count, averages, before, none);
                each_with(hidden, before, reduce.outputs, count, |_, x| {
                    x * sigmoid::<false>(x)
                });
            } else {
                let activation = layer.activation;
                linear(
                    context, scratch, reduce, count, averages, hidden, activation,
                );
            }
            linear(context, scratch, expand, count, hidden, factors, none);
            let all = planes(expand.outputs);
            activate_values(context.isa.with_f32(), count, all, layer.gate, factors);
        }
    });
}

/// # Safety
/// As for [`product`].
unsafe fn linear(
    context: &Context<'_>,
    scratch: &mut Scratch,
    matrix: &Matrix,
    rows: usize,
    a: Planes,
    c: Planes,
    activation: Activation,
) {
    // SAFETY: the matrix and its bias are stored at these offsets.
    unsafe {
        let operands = Product {
            rows,
            depth: matrix.inputs,
            columns: matrix.outputs,
            a: context.operand(scratch, 0, rows, matrix.inputs, a),
            b: context.weights.forward(matrix),
            c,
            next: NextRows::NONE,
        };
        let epilogue = Epilogue {
            bias: context.weights.bias(matrix),
            activation,
            ..Epilogue::NONE
        };
        product(context.isa, &operands, &epilogue);
    }
}

/// Updates each value in `rows` rows of `x` from the value at the same position of `y`.
///
/// # Safety
/// The caller must own the rows of `x`. The rows of `y` must exist.
unsafe fn each_with(
    x: Planes,
    y: Planes,
    channels: usize,
    rows: usize,
    f: impl Fn(f32, f32) -> f32,
) {
    for plane in 0..planes(channels) {
        // SAFETY: as promised by the caller.
        let (values, others) = unsafe { (slice_mut(x, plane, rows), slice(y, plane, rows)) };
        for (value, other) in values.iter_mut().zip(others) {
            *value = f(*value, *other);
        }
    }
}

/// `rows` rows of one plane.
///
/// # Safety
/// No thread may write to these rows.
unsafe fn slice<'a>(x: Planes, plane: usize, rows: usize) -> &'a [f32] {
    let length = rows * LANES;
    // SAFETY: as promised by the caller.
    unsafe { std::slice::from_raw_parts(x.plane(plane).src().pointer(0, length), length) }
}

/// `rows` rows of one plane, mutable.
///
/// # Safety
/// The caller must own these rows.
pub(super) unsafe fn slice_mut<'a>(x: Planes, plane: usize, rows: usize) -> &'a mut [f32] {
    let length = rows * LANES;
    // SAFETY: as promised by the caller.
    unsafe { std::slice::from_raw_parts_mut(x.plane(plane).start.pointer(0, length), length) }
}

/// The backward pass. `d` holds the gradient after the multiplication by the factors, and
/// `space.gradient` the gradient of the factors. `d` is overwritten with the gradient of the
/// normalisation's output. The sums for that normalisation are computed as well.
pub(super) fn squeeze_gradient(
    context: &Context<'_>,
    layer: &SqueezeLayout,
    input: &Filtered<'_>,
    space: &SqueezeSpace,
    d: Planes,
    gradient: Dst,
) {
    let SqueezeLayout { reduce, expand, .. } = layer;
    // The weights and biases of both layers are adjacent in the arena.
    let end = expand
        .bias
        .map_or(expand.weight, |(bias, _)| bias + expand.outputs);
    // SAFETY: the gradient holds the weights at this offset.
    let place = unsafe { gradient.at(reduce.weight) };
    context.each_group(reduce.inputs, |group, scratch, sums| {
        let (first, count) = (group.images.start, group.images.len());
        // SAFETY: as in `squeeze`; the group owns the partial gradient.
        unsafe {
            let partial = context.partial(group, place);
            let at = |offset: usize| partial.at(offset - reduce.weight);
            let averages = space.averages.planes().row(first);
            let hidden = space.hidden.planes().row(first);
            let factors = space.factors.planes().row(first);
            let wide = space.gradient.planes().row(first);
            let narrow = space.hidden_gradient.planes().row(first);
            if layer.gate == Activation::Sigmoid {
                each_with(wide, factors, expand.outputs, count, |d, factor| {
                    d * factor * (1.0 - factor)
                });
            } else {
                // The slope of hardsigmoid is zero where its value is 0 or 1.
                each_with(wide, factors, expand.outputs, count, |d, factor| {
                    if factor > 0.0 && factor < 1.0 {
                        d / 6.0
                    } else {
                        0.0
                    }
                });
            }
            let linear = LinearBackward {
                count,
                a: hidden,
                d: wide,
                weights: at(expand.weight),
                bias: expand.bias.map(|bias| at(bias.0)),
                target: narrow,
            };
            linear.run(context, scratch, expand);
            if let Some(before) = &space.before {
                let before = before.planes().row(first);
                each_with(narrow, before, reduce.outputs, count, |d, x| {
                    d * silu_slope::<false>(x)
                });
            } else {
                each_with(narrow, hidden, reduce.outputs, count, |d, hidden| {
                    if hidden > 0.0 { d } else { 0.0 }
                });
            }
            let linear = LinearBackward {
                count,
                a: averages,
                d: narrow,
                weights: at(reduce.weight),
                bias: reduce.bias.map(|bias| at(bias.0)),
                target: wide,
            };
            linear.run(context, scratch, reduce);
            let row = first * input.pixels;
            squeeze_backward(
                context.isa,
                &SqueezeBackward {
                    images: count,
                    pixels: input.pixels,
                    planes: planes(reduce.inputs),
                    d: d.row(row),
                    z: input.z.row(row),
                    norm: input.norm.affine(),
                    activation: input.squeezed(),
                    factors,
                    averages: wide,
                    target: d.row(row),
                },
                sums,
            );
        }
    });
    context.add_partials(place, end - reduce.weight);
}

/// The backward pass of a fully connected layer.
struct LinearBackward {
    /// Number of images.
    count: usize,
    /// The layer's input.
    a: Planes,
    /// The gradient of its output.
    d: Planes,
    /// Receive the gradients of the weights, of the bias and of the input.
    weights: Dst,
    bias: Option<Dst>,
    target: Planes,
}

impl LinearBackward {
    /// # Safety
    /// As for [`product`] and [`weight_gradient`]. `bias` must have space for the layer's outputs.
    unsafe fn run(&self, context: &Context<'_>, scratch: &mut Scratch, matrix: &Matrix) {
        let &Matrix {
            inputs, outputs, ..
        } = matrix;
        // SAFETY: as promised by the caller.
        unsafe {
            let a = context.operand(scratch, 0, self.count, inputs, self.a);
            let d = context.operand(scratch, 1, self.count, outputs, self.d);
            weight_gradient(
                context.isa,
                &WeightGradient {
                    rows: self.count,
                    inputs,
                    outputs: (0, outputs),
                    a,
                    d,
                    ranks: context.ranks(scratch, self.count, [inputs, outputs]),
                    gradient: self.weights,
                    accumulate: false,
                    next: NextRows::NONE,
                },
            );
            if let Some(bias) = self.bias {
                bias_gradient(self.d, self.count, outputs, 0..planes(outputs), bias);
            }
            let operands = Product {
                rows: self.count,
                depth: outputs,
                columns: inputs,
                a: d,
                b: context.weights.backward(matrix),
                c: self.target,
                next: NextRows::NONE,
            };
            product(context.isa, &operands, &Epilogue::NONE);
        }
    }
}

/// The gradient of a bias: for each channel, the sum of `d` over the rows. Computed for a range of
/// planes.
///
/// # Safety
/// `d` must hold the rows; `bias` must have space for all channels.
pub(super) unsafe fn bias_gradient(
    d: Planes,
    rows: usize,
    channels: usize,
    range: std::ops::Range<usize>,
    bias: Dst,
) {
    for plane in range {
        let count = LANES.min(channels - plane * LANES);
        // SAFETY: as promised by the caller.
        let (rows, bias) = unsafe {
            let bias = bias.pointer(plane * LANES, count);
            (
                slice(d, plane, rows),
                std::slice::from_raw_parts_mut(bias, count),
            )
        };
        let mut sums = [0.0_f64; LANES];
        for row in rows.as_chunks::<LANES>().0 {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        for (bias, sum) in bias.iter_mut().zip(sums) {
            *bias = sum as f32;
        }
    }
}
