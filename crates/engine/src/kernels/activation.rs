//! Activations and their derivatives on vectors.

use crate::memory::Src;
use crate::sigmoid::{COEFFICIENTS, LIMIT, LN_2, LN_2_REST, ROUND};
use crate::simd::Simd;
use crate::spec::Activation;

/// The kinds of activation as const generic arguments. The compiler generates a loop for each.
pub(super) const IDENTITY: u8 = Activation::Identity as u8;
pub(super) const RELU: u8 = Activation::Relu as u8;
pub(super) const RELU6: u8 = Activation::Relu6 as u8;
pub(super) const HARDSWISH: u8 = Activation::Hardswish as u8;
pub(super) const SILU: u8 = Activation::Silu as u8;
pub(super) const SIGMOID: u8 = Activation::Sigmoid as u8;
pub(super) const HARDSIGMOID: u8 = Activation::Hardsigmoid as u8;

/// Whether kernels compute this activation of maps.
pub(crate) fn is_for_maps(activation: Activation) -> bool {
    matches!(
        activation,
        Activation::Identity
            | Activation::Relu
            | Activation::Relu6
            | Activation::Hardswish
            | Activation::Silu
    )
}

/// Evaluates an expression in which the constant `$A` is the kind of activation. For activations of maps, see
/// [`is_for_maps`].
macro_rules! for_activation {
    ($activation:expr, $A:ident => $body:expr) => {
        match $activation {
            crate::spec::Activation::Silu => {
                const $A: u8 = crate::kernels::activation::SILU;
                $body
            }
            other => crate::kernels::activation::for_short_activation!(other, $A => $body),
        }
    };
}
pub(super) use for_activation;

/// As [`for_activation`], for the activations of a few instructions, which are unrolled in tiles: all but SiLU.
macro_rules! for_short_activation {
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
            other => unreachable!("no kernel computes {other:?} of a map"),
        }
    };
}
pub(super) use for_short_activation;

/// As [`for_activation`], for all activations but GELU: those of maps and those of factors.
macro_rules! for_any_activation {
    ($activation:expr, $A:ident => $body:expr) => {
        match $activation {
            crate::spec::Activation::Sigmoid => {
                const $A: u8 = crate::kernels::activation::SIGMOID;
                $body
            }
            crate::spec::Activation::Hardsigmoid => {
                const $A: u8 = crate::kernels::activation::HARDSIGMOID;
                $body
            }
            other => crate::kernels::activation::for_activation!(other, $A => $body),
        }
    };
}
pub(super) use for_any_activation;

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
        SILU => s.mul(x, sigmoid(s, x)),
        SIGMOID => sigmoid(s, x),
        HARDSIGMOID => hardsigmoid(s, x),
        _ => x,
    }
}

/// `min(max(x + 3, 0), 6) / 6`
#[inline(always)]
pub(super) fn hardsigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let gate = s.mul_add(x, s.splat(1.0 / 6.0), s.splat(0.5));
    clamp(s, gate, 1.0)
}

/// `1 / (1 + exp(-x))`, with a relative error below 1e-6; see [`crate::sigmoid`].
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let x = s.min(s.splat(LIMIT), s.max(s.splat(-LIMIT), x));
    let round = s.mul_add(x, s.splat(-std::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.add(round, s.splat(-ROUND));
    // The negative of the polynomial's argument, which saves changing the sign of `x`.
    let g = s.mul_add(n, s.splat(LN_2_REST), s.mul_add(n, s.splat(LN_2), x));
    let [first, second, third, fourth, fifth] = COEFFICIENTS;
    let mut value = s.mul_add(g, s.splat(-fifth), s.splat(fourth));
    for coefficient in [-third, second, -first, 1.0] {
        value = s.mul_add(value, g, s.splat(coefficient));
    }
    s.reciprocal(s.add(s.scale(value, n), s.splat(1.0)))
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
        SILU => s.mul(silu_slope(s, x, sigmoid(s, x)), d),
        SIGMOID => {
            let value = sigmoid(s, x);
            s.mul(s.mul(value, one_minus(s, value)), d)
        }
        HARDSIGMOID => {
            let below = s.where_greater(s.splat(3.0), x, d, s.zero());
            let sloped = s.where_greater(x, s.splat(-3.0), below, s.zero());
            s.mul(sloped, s.splat(1.0 / 6.0))
        }
        _ => d,
    }
}

/// The slope of SiLU at `x`, given `sigmoid(x)`.
#[inline(always)]
fn silu_slope<S: Simd>(s: S, x: S::Vector, sigmoid: S::Vector) -> S::Vector {
    s.mul_add(s.mul(x, sigmoid), one_minus(s, sigmoid), sigmoid)
}

#[inline(always)]
fn one_minus<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    s.mul_add(x, s.splat(-1.0), s.splat(1.0))
}

/// `activation` on every vector of a tile.
#[inline(always)]
pub(super) fn activate_tile<S: Simd, const N: usize>(
    s: S,
    activation: Activation,
    tile: &mut [S::Vector; N],
) {
    if activation == Activation::Silu {
        // A copy, so that tiles with other activations stay in registers.
        let mut values = *tile;
        activate_values(s, activation, &mut values);
        *tile = values;
        return;
    }
    for_short_activation!(activation, A => for index in 0..N {
        tile[index] = activate::<S, A>(s, tile[index]);
    });
}

/// `activation` on every value. SiLU takes so many instructions that unrolled tiles would fill the instruction cache, so
/// this is one loop, which all tiles call; and so are the next functions.
#[inline(never)]
pub(super) fn activate_values<S: Simd>(s: S, activation: Activation, values: &mut [S::Vector]) {
    s.vectorize(
        #[inline(always)]
        || {
            for_activation!(activation, A => for value in values {
                *value = activate::<S, A>(s, *value);
            });
        },
    );
}

/// Multiplies gradients of SiLU's output by its slope, at every `step`-th pixel of `z * scale + shift`.
///
/// # Safety
/// `z` must have these pixels, as many as there are gradients.
#[inline(never)]
pub(super) unsafe fn silu_gradients<S: Simd>(
    s: S,
    z: Src,
    step: usize,
    [scale, shift]: &[S::Vector; 2],
    gradients: &mut [S::Vector],
) {
    s.vectorize(
        #[inline(always)]
        || {
            for (row, gradient) in gradients.iter_mut().enumerate() {
                let x = s.mul_add(s.load_pixel(z, row * step), *scale, *shift);
                *gradient = derive::<S, SILU>(s, x, *gradient);
            }
        },
    );
}

/// Replaces values by their SiLU, and writes the slope of SiLU at each to `slopes`.
///
/// # Safety
/// `slopes` must be writable for as many vectors as there are values.
#[inline(never)]
pub(super) unsafe fn silu_with_slopes<S: Simd>(
    s: S,
    values: &mut [S::Vector],
    slopes: *mut S::Vector,
) {
    s.vectorize(
        #[inline(always)]
        || {
            for (index, value) in values.iter_mut().enumerate() {
                let sigmoid = sigmoid(s, *value);
                slopes.add(index).write(silu_slope(s, *value, sigmoid));
                *value = s.mul(*value, sigmoid);
            }
        },
    );
}
