//! The convolution of the images themselves.

use std::ops::Range;

use super::{ConvShape, Scratch, at_least};
use crate::isa::Isa;
use crate::kernels::{
    Behind, ImageConv, ImageOutput, Pixels, Sums, image_conv, image_conv_gradient, pack_image_taps,
    unpack_image_taps,
};
use crate::memory::{Dst, Planes, Src, padded, planes};
use crate::spec::Activation;

/// The operands of [`stem_forward`].
pub(crate) struct StemForward<'a> {
    /// A convolution with three input channels and one group.
    pub(crate) shape: &'a ConvShape,
    pub(crate) images: usize,
    /// The pixels, from the group's first image on.
    pub(crate) pixels: Pixels<'a>,
    /// Packed by [`ConvShape::pack_stem`].
    pub(crate) weights: Src,
    pub(crate) target: Planes,
    /// A bias for each channel, padded to whole planes.
    pub(crate) bias: Option<Src>,
    pub(crate) activation: Activation,
    /// The output rows of each image to compute.
    pub(crate) rows: Range<usize>,
}

/// The operands of [`stem_backward`].
pub(crate) struct StemBackward<'a> {
    pub(crate) shape: &'a ConvShape,
    pub(crate) images: usize,
    pub(crate) pixels: Pixels<'a>,
    /// The gradient of the output.
    pub(crate) behind: Behind,
    /// Receives the gradient of the weights, in torch's layout.
    pub(crate) gradient: Dst,
}

impl ConvShape {
    /// Number of packed values for [`stem_forward`].
    pub(crate) fn stem_length(&self) -> usize {
        padded(self.out_channels) * self.taps() * self.in_channels
    }

    /// Packs torch's weights for [`stem_forward`].
    ///
    /// # Safety
    /// `weights` holds the layer's weights, and `target` has space for [`ConvShape::stem_length`] values.
    pub(crate) unsafe fn pack_stem(&self, weights: Src, target: Dst) {
        // SAFETY: as promised by the caller.
        unsafe { pack_image_taps(self.out_channels, self.kernel, weights, target) }
    }

    fn image_conv(&self, images: usize, scratch: &mut Scratch) -> ImageConv {
        let mut conv = ImageConv {
            images,
            height: self.height,
            width: self.width,
            kernel: self.kernel,
            stride: self.stride,
            zeros: self.zeros,
            rows: self.rows,
            columns: self.columns,
            planes: planes(self.out_channels),
            scratch: Dst::of(&mut []),
        };
        conv.scratch = at_least(&mut scratch.input, conv.scratch_length());
        conv
    }
}

/// Computes `activation(convolution + bias)`. Adds the outputs and their squares to `sums`.
///
/// # Safety
/// All operands have the shape's sizes, from the group's first image on. The caller owns the target's rows.
pub(crate) unsafe fn stem_forward(
    isa: Isa,
    o: &StemForward<'_>,
    scratch: &mut Scratch,
    sums: Option<&mut Sums>,
) {
    let operands = o.shape.image_conv(o.images, scratch);
    let output = ImageOutput {
        rows: o.rows.clone(),
        bias: o.bias,
        activation: o.activation,
        target: o.target,
    };
    // SAFETY: as promised by the caller.
    unsafe { image_conv(isa, &operands, o.pixels, o.weights, &output, sums) }
}

/// Computes the gradient of the weights.
///
/// # Safety
/// All operands have the shape's sizes, from the group's first image on. The caller owns the gradient.
pub(crate) unsafe fn stem_backward(isa: Isa, o: &StemBackward<'_>, scratch: &mut Scratch) {
    let shape = o.shape;
    let partial = at_least(&mut scratch.gradient, shape.stem_length());
    let operands = shape.image_conv(o.images, scratch);
    // SAFETY: as promised by the caller.
    unsafe {
        partial.fill_zero(shape.stem_length());
        image_conv_gradient(isa, &operands, o.pixels, &o.behind, partial);
        unpack_image_taps(shape.out_channels, shape.kernel, partial.src(), o.gradient);
    }
}
