//! Splits packed weights into ranges of columns.

use std::ops::Range;

use super::product::panels;
use crate::isa::{Isa, Level};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};

/// The panels of `vectors` packed planes on `isa`, as ranges of planes. Each panel can be a
/// separate product.
pub(crate) fn panel_planes(isa: Isa, vectors: usize) -> Vec<Range<usize>> {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::AmxBf16 => ranges::<Avx512<true, true>>(vectors),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Bf16 => ranges::<Avx512<false>>(vectors),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => ranges::<Avx2>(vectors),
        Level::Portable => ranges::<Portable>(vectors),
        #[cfg(test)]
        Level::PortableTiles => ranges::<crate::simd::PortableTiles>(vectors),
    }
}

fn ranges<S: Simd>(vectors: usize) -> Vec<Range<usize>> {
    panels::<S>(vectors)
        .map(|(start, width)| start..start + width)
        .collect()
}
