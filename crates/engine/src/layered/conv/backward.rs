//! The backward pass.

use std::ops::Range;

use super::bf16::{Frames, gradient_of_taps};
use super::shape::{Band, ConvShape};
use super::{Scratch, at_least};
use crate::kernels::{
    Before, Behind, ConvEpilogue, ConvGradient, ConvTiles, Fill, Frame, Place, Reading, Sums,
    conv_gradient, conv_tiles, fill, fill_behind, pair_planes, unpack_gradient, unpack_taps,
};
use crate::memory::{Dst, Planes, Src, planes};

/// The operands of [`conv_backward`].
#[derive(Clone)]
pub(crate) struct ConvBackward<'a> {
    pub(crate) shape: &'a ConvShape,
    pub(crate) images: usize,
    /// The input of the convolution.
    pub(crate) source: Reading,
    /// The gradient of its output.
    pub(crate) behind: Behind,
    /// Packed by [`ConvShape::pack_backward`]. Read only with a target.
    pub(crate) weights: Src,
    /// Receives the gradient of the weights, in torch's layout.
    pub(crate) gradient: Dst,
    /// Receives the gradient of the input.
    pub(crate) target: Option<InputTarget>,
}

/// Where the gradient of the input goes. All operands have the shape of the input.
#[derive(Clone, Copy)]
pub(crate) struct InputTarget {
    pub(crate) target: Planes,
    /// Multiplies by the derivative of this activation.
    pub(crate) before: Option<Before>,
    /// Multiplies by a factor for each channel, after the sums.
    pub(crate) scale: Option<Src>,
    /// Added after that. It may be the target itself.
    pub(crate) addend: Option<Planes>,
    /// If sums are wanted, the second one adds up products with these values.
    pub(crate) sums_with: Option<Planes>,
}

/// Computes the gradients of weights and input. With `sums`, adds the sums of the input's gradient.
///
/// # Safety
/// All operands have the shape's sizes, from the group's first image on. The caller owns both results.
pub(crate) unsafe fn conv_backward(
    o: &ConvBackward<'_>,
    scratch: &mut Scratch,
    mut sums: Option<&mut Sums>,
) {
    let shape = o.shape;
    // Of all that is not a product.
    let isa = shape.isa.with_f32();
    let halo = Halo::new(shape);
    // The gradient of a matrix in bf16 needs no rearrangement.
    let in_place = shape.is_bf16() && shape.taps() == 1;
    let partial = match in_place {
        true => o.gradient,
        false => at_least(&mut scratch.gradient, shape.gradient_length()),
    };
    let none = Dst::of(&mut []);
    let inputs = planes(shape.in_channels);
    let outputs = planes(shape.out_channels);
    // Rows of the input count in strides.
    let rows = shape.rows.max(shape.height.div_ceil(shape.stride));
    let bands = ConvShape::bands(o.images, 0..rows, |images, rows| {
        let input = shape.input_frame(none, images, rows).values(inputs);
        input.max(halo.frame(shape, none, images, rows).values(outputs))
    });
    if bands.is_empty() {
        // SAFETY: the buffer has this length.
        unsafe { partial.fill_zero(shape.gradient_length()) };
    }
    for (index, band) in bands.iter().enumerate() {
        let mut frame = halo.frame(shape, none, band.images.len(), band.rows.len());
        frame.start = at_least(&mut scratch.output, frame.length(outputs));
        let operands = Fill {
            frame,
            planes: 0..outputs,
            height: shape.rows,
            width: shape.columns,
            stride: 1,
            row: band.rows.start as isize + halo.before[0],
            column: halo.before[1],
        };
        // SAFETY: the frames have the sizes that the band reads; the caller promises the rest.
        unsafe {
            let first = band.images.start * shape.rows * shape.columns;
            fill_behind(isa, &operands, &o.behind.row(first));
            weights_gradient(o, &halo, band, &frame, scratch, partial, index > 0);
            if let Some(target) = &o.target {
                if shape.is_bf16() {
                    pair_planes(shape.isa, &frame, shape.out_channels);
                }
                input_gradient(o, &halo, band, &frame, target, sums.as_deref_mut());
            }
        }
    }
    if in_place {
        return;
    }
    if shape.is_bf16() {
        let pairs = shape.out_channels * shape.in_channels;
        // SAFETY: both have the length of all weights.
        unsafe { unpack_taps(isa, shape.taps(), pairs, partial.src(), o.gradient) };
        return;
    }
    let order = [];
    for panel in &shape.forward {
        let packing = shape.packing(panel, &order, false);
        // SAFETY: both have the length of all weights.
        unsafe {
            let panel = partial.src().at(panel.gradient);
            unpack_gradient(isa, &packing, panel, o.gradient);
        }
    }
}

/// Rows and columns of zeros, or of other bands, that a frame of the output's gradient has around a band.
struct Halo {
    /// The first row and column that the band's first pixel of the input needs; at most 0.
    before: [isize; 2],
    /// Rows and columns after the last; at least 0.
    after: [isize; 2],
}

impl Halo {
    fn new(shape: &ConvShape) -> Halo {
        let mut halo = Halo {
            before: [0; 2],
            after: [0; 2],
        };
        for tap in shape.phases.iter().flat_map(|phase| &phase.taps) {
            for (axis, &offset) in tap.iter().enumerate() {
                halo.before[axis] = halo.before[axis].min(offset);
                halo.after[axis] = halo.after[axis].max(offset);
            }
        }
        halo
    }

    fn frame(&self, shape: &ConvShape, start: Dst, images: usize, rows: usize) -> Frame {
        let [above, left] = [0, 1].map(|axis| (self.after[axis] - self.before[axis]) as usize);
        let columns = shape.columns.max(shape.width.div_ceil(shape.stride));
        Frame {
            start,
            images,
            rows: rows + above,
            columns: columns + left,
            phases: 1,
        }
    }

    /// The place in a frame of the output that is `row` and `column` away from the band's first.
    fn offset(&self, frame: &Frame, [row, column]: [isize; 2]) -> usize {
        let (row, column) = (row - self.before[0], column - self.before[1]);
        frame.offset(row as usize, column as usize)
    }
}

/// Adds a band's part of the weights' gradient.
///
/// # Safety
/// See [`conv_backward`].
#[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
unsafe fn weights_gradient(
    o: &ConvBackward<'_>,
    halo: &Halo,
    band: &Band,
    output: &Frame,
    scratch: &mut Scratch,
    partial: Dst,
    accumulate: bool,
) {
    let shape = o.shape;
    let all = planes(shape.in_channels);
    let rows = clipped(&band.rows, shape.rows);
    let mut frame = shape.input_frame(Dst::of(&mut []), band.images.len(), rows.len());
    frame.start = at_least(&mut scratch.input, frame.length(all));
    let operands = Fill {
        frame,
        planes: 0..all,
        height: shape.height,
        width: shape.width,
        stride: shape.stride,
        row: (rows.start * shape.stride) as isize - shape.zeros[0] as isize,
        column: -(shape.zeros[1] as isize),
    };
    let taps = shape.input_taps(&frame);
    let first = band.images.start * shape.height * shape.width;
    // SAFETY: as promised by the caller.
    unsafe {
        fill(shape.isa.with_f32(), &operands, &o.source.row(first));
        if shape.is_bf16() {
            let frames = Frames {
                input: frame,
                taps: &taps,
                output: *output,
                first: halo.offset(output, [0, 0]),
                rows: rows.len(),
            };
            gradient_of_taps(o, &frames, &mut scratch.matrices, partial, accumulate);
            return;
        }
        for panel in &shape.forward {
            let start = panel.plane * crate::simd::LANES;
            let end = start + panel.width * crate::simd::LANES;
            conv_gradient(
                shape.isa,
                &ConvGradient {
                    input: frame,
                    taps: &taps,
                    step: shape.step(),
                    planes: panel.reads(),
                    output: *output,
                    first: halo.offset(output, [0, 0]),
                    rows: rows.len(),
                    columns: shape.columns,
                    outputs: (start, end.min(shape.out_channels)),
                    gradient: partial.at(panel.gradient),
                    accumulate,
                },
            );
        }
    }
}

/// Computes a band's part of the input's gradient.
///
/// # Safety
/// See [`conv_backward`].
unsafe fn input_gradient(
    o: &ConvBackward<'_>,
    halo: &Halo,
    band: &Band,
    output: &Frame,
    target: &InputTarget,
    mut sums: Option<&mut Sums>,
) {
    let shape = o.shape;
    let (height, width, stride) = (shape.height, shape.width, shape.stride);
    let epilogue = ConvEpilogue {
        before: target.before,
        scale: target.scale,
        addend: target.addend,
        sums_with: target.sums_with,
        ..ConvEpilogue::NONE
    };
    let places: Vec<Vec<usize>> = (shape.phases.iter())
        .map(|phase| {
            let taps = phase.taps.iter();
            taps.map(|&tap| halo.offset(output, tap)).collect()
        })
        .collect();
    for panel in &shape.backward {
        let tap = panel.tap();
        for (phase, taps) in shape.phases.iter().zip(&places) {
            // Rows and columns of the phase.
            let count = |size: usize, phase: usize| size.saturating_sub(phase).div_ceil(stride);
            let rows = clipped(&band.rows, count(height, phase.row));
            let first = band.images.start * height + rows.start * stride + phase.row;
            // SAFETY: as promised by the caller.
            unsafe {
                let tiles = ConvTiles {
                    frame: *output,
                    taps,
                    step: 1,
                    ranks: panel.rank_range(),
                    weights: o.weights.at(panel.weights + phase.first * tap),
                    plane: panel.plane,
                    width: panel.width,
                    rows: rows.len(),
                    columns: count(width, phase.column),
                    target: target.target,
                    place: Place {
                        first: first * width + phase.column,
                        image: height * width,
                        row: stride * width,
                        column: stride,
                    },
                };
                conv_tiles(shape.isa, &tiles, &epilogue, sums.as_deref_mut());
            }
        }
    }
}

/// The rows of a band that are less than `end`.
fn clipped(rows: &Range<usize>, end: usize) -> Range<usize> {
    rows.start.min(end)..rows.end.min(end)
}
