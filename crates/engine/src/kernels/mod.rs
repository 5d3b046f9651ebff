//! The performance-critical loops of a network.
//!
//! Every kernel is a generic function over [`Simd`]. Callers use a function of the same name that
//! takes an [`Isa`](crate::Isa). All kernels are `unsafe`, because operands are raw pointers.
//! Operands must have the documented lengths, and the caller must own those that are written. Each
//! kernel counts as one unsafe operation, so its body has no separate unsafe blocks.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "the contract of a kernel covers its whole body"
)]
#![allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
#![allow(
    clippy::needless_range_loop,
    reason = "tiles stay in registers only if every index is a visible constant"
)]

mod activation;
mod ahead;
mod conv;
mod depthwise_backward;
mod depthwise_forward;
mod depthwise_images;
mod depthwise_row;
mod drop_path;
mod elementwise;
mod epilogue;
mod features;
mod gather;
mod image_factors;
mod image_rows;
mod join;
mod pack;
mod panels;
mod pooled;
mod pooling;
mod product;
mod reading;
mod stem;
mod stem_rows;
mod tile_gradient;
mod tile_memory;
mod tile_product;
mod weight_gradient;

pub(crate) use activation::is_for_maps;
pub(crate) use ahead::NextRows;
pub(crate) use conv::{
    ConvEpilogue, ConvGradient, ConvTiles, Fill, Frame, ImageConv, ImageOutput, NarrowFrame,
    Packing, Place, conv_gradient, conv_tiles, fill, fill_behind, fill_ranks, frame_ranks,
    image_conv, image_conv_gradient, narrow_frame, pack_image_taps, pack_panel, pair_planes,
    unpack_gradient, unpack_image_taps, unpack_taps,
};
pub(crate) use depthwise_backward::{DepthwiseBackward, depthwise_backward};
pub(crate) use depthwise_forward::{DepthwiseForward, depthwise_forward, ring_length};
pub(crate) use depthwise_images::{DepthwiseImages, depthwise_images};
pub(crate) use depthwise_row::{DepthwiseRow, Ring, depthwise_row};
pub(crate) use drop_path::{DropRows, DropRowsBackward, drop_rows, drop_rows_backward};
pub(crate) use elementwise::{
    ActivateRows, ActivationBackward, Factors, NormaliseRows, activate_rows, activation_backward,
    channel_sums, combine, convert_rows, normalise_rows,
};
pub(crate) use epilogue::{Before, Epilogue, ProductSums};
pub(crate) use features::{FeatureRows, feature_rows, feature_rows_backward};
pub(crate) use gather::{Gather, gather_channels};
pub(crate) use image_factors::{activate_values, image_averages, multiply_rows};
pub(crate) use image_rows::Images;
pub(crate) use join::{
    AccumulateRows, JoinBackward, JoinRows, ReadingBackward, accumulate_rows, join_backward,
    join_rows, reading_backward,
};
pub(crate) use pack::{pack_inputs, pack_outputs, pack_taps, packed_length};
pub(crate) use panels::{panel_planes, planes_fetched, single_panels};
pub(crate) use pooled::{
    FactoredBackward, SqueezeBackward, average, average_backward, factor_gradient,
    factored_backward, squeeze_backward,
};
pub(crate) use pooling::{Pool, average_pool, average_pool_backward, max_pool, max_pool_backward};
pub(crate) use product::{Product, Weights, product};
pub(crate) use reading::{Behind, Reading};
pub(crate) use stem::{Pixels, Stem, TAPS, stem_backward, stem_forward};
pub(crate) use stem_rows::stem_rows;
pub(crate) use weight_gradient::{WeightGradient, weight_gradient};

use crate::memory::{Planes, Src};
use crate::simd::{LANES, Simd};

/// Defines `unsafe fn name(isa, arguments…)`, which runs `kernel(simd, arguments…)`
/// compiled for `isa`.
macro_rules! entry {
    ($(#[$attribute:meta])* fn $($definition:tt)*) => {
        crate::kernels::entry! { @ true, false, false, $(#[$attribute])* fn $($definition)* }
    };
    (@ $bf16:literal, $tiles:literal, $wide:literal, $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) => $kernel:ident
    ) => {
        $(#[$attribute])*
        pub(crate) unsafe fn $name(isa: crate::isa::Isa, $($argument: $type),*) {
            use crate::isa::Level;
            use crate::simd::Simd;
            // One function for each type, so that levels of the same type share its code.
            unsafe fn on<S: Simd>($($argument: $type),*) {
                let s = S::new();
                s.vectorize(#[inline(always)] || $kernel(s, $($argument),*));
            }
            // SAFETY: an `Isa` exists only if the processor reported it; the caller vouches for the operands.
            match isa.level() {
                #[cfg(target_arch = "x86_64")]
                Level::AmxBf16 => on::<crate::simd::Avx512<$bf16, $tiles, $wide>>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512Bf16 => on::<crate::simd::Avx512<$bf16, false, $wide>>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => on::<crate::simd::Avx512<false>>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => on::<crate::simd::Avx2>($($argument),*),
                Level::Portable => on::<crate::simd::Portable>($($argument),*),
                #[cfg(test)]
                Level::PortableTiles if $bf16 => {
                    on::<crate::simd::PortableTiles<$wide>>($($argument),*);
                }
                #[cfg(test)]
                Level::PortableTiles => on::<crate::simd::Portable>($($argument),*),
            }
        }
    };
}
pub(crate) use entry;

/// As [`entry`], for kernels that use or pack the operands of tiles.
macro_rules! entry_tiles {
    ($($definition:tt)*) => {
        crate::kernels::entry! { @ true, true, false, $($definition)* }
    };
}
pub(crate) use entry_tiles;

/// As [`entry_tiles`], for kernels whose activations are always f32, and only the operands of their products bf16.
macro_rules! entry_ranks {
    ($($definition:tt)*) => {
        crate::kernels::entry! { @ true, true, true, $($definition)* }
    };
}
pub(crate) use entry_ranks;

/// As [`entry`], for kernels whose activations are always f32.
macro_rules! entry_f32 {
    ($($definition:tt)*) => {
        crate::kernels::entry! { @ false, false, false, $($definition)* }
    };
}
pub(crate) use entry_f32;

/// Per-channel sums over pixels, in f64, padded to whole planes. The forward pass sums a batch
/// normalisation's input and its squares. The backward pass sums gradients and their products with
/// the values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) first: Vec<f64>,
    pub(crate) second: Vec<f64>,
}

impl Sums {
    pub(crate) fn reset(&mut self, length: usize) {
        for sums in [&mut self.first, &mut self.second] {
            sums.clear();
            sums.resize(length, 0.0);
        }
    }

    /// Adds one vector to each of the two sums, at channel `at`.
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, at: usize, first: S::Vector, second: S::Vector) {
        for (sums, vector) in [(&mut self.first, first), (&mut self.second, second)] {
            let mut lanes = [0.0; LANES];
            // SAFETY: the array has that many lanes.
            unsafe { s.store(crate::memory::Dst::of(&mut lanes), 0, vector) };
            // Their number is a constant, so that the compiler makes vectors of them.
            let sums = &mut sums[at..at + LANES];
            for lane in 0..LANES {
                sums[lane] += f64::from(lanes[lane]);
            }
        }
    }
}

/// Loads a pixel. `source` may be f32 even if other activations are bf16.
#[inline(always)]
unsafe fn get<S: Simd>(s: S, source: Planes, row: usize) -> S::Vector {
    if S::PIXEL == LANES || source.pixel == S::PIXEL {
        s.load_pixel(source.src(), row)
    } else {
        s.load(source.src(), row * LANES)
    }
}

/// Stores a pixel. `target` may be f32 even if other activations are bf16.
#[inline(always)]
unsafe fn put<S: Simd>(s: S, target: Planes, row: usize, value: S::Vector) {
    if S::PIXEL == LANES || target.pixel == S::PIXEL {
        s.store_pixel(target.start, row, value);
    } else {
        s.store(target.start, row * LANES, value);
    }
}

/// Scale and shift of each channel: `value * scale + shift`.
#[derive(Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) scale: Src,
    pub(crate) shift: Src,
}

impl Affine {
    #[inline(always)]
    unsafe fn at<S: Simd>(self, s: S, channel: usize) -> (S::Vector, S::Vector) {
        (s.load(self.scale, channel), s.load(self.shift, channel))
    }
}

/// The backward pass of a batch normalisation as three coefficients per channel. With the gradient
/// `d` of the output and the input `z`, the gradient of the input is `a * d + b * z + c`.
#[derive(Clone, Copy)]
pub(crate) struct NormBackward {
    pub(crate) a: Src,
    pub(crate) b: Src,
    pub(crate) c: Src,
}

impl NormBackward {
    #[inline(always)]
    unsafe fn at<S: Simd>(self, s: S, channel: usize) -> Coefficients<S> {
        Coefficients {
            a: s.load(self.a, channel),
            b: s.load(self.b, channel),
            c: s.load(self.c, channel),
        }
    }
}

/// The coefficients of a [`NormBackward`] for 16 channels.
#[derive(Clone, Copy)]
struct Coefficients<S: Simd> {
    a: S::Vector,
    b: S::Vector,
    c: S::Vector,
}

impl<S: Simd> Coefficients<S> {
    #[inline(always)]
    fn combine(self, s: S, d: S::Vector, z: S::Vector) -> S::Vector {
        s.mul_add(d, self.a, s.mul_add(z, self.b, self.c))
    }
}

#[cfg(test)]
mod tests;
