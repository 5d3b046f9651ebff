//! The input of a layer in training: the output of the previous block.

use super::context::Context;
use super::layout::Layout;
use super::norm::Norm;
use super::workspace::Workspace;
use crate::kernels::{DropRows, Images, NormaliseRows, drop_rows, normalise_rows};
use crate::memory::{Planes, Src, planes};

/// Input of a block's expansion or of the last convolution. It is the output of the previous block.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// The input is already computed.
    Ready(Planes),
    /// To be computed from the normalised projection plus the residual, and then kept in `output`.
    Projected {
        z: Planes,
        norm: &'a Norm,
        residual: Option<Planes>,
        /// The factors of stochastic depth, one for each image of this many pixels. There is a residual then.
        dropped: Option<(Src, usize)>,
        output: Planes,
    },
}

impl Input<'_> {
    pub(super) fn output(&self) -> Planes {
        match *self {
            Input::Ready(output) | Input::Projected { output, .. } => output,
        }
    }

    /// The activations that [`Input::make`] or its reader reads, with their number of channels.
    pub(super) fn sources(&self, channels: usize) -> [Option<(Planes, usize)>; 5] {
        let sources = match *self {
            Input::Ready(output) => [Some(output), None, None, None, None],
            Input::Projected { z, residual, .. } => [Some(z), residual, None, None, None],
        };
        sources.map(|source| source.map(|source| (source, channels)))
    }

    /// Computes these rows of the input, unless they are already computed.
    ///
    /// # Safety
    /// The rows must belong to the caller's group.
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
            dropped,
            output,
        } = *self
        {
            let start = rows.start;
            if let (Some((factors, pixels)), Some(residual)) = (dropped, residual) {
                // SAFETY: all tensors have these rows, which the caller owns.
                unsafe {
                    let operands = DropRows {
                        rows: rows.len(),
                        planes: planes(channels),
                        images: Images {
                            first_row: start,
                            pixels,
                        },
                        factors,
                        z: z.row(start),
                        norm: norm.affine(),
                        residual: residual.row(start),
                        target: output.row(start),
                    };
                    drop_rows(context.isa, &operands);
                }
                return;
            }
            // SAFETY: all tensors have these rows, which the caller owns.
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

/// The input of block `index`. After the last block: the input of the last convolution.
pub(super) fn input<'a>(
    context: &Context<'_>,
    layout: &Layout,
    space: &Workspace,
    norms: &'a [Norm],
    index: usize,
) -> Input<'a> {
    let Some(before) = index.checked_sub(1) else {
        return Input::Ready(space.stem_output.planes());
    };
    let block = &layout.blocks[before];
    Input::Projected {
        z: space.blocks[before].projected.planes(),
        norm: &norms[block.project.1],
        residual: block.residual.then(|| block_input(space, before)),
        dropped: (context.mask(block.drop_path))
            .map(|factors| (Src::of(factors), space.sides.blocks[index].pixels())),
        output: space.blocks[before].output.planes(),
    }
}

/// The buffer that holds the input of block `index`.
pub(super) fn block_input(space: &Workspace, index: usize) -> Planes {
    match index.checked_sub(1) {
        None => space.stem_output.planes(),
        Some(before) => space.blocks[before].output.planes(),
    }
}
