//! Splits packed weights into ranges of columns.

use std::ops::Range;

use super::product::panels;
use super::weight_gradient::gradient_tiles;
use crate::isa::{Isa, Level};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};

/// Calls a generic function with the vectors of the matrix products of `isa`.
macro_rules! with_vectors {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::AmxBf16 => $function::<Avx512<true, true>>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => $function::<Avx512<true>>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => $function::<Avx512<false>>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => $function::<Avx2>($($argument),*),
            Level::Portable => $function::<Portable>($($argument),*),
            #[cfg(test)]
            Level::PortableTiles => $function::<crate::simd::PortableTiles>($($argument),*),
        }
    };
}

/// Ranges of whole panels of `vectors` packed planes on `isa`. Each range can be a separate product: one panel, or on
/// tiles several, since each product arranges its left operand first.
pub(crate) fn panel_planes(isa: Isa, vectors: usize) -> Vec<Range<usize>> {
    with_vectors!(isa, ranges(vectors))
}

/// The panels of `vectors` packed planes on `isa`.
pub(crate) fn single_panels(isa: Isa, vectors: usize) -> Vec<Range<usize>> {
    with_vectors!(isa, single(vectors))
}

/// Number of planes of [`super::NextRows`] that a weight gradient fetches.
pub(crate) fn planes_fetched(isa: Isa, inputs: usize, outputs: usize) -> usize {
    with_vectors!(isa, gradient_tiles(inputs, outputs))
}

/// Planes of a range on tiles.
const TILE_PLANES: usize = 4;

fn ranges<S: Simd>(vectors: usize) -> Vec<Range<usize>> {
    if S::TILES {
        let starts = (0..vectors).step_by(TILE_PLANES);
        return starts
            .map(|start| start..vectors.min(start + TILE_PLANES))
            .collect();
    }
    single::<S>(vectors)
}

fn single<S: Simd>(vectors: usize) -> Vec<Range<usize>> {
    panels::<S>(vectors)
        .map(|(start, width)| start..start + width)
        .collect()
}
