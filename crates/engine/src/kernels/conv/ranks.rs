//! Frames in bf16, for products that multiply two channels, or two pixels, at once.
//!
//! A tile of outputs multiplies ranks of two channels: number `i` of a plane and of the plane behind it. So two planes of a
//! frame become one of the same size. A gradient of weights multiplies ranks of two pixels. For each tap, its pixels become
//! a matrix of activations in bf16, and the gradient is that of a fully connected layer.

use super::frame::plane_rows;
use crate::isa::Isa;
use crate::kernels::{Fill, Frame, Reading, entry, entry_ranks, fill};
use crate::memory::{Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// Number of ranks of this many channels in a frame on `isa`, and in packed weights.
pub(crate) fn frame_ranks(isa: Isa, channels: usize) -> usize {
    if isa.rank() == 1 {
        return channels;
    }
    let (whole, rest) = (channels / (2 * LANES), channels % (2 * LANES));
    isa.whole_ranks(whole * LANES + rest.min(LANES))
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

/// Fills a frame for products on `isa`: in f32 the planes of `operands`, in bf16 the pairs of all planes.
///
/// # Safety
/// As for [`fill`]. The source has all channels.
pub(crate) unsafe fn fill_ranks(isa: Isa, operands: &Fill, source: &Reading, channels: usize) {
    if isa.rank() > 1 && source.norm.is_none() && source.activation == Activation::Identity {
        return fill_pairs(isa, operands, source.z, channels);
    }
    fill(isa.with_f32(), operands, source);
    if isa.rank() > 1 {
        pair_planes(isa, &operands.frame, channels);
    }
}

/// Two planes of f32, whose channels behind the last are read as 0.
#[derive(Clone, Copy)]
struct Pair([(usize, Src); 2]);

impl Pair {
    /// Pair `index` of the planes of `channels` channels. `plane` returns a plane.
    #[inline(always)]
    fn new(index: usize, channels: usize, plane: impl Fn(usize) -> Src) -> Self {
        Pair([0, 1].map(|half| {
            let index = 2 * index + half;
            match channels.saturating_sub(index * LANES).min(LANES) {
                0 => (0, plane(0)),
                count => (count, plane(index)),
            }
        }))
    }

    #[inline(always)]
    unsafe fn rank<S: Simd>(self, s: S, pixel: usize) -> S::Vector {
        let [first, second] = self.0.map(
            #[inline(always)]
            |(count, plane)| s.load_first(count, plane, pixel * LANES),
        );
        s.rank(first, second)
    }
}

entry_ranks! {
    /// Fills a frame with the pairs of planes of `source`.
    ///
    /// # Safety
    /// As for [`fill`].
    fn fill_pairs(operands: &Fill, source: Planes, channels: usize) => fill_pairs_kernel
}

#[inline(always)]
unsafe fn fill_pairs_kernel<S: Simd>(s: S, o: &Fill, source: Planes, channels: usize) {
    for index in 0..channels.div_ceil(2 * LANES) {
        let pair = Pair::new(index, channels, |plane| source.plane(plane).src());
        plane_rows(
            s,
            o,
            index,
            #[inline(always)]
            |pixel| pair.rank(s, pixel),
        );
    }
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
    let plane = |index: usize| frame.start.at(index * frame.stride());
    for index in 0..channels.div_ceil(2 * LANES) {
        let pair = Pair::new(index, channels, |index| plane(index).src());
        let target = plane(index);
        for pixel in 0..pixels {
            s.store(target, pixel * LANES, pair.rank(s, pixel));
        }
    }
}

/// The operands of [`narrow_frame`].
#[derive(Clone, Copy)]
pub(crate) struct NarrowFrame {
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
    fn narrow_frame(operands: &NarrowFrame) => narrow_frame_kernel
}

#[inline(always)]
unsafe fn narrow_frame_kernel<S: Simd>(s: S, o: &NarrowFrame) {
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
