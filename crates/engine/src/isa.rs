//! The vector instruction sets of the kernels, chosen at run time.
//!
//! A kernel is one plain generic function. [`dispatch!`] compiles it once for each instruction set
//! and selects the version for a given [`Isa`]. An `Isa` exists only if the processor supports it,
//! or if a test vouches for it ([`Isa::assume_amx`]), which makes the calls sound.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::simd::LANES;

/// An instruction set of this processor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// AVX-512 with bf16, and matrix products on the tiles of AMX.
    #[cfg(target_arch = "x86_64")]
    AmxBf16,
    /// AVX-512 with bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
    /// The scalar twin of [`Level::AmxBf16`], for tests on any processor.
    #[cfg(test)]
    PortableTiles,
}

impl Isa {
    /// The supported instruction sets of this processor, best first.
    pub fn available() -> Vec<Isa> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx2 && avx512 {
                levels.push(Isa(Level::Avx512));
            }
            if avx2 {
                levels.push(Isa(Level::Avx2));
            }
        }
        levels.push(Isa(Level::Portable));
        levels
    }

    /// The default instruction set: the one from the environment (see [`Isa::requested`]), or else
    /// the best of this processor.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| match Isa::requested() {
            Ok(Some(isa)) => isa,
            _ => Isa::available()[0],
        })
    }

    /// The instruction set in the environment variable `ENGINE_ISA`: `avx512`, `avx2` or
    /// `portable`.
    ///
    /// # Errors
    /// If this processor lacks the named instruction set. [`Isa::best`] silently ignores such a
    /// name, so a program should call this function first.
    pub fn requested() -> Result<Option<Isa>, UnknownIsa> {
        match std::env::var("ENGINE_ISA") {
            Ok(name) if !name.is_empty() => name.parse().map(Some),
            _ => Ok(None),
        }
    }

    /// The same instruction set with bf16: matrix products multiply rounded values, which takes less
    /// time. In [`Fused`](crate::Fused), activations take half the memory too. Sums, normalisations,
    /// master weights and their gradients stay f32. It is the first of [`Isa::bf16`].
    ///
    /// # Errors
    /// If there is none.
    pub fn with_bf16(self) -> Result<Isa, NoBf16> {
        self.bf16().first().copied().ok_or(NoBf16 { isa: self })
    }

    /// The instruction sets of this processor with bf16, those with the most arithmetic
    /// first: `amx_bf16`, `avx512_bf16`. None if this is not AVX-512.
    pub fn bf16(self) -> Vec<Isa> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if matches!(self.0, Level::Avx512 | Level::Avx512Bf16 | Level::AmxBf16)
            && is_x86_feature_detected!("avx512bf16")
        {
            if crate::simd::has_amx() {
                levels.push(Isa(Level::AmxBf16));
            }
            levels.push(Isa(Level::Avx512Bf16));
        }
        levels
    }

    /// The instruction set `amx_bf16`, whatever the processor reports. Tests emulate its
    /// instructions.
    ///
    /// # Safety
    /// The processor must have AVX-512 BF16. It must have AMX too, or the caller must handle the
    /// signal of unknown instructions.
    #[doc(hidden)]
    #[cfg(target_arch = "x86_64")]
    pub unsafe fn assume_amx() -> Isa {
        Isa(Level::AmxBf16)
    }

    /// The scalar twin of `amx_bf16`.
    #[cfg(test)]
    pub(crate) fn portable_tiles() -> Isa {
        Isa(Level::PortableTiles)
    }

    /// The same instruction set with activations in f32.
    pub(crate) fn with_f32(self) -> Isa {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 | Level::AmxBf16 => Isa(Level::Avx512),
            #[cfg(test)]
            Level::PortableTiles => Isa(Level::Portable),
            _ => self,
        }
    }

    /// Number of f32-sized values that store one pixel of 16 activations.
    pub(crate) fn pixel(self) -> usize {
        if self == self.with_f32() {
            LANES
        } else {
            LANES / 2
        }
    }

    /// Number of channels that a matrix product multiplies together.
    pub(crate) fn rank(self) -> usize {
        LANES / self.pixel()
    }

    /// Number of ranks of a matrix of this depth when it is packed, see [`crate::simd::Simd::ranks`].
    pub(crate) fn ranks(self, depth: usize) -> usize {
        self.whole_ranks(depth.div_ceil(self.rank()))
    }

    /// This number of ranks, and those that fill up the last tile.
    pub(crate) fn whole_ranks(self, ranks: usize) -> usize {
        ranks.next_multiple_of(if self.has_tiles() { LANES } else { 1 })
    }

    /// Number of rows of which whole blocks consist, so that few tiles are cut: a multiple of the tiles' heights.
    pub(crate) fn block_rows(self) -> usize {
        if self.has_tiles() { 2 * LANES } else { 24 }
    }

    /// Whether matrix products use [`crate::simd::Simd::multiply_tiles`].
    pub(crate) fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::AmxBf16 => true,
            #[cfg(test)]
            Level::PortableTiles => true,
            _ => false,
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

/// This processor, or the requested instruction set, does not support bf16.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "bf16 needs the instructions AVX-512 BF16 (AMD since Zen 4, Intel since Cooper Lake), which are \
     not available with instruction set {isa}; use f32"
)]
pub struct NoBf16 {
    isa: Isa,
}

/// A name that is not an instruction set of this processor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("instruction set {asked:?}; this processor has {}", .available.join(", "))]
pub struct UnknownIsa {
    asked: String,
    available: Vec<String>,
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        let available = Isa::available();
        let found = available.iter().find(|isa| isa.to_string() == name);
        found.copied().ok_or_else(|| UnknownIsa {
            asked: name.to_owned(),
            available: available.iter().map(Isa::to_string).collect(),
        })
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::AmxBf16 => "amx_bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512_bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            Level::Portable => "portable",
            #[cfg(test)]
            Level::PortableTiles => "portable_tiles",
        })
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `a * b + c`, fused if `FMA`. Without FMA instructions, `mul_add` would be a slow library call.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines `fn name(isa, arguments…)`, which runs `kernel::<FMA>(arguments…)` compiled for `isa`.
/// The kernel and its helpers must be `#[inline(always)]`; otherwise they are compiled without the
/// wider instructions.
macro_rules! dispatch {
    ($name:ident($($argument:ident: $type:ty),* $(,)?) => $kernel:ident) => {
        #[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
        fn $name(isa: $crate::isa::Isa, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
                fn avx512($($argument: $type),*) {
                    $kernel::<true>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "a kernel has many operands")]
                fn avx2($($argument: $type),*) {
                    $kernel::<true>($($argument),*)
                }
                match isa.level() {
                    // SAFETY: an `Isa` exists only if the processor reported these features.
                    $crate::isa::Level::Avx512 | $crate::isa::Level::Avx512Bf16 | $crate::isa::Level::AmxBf16 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::isa::Level::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::isa::Level::Portable => {}
                    #[cfg(test)]
                    $crate::isa::Level::PortableTiles => {}
                }
            }
            let _ = isa;
            $kernel::<{ cfg!(target_arch = "aarch64") }>($($argument),*)
        }
    };
}
pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_there_and_comes_last() {
        assert_eq!(Isa::available().last().unwrap().to_string(), "portable");
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for isa in Isa::available() {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        let error = "sse9".parse::<Isa>().unwrap_err().to_string();
        assert!(
            error.contains("\"sse9\"") && error.contains("portable"),
            "{error}"
        );
    }
}
