//! 1×1 convolutions in training: matrix products, and the sums for batch normalisation.

use super::context::{Context, and_next, blocks, flush};
use super::input::Input;
use super::layout::Matrix;
use super::norm::Norm;
use crate::kernels::{
    ActivateRows, Before, Epilogue, FactoredBackward, Factors, Images, NextRows, Product,
    ProductSums, WeightGradient, activate_rows, combine, factor_gradient, factored_backward,
    planes_fetched, product, weight_gradient,
};
use crate::memory::{Dst, Planes, planes};
use crate::spec::Activation;

/// Computes `z = input * weights`, and the sums for the normalisation of `z`.
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
        for (rows, next) in and_next(blocks(context.isa, group.rows(pixels), channels)) {
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
                    next_rows(next, input.sources(matrix.inputs)),
                );
                flush(totals, sums);
            }
        }
    });
}

/// The rows `next` of the sources with these numbers of channels.
///
/// # Safety
/// The sources must have the rows.
unsafe fn next_rows(
    next: Option<std::ops::Range<usize>>,
    sources: [Option<(Planes, usize)>; 5],
) -> NextRows {
    let Some(next) = next else {
        return NextRows::NONE;
    };
    NextRows {
        rows: next.len(),
        sources: sources.map(|source| {
            // SAFETY: as promised by the caller.
            source.map(|(source, channels)| unsafe { (source.row(next.start), planes(channels)) })
        }),
        fetched: 0,
    }
}

/// Multiplies for the forward pass, and sums the outputs and their squares.
///
/// # Safety
/// As for [`product`].
unsafe fn multiply(
    context: &Context<'_>,
    matrix: &Matrix,
    rows: usize,
    a: Planes,
    c: Planes,
    [first, second]: [Dst; 2],
    next: NextRows,
) {
    let operands = Product {
        rows,
        depth: matrix.inputs,
        columns: matrix.outputs,
        a,
        b: context.weights.forward(matrix),
        c,
        next,
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
    unsafe { product(context.isa, &operands, &epilogue) }
}

/// Input of a projection: a normalised and activated convolution, with squeeze-excite if the block
/// has it.
#[derive(Clone, Copy)]
pub(super) struct Filtered<'a> {
    pub(super) z: Planes,
    pub(super) norm: &'a Norm,
    pub(super) activation: Activation,
    /// Factors of squeeze-excite, `[planes][images][16]`.
    pub(super) factors: Option<Planes>,
    /// Whether squeeze-excite comes before the activation.
    pub(super) squeeze_first: bool,
    pub(super) pixels: usize,
}

impl Filtered<'_> {
    /// The activation before squeeze-excite; the identity if squeeze-excite comes first.
    pub(super) fn squeezed(&self) -> Activation {
        if self.squeeze_first {
            Activation::Identity
        } else {
            self.activation
        }
    }

    /// # Safety
    /// The rows must exist in `z`, and must fit in `target`.
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

/// Computes `z = filtered * weights`, and the sums for the normalisation of `z`.
pub(super) fn project(context: &Context<'_>, matrix: &Matrix, input: &Filtered<'_>, z: Planes) {
    let channels = matrix.inputs + matrix.outputs;
    context.each_group(matrix.outputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.outputs);
        for (rows, next) in and_next(blocks(context.isa, group.rows(input.pixels), channels)) {
            let block = scratch.block(0, rows.len(), matrix.inputs, context.isa.pixel());
            // SAFETY: as in `expand`; the block belongs to this thread.
            unsafe {
                input.make(context, rows.clone(), matrix.inputs, block);
                let z = z.row(rows.start);
                let next = next_rows(
                    next,
                    [Some((input.z, matrix.inputs)), None, None, None, None],
                );
                multiply(context, matrix, rows.len(), block, z, totals, next);
                flush(totals, sums);
            }
        }
    });
}

/// The gradient of a layer's normalised output, and the coefficients that convert it into the gradient of the layer's
/// output.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a> {
    pub(super) d: Planes,
    pub(super) z: Planes,
    pub(super) norm: &'a Norm,
}

impl Behind<'_> {
    /// # Safety
    /// The rows must exist, and must fit in `target`.
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

/// Where the gradient of a block's input is stored.
#[derive(Clone, Copy)]
pub(super) struct InputGradient {
    pub(super) target: Planes,
    /// The gradient of the residual connection, which is added.
    pub(super) residual: Option<Planes>,
    /// The output of the previous projection, if its normalisation needs sums. With `None` the sums are zero.
    pub(super) with: Option<Planes>,
}

/// The backward pass of [`expand`].
#[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
pub(super) fn expand_backward(
    context: &Context<'_>,
    matrix: &Matrix,
    pixels: usize,
    behind: &Behind<'_>,
    input: Planes,
    gradient: Dst,
    input_gradient: &InputGradient,
) {
    // SAFETY: the gradient holds the matrix at this offset.
    let target = unsafe { gradient.at(matrix.weight) };
    let channels = matrix.outputs + matrix.inputs;
    let fetched = planes_fetched(context.isa, matrix.inputs, matrix.outputs);
    context.each_group(matrix.inputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.inputs);
        let partial = context.partial(group, target);
        let all = group.rows(pixels);
        for (rows, next) in and_next(blocks(context.isa, all.clone(), channels)) {
            let (start, count) = (rows.start, rows.len());
            let block = scratch.block(0, count, matrix.outputs, context.isa.pixel());
            let ranks = context.ranks(scratch, count, [matrix.inputs, matrix.outputs]);
            // SAFETY: tensors and packed weights have the layer's shape; a group writes its own rows
            // and its own partial gradient; the block belongs to this thread.
            unsafe {
                behind.make(context, rows, matrix.outputs, block);
                let next = next_rows(
                    next,
                    [
                        Some((behind.d, matrix.outputs)),
                        Some((behind.z, matrix.outputs)),
                        Some((input, matrix.inputs)),
                        input_gradient
                            .residual
                            .map(|source| (source, matrix.inputs)),
                        input_gradient.with.map(|source| (source, matrix.inputs)),
                    ],
                );
                weight_gradient(
                    context.isa,
                    &WeightGradient {
                        rows: count,
                        inputs: matrix.inputs,
                        outputs: (0, matrix.outputs),
                        a: input.row(start),
                        d: block,
                        ranks,
                        gradient: partial,
                        accumulate: start != all.start,
                        next,
                    },
                );
                let operands = Product {
                    rows: count,
                    depth: matrix.outputs,
                    columns: matrix.inputs,
                    a: block,
                    b: context.weights.backward(matrix),
                    c: input_gradient.target.row(start),
                    next: next.after(fetched),
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
                product(context.isa, &operands, &epilogue);
                flush(totals, sums);
            }
        }
    });
    context.add_partials(target, matrix.outputs * matrix.inputs);
}

/// The backward pass of [`project`]. Without squeeze-excite, it computes the gradient before the activation, and the
/// sums for the normalisation before that activation. With squeeze-excite, it computes only the gradient after the
/// multiplication by the factors, and writes the gradient of the factors to `factors`.
#[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
pub(super) fn project_backward(
    context: &Context<'_>,
    matrix: &Matrix,
    behind: &Behind<'_>,
    input: &Filtered<'_>,
    gradient: Dst,
    target: Planes,
    factors: Option<Planes>,
) {
    // SAFETY: the gradient holds the matrix at this offset.
    let place = unsafe { gradient.at(matrix.weight) };
    let channels = 2 * matrix.inputs + matrix.outputs;
    let fetched = planes_fetched(context.isa, matrix.inputs, matrix.outputs);
    context.each_group(matrix.inputs, |group, scratch, sums| {
        let totals = scratch.sums(matrix.inputs);
        let partial = context.partial(group, place);
        let all = group.rows(input.pixels);
        if let Some(factors) = factors {
            for plane in 0..planes(matrix.inputs) {
                // SAFETY: a group owns its images.
                unsafe {
                    let start = factors.plane(plane).row(group.images.start).start;
                    start.fill_zero(group.images.len() * crate::simd::LANES);
                }
            }
        }
        for (rows, next) in and_next(blocks(context.isa, all.clone(), channels)) {
            let (start, count) = (rows.start, rows.len());
            let d = scratch.block(0, count, matrix.outputs, context.isa.pixel());
            let a = scratch.block(1, count, matrix.inputs, context.isa.pixel());
            let ranks = context.ranks(scratch, count, [matrix.inputs, matrix.outputs]);
            // SAFETY: as in `expand_backward`.
            unsafe {
                behind.make(context, rows.clone(), matrix.outputs, d);
                input.make(context, rows, matrix.inputs, a);
                let next = next_rows(
                    next,
                    [
                        Some((behind.d, matrix.outputs)),
                        Some((behind.z, matrix.outputs)),
                        Some((input.z, matrix.inputs)),
                        None,
                        None,
                    ],
                );
                weight_gradient(
                    context.isa,
                    &WeightGradient {
                        rows: count,
                        inputs: matrix.inputs,
                        outputs: (0, matrix.outputs),
                        a,
                        d,
                        ranks,
                        gradient: partial,
                        accumulate: start != all.start,
                        next,
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
                    next: next.after(fetched),
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
                    product(context.isa, &operands, &epilogue);
                    flush(totals, sums);
                    continue;
                };
                product(context.isa, &operands, &Epilogue::NONE);
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
