//! Activations and their derivatives on vectors.

use crate::simd::Simd;
use crate::spec::Activation;

/// The kinds of activation as const generic arguments. The compiler generates a loop for each.
pub(super) const IDENTITY: u8 = Activation::Identity as u8;
pub(super) const RELU: u8 = Activation::Relu as u8;
pub(super) const RELU6: u8 = Activation::Relu6 as u8;
pub(super) const HARDSWISH: u8 = Activation::Hardswish as u8;

/// Evaluates an expression in which the constant `$A` is the kind of activation.
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

/// `min(max(x, 0), most)`. NaN stays NaN, as in torch, because the limits are the first operands.
#[inline(always)]
pub(super) fn clamp<S: Simd>(s: S, x: S::Vector, most: f32) -> S::Vector {
    s.min(s.splat(most), s.max(s.zero(), x))
}

#[inline(always)]
pub(super) fn activate<S: Simd, const A: u8>(s: S, x: S::Vector) -> S::Vector {
    match A {
        RELU => s.max(s.zero(), x),
        RELU6 => clamp(s, x, 6.0),
        HARDSWISH => s.mul(x, hardsigmoid(s, x)),
        _ => x,
    }
}

/// `min(max(x + 3, 0), 6) / 6`
#[inline(always)]
pub(super) fn hardsigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let gate = s.mul_add(x, s.splat(1.0 / 6.0), s.splat(0.5));
    clamp(s, gate, 1.0)
}

/// Converts the gradient `d` of `activate(x)` to the gradient of `x`.
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
