//! Depthwise convolution, channels last: forward and both gradients.
//!
//! Images are `[n, h, w, c]`, weights `[k * k, c]`, so that the channels of one kernel position are adjacent. An
//! image has `ceil(size / stride)` outputs along each axis. The kernels process blocks of 16 channels and keep the
//! sums of a few pixels in registers; the remaining channels follow in blocks of 8 and 1. Results match
//! `torch.nn.functional.conv2d(groups=c)` and its gradients.

mod backward_input;
mod backward_weights;
mod forward;
mod lanes;

pub use backward_input::backward_input;
pub use backward_weights::backward_weights;
pub use forward::forward;

use crate::spec::Padding;

/// The sizes of one depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images in the batch.
    pub batch: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Channels of input and output.
    pub channels: usize,
    /// Side of the square kernel; odd.
    pub kernel: usize,
    /// Step between output pixels, in input pixels.
    pub stride: usize,
    /// Padding of the images.
    pub padding: Padding,
}

impl Geometry {
    /// Padding before the first of `len` rows or columns.
    #[inline(always)]
    pub fn before(&self, len: usize) -> usize {
        self.padding.before(len, self.kernel, self.stride)
    }

    /// Output rows.
    pub fn out_height(&self) -> usize {
        self.height.div_ceil(self.stride)
    }

    /// Output columns.
    pub fn out_width(&self) -> usize {
        self.width.div_ceil(self.stride)
    }

    /// Elements in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.channels
    }

    /// Elements in the weights.
    pub fn weight_len(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    /// The range of kernel positions that fall inside the input (`len` positions), for output `out`.
    #[inline(always)]
    pub(super) fn taps(&self, out: usize, len: usize) -> (usize, usize) {
        let (start, before) = (out * self.stride, self.before(len));
        let lo = before.saturating_sub(start);
        let hi = (len + before).saturating_sub(start).min(self.kernel);
        (lo.min(hi), hi)
    }

    /// The output columns with every kernel position inside the input.
    #[inline(always)]
    pub(super) fn interior(&self) -> (usize, usize) {
        let (pad, out) = (self.before(self.width), self.out_width());
        let lo = pad.div_ceil(self.stride).min(out);
        let last = (self.width + pad).checked_sub(self.kernel);
        let hi = last.map_or(0, |last| last / self.stride + 1).min(out);
        (lo, hi.max(lo))
    }

    pub(super) fn assert_kernel(&self) {
        assert!(
            self.kernel % 2 == 1 && self.stride > 0,
            "{self:?}: odd kernel, stride above 0"
        );
    }
}
