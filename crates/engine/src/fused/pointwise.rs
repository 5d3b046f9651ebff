//! 1×1 convolutions in training: the products, and what batch normalisation asks for.

use super::context::{Context, blocks, flush};
use super::layout::Matrix;
use super::norm::Norm;
use crate::kernels::{
    ActivateRows, Before, Epilogue, FactoredBackward, Factors, Images, NormaliseRows, Product,
    ProductSums, WeightGradient, activate_rows, combine, factor_gradient, factored_backward,
    normalise_rows, product, weight_gradient,
};
use crate::memory::{Dst, Planes, planes};
use crate::spec::Activation;

/// What a block's expansion (or the last convolution) reads: the output of the block before.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// It stands there.
    Ready(Planes),
    /// It is made on the way, and kept: the normalised projection, plus the residual.
    Projected {
        z: Planes,
        norm: &'a Norm,
        residual: Option<Planes>,
        output: Planes,
    },
}

impl Input<'_> {
    pub(super) fn output(&self) -> Planes {
        match *self {
            Input::Ready(output) | Input::Projected { output, .. } => output,
        }
    }

    /// Makes `rows` of it.
    ///
    /// # Safety
    /// The rows must be those of the caller's group.
    pub(super) unsafe fn make(
        &self,
        context: &Context<'_>,
        rows: std::ops::Range<usize>,
        channels: usize,
    ) {
        if let Input::Projected {
            z,
            norm,
            residual,
            output,
        } = *self
        {
            let start = rows.start;
            // SAFETY: all have these rows, which are the caller's.
            unsafe {
                normalise_rows(
                    context.isa,
                    &NormaliseRows {
                        rows: rows.len(),
                        planes: planes(channels),
                        z: z.row(start),
                        norm: norm.affine(),
                        residual: residual.map(|residual| residual.row(start)),
                        target: output.row(start),
                    },
                );
            }
        }
    }
}

/// `z = input * weights`, with the sums of the normalisation behind it.
pub(super) fn expand(
    context: &Context<'_>,
    matrix: &Matrix,
    pixels: usize,
    input: Input<'_>,
    z: Planes,
) {
    let channels = matrix.inputs + matrix.outputs;
    context.each_group(matrix.outputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.outputs);
        for rows in blocks(group.rows(pixels), channels) {
            // SAFETY: tensors and packed weights have the layer's shape; a group writes its
            // own rows.
            unsafe {
                input.make(context, rows.clone(), matrix.inputs);
                multiply(
                    context,
                    matrix,
                    rows.len(),
                    input.output().row(rows.start),
                    z.row(rows.start),
                    totals,
                );
                flush(totals, sums);
            }
        }
    });
}

/// # Safety
/// As [`product`]; forward, with sums of values and squares.
unsafe fn multiply(
    context: &Context<'_>,
    matrix: &Matrix,
    rows: usize,
    a: Planes,
    c: Planes,
    [first, second]: [Dst; 2],
) {
    let operands = Product {
        rows,
        depth: matrix.inputs,
        columns: matrix.outputs,
        a,
        b: context.weights.forward(matrix),
        c,
    };
    let epilogue = Epilogue {
        sums: Some(ProductSums {
            first,
            second,
            with: None,
        }),
        stream: context.streams(c),
        ..Epilogue::NONE
    };
    // SAFETY: as promised by the caller.
    unsafe { product(matrix.isa, &operands, &epilogue) }
}

/// What a projection reads: a normalised, activated and perhaps squeezed convolution.
#[derive(Clone, Copy)]
pub(super) struct Filtered<'a> {
    pub(super) z: Planes,
    pub(super) norm: &'a Norm,
    pub(super) activation: Activation,
    /// Of squeeze-excite, `[planes][images][16]`.
    pub(super) factors: Option<Planes>,
    /// Whether squeeze-excite comes before the activation.
    pub(super) squeeze_first: bool,
    pub(super) pixels: usize,
}

impl Filtered<'_> {
    /// Applied before squeeze-excite averages and multiplies.
    pub(super) fn squeezed(&self) -> Activation {
        if self.squeeze_first {
            Activation::Identity
        } else {
            self.activation
        }
    }

    /// # Safety
    /// The rows must exist in `z`, and fit `target`.
    unsafe fn make(
        &self,
        context: &Context<'_>,
        rows: std::ops::Range<usize>,
        channels: usize,
        target: Planes,
    ) {
        let images = Images {
            first_row: rows.start,
            pixels: self.pixels,
        };
        // SAFETY: as promised by the caller.
        unsafe {
            activate_rows(
                context.isa,
                &ActivateRows {
                    rows: rows.len(),
                    planes: planes(channels),
                    z: self.z.row(rows.start),
                    norm: self.norm.affine(),
                    activation: self.activation,
                    factors: self.factors.map(|values| Factors {
                        values,
                        images,
                        before_activation: self.squeeze_first,
                    }),
                    target,
                },
            );
        }
    }
}

/// `z = filtered * weights`, with the sums of the normalisation behind it.
pub(super) fn project(context: &Context<'_>, matrix: &Matrix, input: &Filtered<'_>, z: Planes) {
    let channels = matrix.inputs + matrix.outputs;
    context.each_group(matrix.outputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.outputs);
        for rows in blocks(group.rows(input.pixels), channels) {
            let block = scratch.block(0, rows.len(), matrix.inputs, context.isa.pixel());
            // SAFETY: as in `expand`; the block is this thread's.
            unsafe {
                input.make(context, rows.clone(), matrix.inputs, block);
                let z = z.row(rows.start);
                multiply(context, matrix, rows.len(), block, z, totals);
                flush(totals, sums);
            }
        }
    });
}

/// The gradient behind a layer's normalisation, and what makes the layer's own of it.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a> {
    pub(super) d: Planes,
    pub(super) z: Planes,
    pub(super) norm: &'a Norm,
}

impl Behind<'_> {
    /// # Safety
    /// The rows must exist, and fit `target`.
    unsafe fn make(
        &self,
        context: &Context<'_>,
        rows: std::ops::Range<usize>,
        channels: usize,
        target: Planes,
    ) {
        // SAFETY: as promised by the caller.
        unsafe {
            combine(
                context.isa,
                rows.len(),
                planes(channels),
                self.d.row(rows.start),
                self.z.row(rows.start),
                self.norm.gradient(),
                target,
            );
        }
    }
}

/// Where the gradient of a block's input goes.
#[derive(Clone, Copy)]
pub(super) struct InputGradient {
    pub(super) target: Planes,
    /// The gradient that came past the block.
    pub(super) residual: Option<Planes>,
    /// The projection before, whose normalisation needs sums; zeros otherwise.
    pub(super) with: Option<Planes>,
}

/// The way back through [`expand`].
#[allow(clippy::too_many_arguments, reason = "a layer's operands are many")]
pub(super) fn expand_backward(
    context: &Context<'_>,
    matrix: &Matrix,
    pixels: usize,
    behind: &Behind<'_>,
    input: Planes,
    gradient: Dst,
    input_gradient: &InputGradient,
) {
    // SAFETY: the matrix lies there.
    let target = unsafe { gradient.at(matrix.weight) };
    let channels = matrix.outputs + matrix.inputs;
    context.each_group(matrix.inputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.inputs);
        let partial = context.partial(group, target);
        let all = group.rows(pixels);
        for rows in blocks(all.clone(), channels) {
            let (start, count) = (rows.start, rows.len());
            let block = scratch.block(0, count, matrix.outputs, context.isa.pixel());
            let ranks = context.ranks(scratch, count, matrix.outputs);
            // SAFETY: tensors and packed weights have the layer's shape; a group writes
            // its own rows and its own partial gradient; the block is this thread's.
            unsafe {
                behind.make(context, rows, matrix.outputs, block);
                weight_gradient(
                    matrix.isa,
                    &WeightGradient {
                        rows: count,
                        inputs: matrix.inputs,
                        outputs: (0, matrix.outputs),
                        a: input.row(start),
                        d: block,
                        ranks,
                        gradient: partial,
                        accumulate: start != all.start,
                    },
                );
                let operands = Product {
                    rows: count,
                    depth: matrix.outputs,
                    columns: matrix.inputs,
                    a: block,
                    b: context.weights.backward(matrix),
                    c: input_gradient.target.row(start),
                };
                let epilogue = Epilogue {
                    addend: input_gradient.residual.map(|residual| residual.row(start)),
                    sums: input_gradient.with.map(|with| ProductSums {
                        first: totals[0],
                        second: totals[1],
                        with: Some(with.row(start)),
                    }),
                    ..Epilogue::NONE
                };
                product(matrix.isa, &operands, &epilogue);
                flush(totals, sums);
            }
        }
    });
    context.add_partials(target, matrix.outputs * matrix.inputs);
}

/// The way back through [`project`]: to the gradient before the activation, with the sums of
/// the normalisation there. With squeeze-excite only to the gradient behind the
/// factors (which is before the activation where they are), and to that of the factors in `factors`.
#[allow(clippy::too_many_arguments, reason = "a layer's operands are many")]
pub(super) fn project_backward(
    context: &Context<'_>,
    matrix: &Matrix,
    behind: &Behind<'_>,
    input: &Filtered<'_>,
    gradient: Dst,
    target: Planes,
    factors: Option<Planes>,
) {
    // SAFETY: the matrix lies there.
    let place = unsafe { gradient.at(matrix.weight) };
    let channels = 2 * matrix.inputs + matrix.outputs;
    context.each_group(matrix.inputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.inputs);
        let partial = context.partial(group, place);
        let all = group.rows(input.pixels);
        if let Some(factors) = factors {
            for plane in 0..planes(matrix.inputs) {
                // SAFETY: a group's images are its own.
                unsafe {
                    let start = factors.plane(plane).row(group.images.start).start;
                    start.fill_zero(group.images.len() * crate::simd::LANES);
                }
            }
        }
        for rows in blocks(all.clone(), channels) {
            let (start, count) = (rows.start, rows.len());
            let d = scratch.block(0, count, matrix.outputs, context.isa.pixel());
            let a = scratch.block(1, count, matrix.inputs, context.isa.pixel());
            let ranks = context.ranks(scratch, count, matrix.outputs);
            // SAFETY: as in `expand_backward`.
            unsafe {
                behind.make(context, rows.clone(), matrix.outputs, d);
                input.make(context, rows, matrix.inputs, a);
                weight_gradient(
                    matrix.isa,
                    &WeightGradient {
                        rows: count,
                        inputs: matrix.inputs,
                        outputs: (0, matrix.outputs),
                        a,
                        d,
                        ranks,
                        gradient: partial,
                        accumulate: start != all.start,
                    },
                );
                let (target, z) = (target.row(start), input.z.row(start));
                let norm = input.norm.affine();
                let operands = Product {
                    rows: count,
                    depth: matrix.outputs,
                    columns: matrix.inputs,
                    a: d,
                    b: context.weights.backward(matrix),
                    c: target,
                };
                let Some(factors) = factors else {
                    let epilogue = Epilogue {
                        before: Some(Before {
                            z,
                            norm,
                            activation: input.activation,
                        }),
                        sums: Some(ProductSums {
                            first: totals[0],
                            second: totals[1],
                            with: Some(z),
                        }),
                        stream: context.streams(target),
                        ..Epilogue::NONE
                    };
                    product(matrix.isa, &operands, &epilogue);
                    flush(totals, sums);
                    continue;
                };
                product(matrix.isa, &operands, &Epilogue::NONE);
                let planes = planes(matrix.inputs);
                let images = Images {
                    first_row: start,
                    pixels: input.pixels,
                };
                if let (true, Some(factors)) = (input.squeeze_first, input.factors) {
                    let operands = FactoredBackward {
                        rows: count,
                        planes,
                        images,
                        d: target,
                        z,
                        norm,
                        activation: input.activation,
                        factors,
                    };
                    factored_backward(context.isa, &operands);
                }
                let activation = input.squeezed();
                factor_gradient(
                    context.isa,
                    count,
                    planes,
                    images,
                    target,
                    z,
                    norm,
                    activation,
                    factors,
                );
            }
        }
    });
    context.add_partials(place, matrix.outputs * matrix.inputs);
}
