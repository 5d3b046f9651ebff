//! The floating-point precisions in which a network can compute.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Isa, Result};

/// The precision in which a network computes.
///
/// Parameters, gradients, the optimizer's state, normalisations and all sums are always f32.
/// Weights files do not depend on the precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32, like torch's default.
    #[default]
    F32,
    /// bfloat16 (8 bits of precision), for the factors of matrix products, and in the fused executor for
    /// activations in memory. On a CPU it uses the processor's preferred bf16 instructions: AMX before AVX-512.
    /// Comparable to `torch.autocast("cpu", torch.bfloat16)`.
    Bf16,
    /// bf16 with the instructions AMX-BF16 of a CPU.
    Bf16Amx,
    /// bf16 with the instructions AVX-512 BF16 of a CPU, about one and a half times as fast as f32.
    Bf16Avx512,
    /// IEEE half precision (11 bits), for the factors of matrix products on a CUDA GPU. Gradients
    /// below 6e-8 become zero, so training scales the loss up. Comparable to
    /// `torch.autocast("cuda", torch.float16)`.
    F16,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 5] = [
        Precision::F32,
        Precision::Bf16,
        Precision::Bf16Amx,
        Precision::Bf16Avx512,
        Precision::F16,
    ];

    /// The bf16 precisions that name an instruction set of this processor, the preferred one first.
    pub fn bf16_of_this_processor() -> Vec<Precision> {
        let all = Isa::best().bf16().into_iter();
        all.filter_map(|isa| {
            let name = isa.to_string();
            let named = |precision: &Precision| precision.instructions() == Some(name.as_str());
            Precision::ALL.into_iter().find(named)
        })
        .collect()
    }

    /// Whether this is bf16, with any instructions.
    pub fn is_bf16(self) -> bool {
        match self {
            Precision::Bf16 | Precision::Bf16Amx | Precision::Bf16Avx512 => true,
            Precision::F32 | Precision::F16 => false,
        }
    }

    /// The instruction set of a CPU that computes in this precision.
    ///
    /// # Errors
    /// [`Error::NoBf16`] and [`Error::NoInstructions`] if this processor lacks it; [`Error::Precision`] for f16.
    pub fn isa(self) -> Result<Isa> {
        match self {
            Precision::F32 => Ok(Isa::best()),
            Precision::Bf16 => Ok(Isa::best().with_bf16()?),
            Precision::Bf16Amx | Precision::Bf16Avx512 => {
                let name = self.instructions();
                let mut all = Isa::best().bf16().into_iter();
                all.find(|isa| Some(isa.to_string().as_str()) == name)
                    .ok_or(Error::NoInstructions(self))
            }
            Precision::F16 => Err(Error::Precision(self)),
        }
    }

    /// This precision, or the nearest one that this processor has: bf16 with other instructions, or f32.
    #[must_use]
    pub fn available(self) -> Precision {
        let mut nearest = [self, Precision::Bf16].into_iter();
        let found = nearest.find(|precision| precision.is_bf16() && precision.isa().is_ok());
        found.unwrap_or(Precision::F32)
    }

    /// The name of the instruction set that the precision names.
    fn instructions(self) -> Option<&'static str> {
        match self {
            Precision::Bf16Amx => Some("amx_bf16"),
            Precision::Bf16Avx512 => Some("avx512_bf16"),
            Precision::F32 | Precision::Bf16 | Precision::F16 => None,
        }
    }

    /// What this processor lacks for this precision, and what to do.
    pub(crate) fn lack(self) -> String {
        let needs = match self {
            Precision::Bf16Amx => {
                "AMX-BF16 (Intel since Sapphire Rapids, on a system that permits AMX)"
            }
            _ => "AVX-512 BF16 (AMD since Zen 4, Intel since Cooper Lake)",
        };
        let best = Isa::best();
        let instead = match best.bf16().is_empty() {
            true => "f32",
            false => "bf16, which takes the available instructions, or f32",
        };
        format!(
            "{self} needs the instructions {needs}, which are not available with instruction set {best}; use {instead}"
        )
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Bf16Amx => "bf16_amx",
            Precision::Bf16Avx512 => "bf16_avx512",
            Precision::F16 => "f16",
        })
    }
}

/// Accepts any letter case.
impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        (Precision::ALL.into_iter())
            .find(|precision| precision.to_string().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let all = Precision::ALL.map(|precision| format!("\"{precision}\""));
                format!("unknown precision {name:?}, expected {}", all.join(", "))
            })
    }
}
