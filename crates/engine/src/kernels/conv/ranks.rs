//! Frames in bf16, for products that multiply two channels, or two pixels, at once.
//!
//! A tile of outputs multiplies ranks of two channels: number `i` of a plane and of the plane behind it. So two planes of a
//! frame become one of the same size. A gradient of weights multiplies ranks of two pixels. For each tap, its pixels become
//! a matrix of activations in bf16, and the gradient is that of a fully connected layer.

use crate::isa::Isa;
use crate::kernels::{Frame, entry, entry_ranks};
use crate::memory::Planes;
use crate::simd::{LANES, Simd};

/// Number of ranks of this many channels in a frame on `isa`, and in packed weights.
pub(crate) fn frame_ranks(isa: Isa, channels: usize) -> usize {
    if isa.rank() == 1 {
        return channels;
    }
    let (whole, rest) = (channels / (2 * LANES), channels % (2 * LANES));
    let ranks = whole * LANES + rest.min(LANES);
    ranks.next_multiple_of(if isa.has_tiles() { LANES } else { 1 })
}

/// The channels of a frame's rank, as distances from the first channel. Only the first exists if a rank is one channel.
#[inline(always)]
pub(super) fn rank_channels<S: Simd>(rank: usize) -> [usize; 2] {
    if S::RANK == 1 {
        return [rank; 2];
    }
    let first = rank / LANES * 2 * LANES + rank % LANES;
    [first, first + LANES]
}

entry_ranks! {
    /// Combines the planes of a frame in pairs, in place. Ranks behind the last channel are 0.
    ///
    /// # Safety
    /// The frame holds these channels.
    fn pair_planes(frame: &Frame, channels: usize) => pair_planes_kernel
}

#[inline(always)]
unsafe fn pair_planes_kernel<S: Simd>(s: S, frame: &Frame, channels: usize) {
    let pixels = frame.images * frame.image() / LANES;
    for (plane, start) in (0..channels).step_by(2 * LANES).enumerate() {
        let [first, second] = [0, 1].map(|half| {
            let count = channels.saturating_sub(start + half * LANES).min(LANES);
            let plane = if count > 0 { 2 * plane + half } else { 0 };
            (count, frame.start.at(plane * frame.stride()).src())
        });
        let target = frame.start.at(plane * frame.stride());
        for pixel in 0..pixels {
            let at = pixel * LANES;
            let first = s.load_first(first.0, first.1, at);
            let second = s.load_first(second.0, second.1, at);
            s.store(target, at, s.rank(first, second));
        }
    }
}

/// The operands of [`narrow_rows`].
#[derive(Clone, Copy)]
pub(crate) struct NarrowRows {
    pub(crate) frame: Frame,
    pub(crate) planes: usize,
    /// Distance in values from the frame's first pixel to the first of these.
    pub(crate) first: usize,
    /// Number of rows of each image, their distance in rows of the frame, and the pixels of each.
    pub(crate) rows: usize,
    pub(crate) step: usize,
    pub(crate) columns: usize,
    /// Receives the pixels of all images without gaps.
    pub(crate) target: Planes,
}

entry! {
    /// Copies f32 pixels of a frame to planes of this instruction set.
    ///
    /// # Safety
    /// The frame and the target hold all pixels.
    fn narrow_rows(operands: &NarrowRows) => narrow_rows_kernel
}

#[inline(always)]
unsafe fn narrow_rows_kernel<S: Simd>(s: S, o: &NarrowRows) {
    let frame = &o.frame;
    for plane in 0..o.planes {
        let from = frame.start.src().at(plane * frame.stride() + o.first);
        let target = o.target.plane(plane).start;
        for row in 0..frame.images * o.rows {
            let (image, y) = (row / o.rows, row % o.rows);
            let at = image * frame.image() + y * o.step * frame.pitch();
            for x in 0..o.columns {
                let value = s.load(from, at + x * LANES);
                s.store_pixel(target, row * o.columns + x, value);
            }
        }
    }
}
