//! One row of a depthwise convolution. The previous layer writes its output directly into a ring
//! buffer of input rows (see [`Ring`]), so that an expanded activation never leaves the cache. The
//! rows are already padded with zeros on either side.

use super::depthwise_forward::{MARGIN, RING_ROWS, Row, Seen, clear_margins, ring_stride};
use super::entry;
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::{Activation, Zeros};

/// A ring buffer with the last few rows of an image, for some planes. Each row has zeros on either
/// side.
#[derive(Clone, Copy)]
pub(crate) struct Ring {
    planes: Planes,
    width: usize,
}

impl Ring {
    fn stride(width: usize) -> usize {
        // An odd number of cache lines.
        RING_ROWS * ring_stride(width) + LANES
    }

    /// Length in values of the scratch memory for a ring of `planes` planes.
    pub(crate) fn length(planes: usize, width: usize) -> usize {
        planes * Self::stride(width)
    }

    /// Creates a ring in `scratch` and sets its margins to zero.
    ///
    /// # Safety
    /// `scratch` must have [`Ring::length`] values, and the caller must own it.
    pub(crate) unsafe fn new(scratch: Dst, planes: usize, width: usize) -> Self {
        let stride = Self::stride(width);
        for plane in 0..planes {
            clear_margins(scratch.at(plane * stride), width);
        }
        Ring {
            planes: Planes {
                start: scratch,
                stride,
                pixel: LANES,
            },
            width,
        }
    }

    /// The memory for row `y` of the image, in all planes.
    ///
    /// # Safety
    /// The caller must still own the ring.
    pub(crate) unsafe fn row(&self, y: usize) -> Planes {
        let pixels = ring_stride(self.width) / LANES;
        self.planes.row(y % RING_ROWS * pixels + MARGIN)
    }
}

/// Operands of [`depthwise_row`].
#[derive(Clone, Copy)]
pub(crate) struct DepthwiseRow {
    pub(crate) planes: usize,
    /// Height of the input.
    pub(crate) height: usize,
    /// 3 or 5.
    pub(crate) kernel: usize,
    /// 1 or 2.
    pub(crate) stride: usize,
    /// Padding: at most half the kernel.
    pub(crate) zeros: Zeros,
    /// Index of the output row.
    pub(crate) y: usize,
    /// Width of the output.
    pub(crate) columns: usize,
    /// Holds the input rows that the output row needs.
    pub(crate) ring: Ring,
    /// Weights, `[plane][kernel * kernel][16]`.
    pub(crate) taps: Src,
    /// Added to the output of each channel.
    pub(crate) bias: Src,
    /// The activation after the bias.
    pub(crate) activation: Activation,
    /// The output row, of `columns` pixels.
    pub(crate) target: Planes,
}

entry! {
    /// # Safety
    /// See the operands.
    fn depthwise_row(operands: &DepthwiseRow) => depthwise_row_kernel
}

#[inline(always)]
unsafe fn depthwise_row_kernel<S: Simd>(s: S, o: &DepthwiseRow) {
    match (o.kernel, o.stride) {
        (3, 1) => planes::<S, 3, 1>(s, o),
        (3, _) => planes::<S, 3, 2>(s, o),
        (_, 1) => planes::<S, 5, 1>(s, o),
        _ => planes::<S, 5, 2>(s, o),
    }
}

#[inline(always)]
unsafe fn planes<S: Simd, const K: usize, const STRIDE: usize>(s: S, o: &DepthwiseRow) {
    for plane in 0..o.planes {
        let ring = o.ring.planes.plane(plane).src();
        let row = Row::<S> {
            seen: Seen::new::<K, STRIDE>(ring, o.ring.width, o.height, o.y, o.zeros),
            columns: o.columns,
            taps: o.taps.at(plane * K * K * LANES),
            bias: s.load(o.bias, plane * LANES),
            activation: o.activation,
            target: o.target.plane(plane).start,
            stream: false,
        };
        // These sums are not used, and the compiler removes them.
        row.make::<K, STRIDE>(s, &mut [s.zero(); 2]);
    }
}
