//! The gradient of weights in bf16.

use super::at_least;
use super::backward::ConvBackward;
use crate::kernels::{Frame, NarrowFrame, NextRows, WeightGradient, narrow_frame, weight_gradient};
use crate::memory::{Buffer, Dst, Planes, plane_stride, planes};
use crate::simd::LANES;

/// Memory for a band's pixels as matrices.
#[derive(Default)]
pub(super) struct Matrices {
    a: Option<Buffer>,
    d: Option<Buffer>,
    ranks: [Option<Buffer>; 2],
}

/// A band's frames, and where their pixels start.
pub(super) struct Frames<'a> {
    pub(super) input: Frame,
    pub(super) taps: &'a [usize],
    pub(super) output: Frame,
    pub(super) first: usize,
    /// Output rows of each image.
    pub(super) rows: usize,
}

/// Adds a band's part of the weights' gradient, `[taps][outputs][inputs]`: for each tap, the gradient of a fully connected
/// layer over the pixels that the tap reads.
///
/// # Safety
/// The frames hold all pixels, and `gradient` all its values.
pub(super) unsafe fn gradient_of_taps(
    o: &ConvBackward<'_>,
    frames: &Frames<'_>,
    matrices: &mut Matrices,
    gradient: Dst,
    accumulate: bool,
) {
    let shape = o.shape;
    let isa = shape.isa;
    let pixels = frames.input.images * frames.rows * shape.columns;
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let a = matrix(&mut matrices.a, pixels, isa.pixel(), inputs);
    let d = matrix(&mut matrices.d, pixels, isa.pixel(), outputs);
    let needs_ranks = !isa.has_tiles();
    let ranks = needs_ranks.then(|| {
        let [a, d] = &mut matrices.ranks;
        [(a, inputs), (d, outputs)]
            .map(|(buffer, channels)| matrix(buffer, pixels.div_ceil(isa.rank()), LANES, channels))
    });
    let rows = |frame: Frame, first, step, channels, target| NarrowFrame {
        frame,
        planes: planes(channels),
        first,
        rows: frames.rows,
        step,
        columns: shape.columns,
        target,
    };
    // SAFETY: the matrices hold all pixels; the caller promises the rest.
    unsafe {
        narrow_frame(isa, &rows(frames.output, frames.first, 1, outputs, d));
        for (index, &tap) in frames.taps.iter().enumerate() {
            narrow_frame(isa, &rows(frames.input, tap, shape.step(), inputs, a));
            let operands = WeightGradient {
                rows: pixels,
                inputs,
                outputs: (0, outputs),
                a,
                d,
                ranks,
                gradient: gradient.at(index * outputs * inputs),
                accumulate,
                next: NextRows::NONE,
            };
            weight_gradient(isa, &operands);
        }
    }
}

/// Planes of this many pixels, of `pixel` values each.
fn matrix(buffer: &mut Option<Buffer>, pixels: usize, pixel: usize, channels: usize) -> Planes {
    let stride = plane_stride(pixels, pixel);
    Planes {
        start: at_least(buffer, planes(channels) * stride),
        stride,
        pixel,
    }
}
