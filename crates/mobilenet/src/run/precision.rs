//! The floating-point precisions in which a network can compute.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The precision in which a network computes.
///
/// Parameters, gradients, the optimizer's state, normalisations and all sums are always f32.
/// Weights files do not depend on the precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32, like torch's default.
    #[default]
    F32,
    /// bfloat16 (8 bits of precision), for activations in memory and for the factors of matrix
    /// products. On a CPU with AVX-512 BF16 it is about one and a half times as fast as f32.
    /// Comparable to `torch.autocast("cpu", torch.bfloat16)`.
    Bf16,
    /// IEEE half precision (11 bits), for the factors of matrix products on a CUDA GPU. Gradients
    /// below 6e-8 become zero, so training scales the loss up. Comparable to
    /// `torch.autocast("cuda", torch.float16)`.
    F16,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
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
                format!("unknown precision {name:?}, expected \"f32\", \"bf16\" or \"f16\"")
            })
    }
}
