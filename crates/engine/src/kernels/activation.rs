//! Activations and their derivatives on vectors.

use crate::simd::Simd;
use crate::spec::Activation;

/// The kinds as const generic arguments, so that a loop is compiled for each.
pub(super) const IDENTITY: u8 = Activation::Identity as u8;
pub(super) const RELU: u8 = Activation::Relu as u8;
pub(super) const RELU6: u8 = Activation::Relu6 as u8;
pub(super) const HARDSWISH: u8 = Activation::Hardswish as u8;

/// Evaluates an expression with `$A` standing for a constant kind.
macro_rules! for_activation {
    ($activation:expr, $A:ident => $body:expr) => {
        match $activation {
            crate::spec::Activation::Identity => {
                const $A: u8 = crate::kernels::activation::IDENTITY;
                $body
            }
            crate::spec::Activation::Relu => {
                const $A: u8 = crate::kernels::activation::RELU;
                $body
            }
            crate::spec::Activation::Relu6 => {
                const $A: u8 = crate::kernels::activation::RELU6;
                $body
            }
            crate::spec::Activation::Hardswish => {
                const $A: u8 = crate::kernels::activation::HARDSWISH;
                $body
            }
        }
    };
}
pub(super) use for_activation;

#[inline(always)]
pub(super) fn activate<S: Simd, const A: u8>(s: S, x: S::Vector) -> S::Vector {
    match A {
        RELU => s.max(x, s.zero()),
        RELU6 => s.min(s.max(x, s.zero()), s.splat(6.0)),
        HARDSWISH => {
            let gate = s.mul_add(x, s.splat(1.0 / 6.0), s.splat(0.5));
            s.mul(x, s.min(s.max(gate, s.zero()), s.splat(1.0)))
        }
        _ => x,
    }
}

/// The gradient `d` of `activate(x)` carried back to `x`.
#[inline(always)]
pub(super) fn derive<S: Simd, const A: u8>(s: S, x: S::Vector, d: S::Vector) -> S::Vector {
    match A {
        RELU => s.where_greater(x, s.zero(), d, s.zero()),
        RELU6 => {
            let below = s.where_greater(s.splat(6.0), x, d, s.zero());
            s.where_greater(x, s.zero(), below, s.zero())
        }
        HARDSWISH => {
            let slope = s.mul_add(x, s.splat(1.0 / 3.0), s.splat(0.5));
            let slope = s.where_greater(s.splat(3.0), x, slope, s.splat(1.0));
            s.where_greater(x, s.splat(-3.0), s.mul(slope, d), s.zero())
        }
        _ => d,
    }
}
