//! The numbers a network computes with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The numbers in which activations lie in memory and matrix products multiply.
///
/// Parameters, their gradients, the optimizer's state, normalisations and all sums are f32
/// in either; weights files do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Exact to what torch computes in f32.
    #[default]
    F32,
    /// bfloat16, 8 bits of precision: about one and a half times as fast on a CPU with
    /// AVX-512 BF16. Comparable to `torch.autocast("cpu", torch.bfloat16)`.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            _ => Err(format!(
                "unknown precision {name:?}, expected \"f32\" or \"bf16\""
            )),
        }
    }
}
