//! The forward pass.

use std::ops::Range;

use super::shape::ConvShape;
use super::{Scratch, at_least};
use crate::kernels::{ConvEpilogue, ConvTiles, Fill, Place, Reading, Sums, conv_tiles, fill_ranks};
use crate::memory::{Planes, Src, planes};
use crate::spec::Activation;

/// The operands of [`conv_forward`].
#[derive(Clone)]
pub(crate) struct ConvForward<'a> {
    pub(crate) shape: &'a ConvShape,
    pub(crate) images: usize,
    pub(crate) source: Reading,
    /// Packed by [`ConvShape::pack_forward`].
    pub(crate) weights: Src,
    pub(crate) target: Planes,
    /// A bias for each channel, padded to whole planes.
    pub(crate) bias: Option<Src>,
    /// Added before the activation; has the shape of the target.
    pub(crate) addend: Option<Planes>,
    pub(crate) activation: Activation,
    /// The outputs to compute; all with `None`.
    pub(crate) part: Option<Part>,
}

/// A part of a convolution's outputs.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Output rows of each image.
    pub(crate) rows: Range<usize>,
    /// Panels of output channels, of [`ConvShape::panels`].
    pub(crate) panels: Range<usize>,
}

/// Computes `activation(convolution + bias + addend)`. Adds the outputs and their squares to `sums`.
///
/// # Safety
/// All operands have the shape's sizes, from the group's first image on. The caller owns the target's part.
pub(crate) unsafe fn conv_forward(
    o: &ConvForward<'_>,
    scratch: &mut Scratch,
    mut sums: Option<&mut Sums>,
) {
    let shape = o.shape;
    let part = o.part.clone().unwrap_or(Part {
        rows: 0..shape.rows,
        panels: 0..shape.forward.len(),
    });
    let panels = &shape.forward[part.panels];
    if panels.is_empty() || part.rows.is_empty() {
        return;
    }
    let reads = panels.iter().map(|panel| panel.reads());
    let read = reads.fold((usize::MAX, 0), |all, (from, to)| {
        (all.0.min(from), all.1.max(to))
    });
    let epilogue = ConvEpilogue {
        bias: o.bias,
        shortcut: o.addend,
        activation: o.activation,
        ..ConvEpilogue::NONE
    };
    let all = planes(shape.in_channels);
    let none = crate::memory::Dst::of(&mut []);
    let bands = ConvShape::bands(o.images, part.rows, |images, rows| {
        shape.input_frame(none, images, rows).values(all)
    });
    for band in bands {
        let images = band.images.len();
        let mut frame = shape.input_frame(none, images, band.rows.len());
        frame.start = at_least(&mut scratch.input, frame.length(all));
        let operands = Fill {
            frame,
            planes: read.0..read.1,
            height: shape.height,
            width: shape.width,
            stride: shape.stride,
            row: (band.rows.start * shape.stride) as isize - shape.zeros[0] as isize,
            column: -(shape.zeros[1] as isize),
        };
        let taps = shape.input_taps(&frame);
        let pixels = shape.rows * shape.columns;
        // SAFETY: the frame has the size that the band reads; the caller promises the rest.
        unsafe {
            let first = band.images.start * shape.height * shape.width;
            let source = o.source.row(first);
            fill_ranks(shape.isa, &operands, &source, shape.in_channels);
            for panel in panels {
                let tiles = ConvTiles {
                    frame,
                    taps: &taps,
                    step: shape.step(),
                    ranks: panel.rank_range(),
                    weights: o.weights.at(panel.weights),
                    plane: panel.plane,
                    width: panel.width,
                    rows: band.rows.len(),
                    columns: shape.columns,
                    target: o.target,
                    place: Place {
                        first: band.images.start * pixels + band.rows.start * shape.columns,
                        image: pixels,
                        row: shape.columns,
                        column: 1,
                    },
                };
                conv_tiles(shape.isa, &tiles, &epilogue, sums.as_deref_mut());
            }
        }
    }
}
