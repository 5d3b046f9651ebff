//! Values that a kernel computes from stored ones as it reads them.

use super::{Affine, NormBackward};
use crate::memory::{Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// `activation(z * scale + shift)`, or `activation(z)` without a normalisation.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) z: Planes,
    pub(crate) norm: Option<Affine>,
    pub(crate) activation: Activation,
}

impl Reading {
    /// The values `z` themselves.
    pub(crate) fn plain(z: Planes) -> Reading {
        Reading {
            z,
            norm: None,
            activation: Activation::Identity,
        }
    }

    /// The same values from pixel `row` on.
    ///
    /// # Safety
    /// The row must exist.
    pub(crate) unsafe fn row(self, row: usize) -> Reading {
        Reading {
            // SAFETY: as promised by the caller.
            z: unsafe { self.z.row(row) },
            ..self
        }
    }

    /// Scale and shift of a plane. Without a normalisation they change no value.
    #[inline(always)]
    pub(super) unsafe fn affine<S: Simd>(&self, s: S, plane: usize) -> (S::Vector, S::Vector) {
        match self.norm {
            Some(norm) => norm.at(s, plane * LANES),
            None => (s.splat(1.0), s.zero()),
        }
    }

    #[inline(always)]
    pub(super) unsafe fn source(&self, plane: usize) -> Src {
        self.z.plane(plane).src()
    }
}

/// The gradient of a layer's output: `a * d + b * z + c`, or `d` without a normalisation.
#[derive(Clone, Copy)]
pub(crate) struct Behind {
    /// The gradient of the normalised output.
    pub(crate) d: Planes,
    /// The layer's output. Without a normalisation it is not read.
    pub(crate) z: Planes,
    pub(crate) norm: Option<NormBackward>,
}

impl Behind {
    /// The same values from pixel `row` on.
    ///
    /// # Safety
    /// The row must exist.
    pub(crate) unsafe fn row(self, row: usize) -> Behind {
        // SAFETY: as promised by the caller.
        unsafe {
            Behind {
                d: self.d.row(row),
                z: if self.norm.is_some() {
                    self.z.row(row)
                } else {
                    self.z
                },
                norm: self.norm,
            }
        }
    }
}
