//! Activations of flat values, and their gradients.

use rayon::prelude::*;

use crate::isa::{Isa, dispatch, multiply_add};
use crate::sigmoid::{COEFFICIENTS, LIMIT, LN_2, LN_2_REST, ROUND, scale, sigmoid, silu_slope};
use crate::spec::Activation;

/// Number of values per task.
const VALUES: usize = 16 * 1024;

/// `output = activation(x)`; `output` is overwritten. NaN stays NaN.
///
/// # Panics
/// If the slices do not agree in length.
pub fn forward(isa: Isa, activation: Activation, x: &[f32], output: &mut [f32]) {
    assert_eq!(x.len(), output.len());
    let kernel = match activation {
        Activation::Identity => return output.copy_from_slice(x),
        Activation::Relu => relu,
        Activation::Relu6 => relu6,
        Activation::Hardswish => hardswish,
        Activation::Silu => silu,
        Activation::Gelu => gelu,
        Activation::Sigmoid => sigmoids,
        Activation::Hardsigmoid => hardsigmoid,
    };
    let tasks = output.par_chunks_mut(VALUES).zip(x.par_chunks(VALUES));
    tasks.for_each(|(output, x)| kernel(isa, x, output));
}

/// Converts the gradient of `activation(x)` to that of `x`; `of_x` is overwritten. At corners, the slope is that of torch.
///
/// # Panics
/// If the slices do not agree in length.
pub fn backward(isa: Isa, activation: Activation, x: &[f32], gradient: &[f32], of_x: &mut [f32]) {
    assert_eq!((x.len(), x.len()), (gradient.len(), of_x.len()));
    let kernel = match activation {
        Activation::Identity => return of_x.copy_from_slice(gradient),
        Activation::Relu => relu_backward,
        Activation::Relu6 => relu6_backward,
        Activation::Hardswish => hardswish_backward,
        Activation::Silu => silu_backward,
        Activation::Gelu => gelu_backward,
        Activation::Sigmoid => sigmoids_backward,
        Activation::Hardsigmoid => hardsigmoid_backward,
    };
    let tasks = x.par_chunks(VALUES).zip(gradient.par_chunks(VALUES));
    let tasks = of_x.par_chunks_mut(VALUES).zip(tasks);
    tasks.for_each(|(of_x, (x, gradient))| kernel(isa, x, gradient, of_x));
}

/// The loops of an activation, given its value and the gradient of its input.
macro_rules! loops {
    ($forward:ident, $forward_kernel:ident, $backward:ident, $backward_kernel:ident,
        $value:expr, $slope:expr $(,)?) => {
        dispatch!($forward(x: &[f32], output: &mut [f32]) => $forward_kernel);

        #[inline(always)]
        fn $forward_kernel<const FMA: bool>(x: &[f32], output: &mut [f32]) {
            for (output, &x) in output.iter_mut().zip(x) {
                *output = $value(x);
            }
        }

        dispatch!($backward(x: &[f32], gradient: &[f32], of_x: &mut [f32]) => $backward_kernel);

        #[inline(always)]
        fn $backward_kernel<const FMA: bool>(x: &[f32], gradient: &[f32], of_x: &mut [f32]) {
            for (of_x, (&x, &gradient)) in of_x.iter_mut().zip(x.iter().zip(gradient)) {
                *of_x = $slope(x, gradient);
            }
        }
    };
}

loops!(
    relu,
    relu_kernel,
    relu_backward,
    relu_backward_kernel,
    |x: f32| if x <= 0.0 { 0.0 } else { x },
    |x: f32, d: f32| if x <= 0.0 { 0.0 } else { d }
);
loops!(
    relu6,
    relu6_kernel,
    relu6_backward,
    relu6_backward_kernel,
    |x: f32| limited(x, 6.0),
    |x: f32, d: f32| if x <= 0.0 || x >= 6.0 { 0.0 } else { d }
);
loops!(
    hardswish,
    hardswish_kernel,
    hardswish_backward,
    hardswish_backward_kernel,
    |x: f32| x * hard(x),
    |x: f32, d: f32| {
        let inner = if is_flat(x) { 0.0 } else { d * x * SIXTH };
        d * hard(x) + inner
    }
);
loops!(
    silu,
    silu_kernel,
    silu_backward,
    silu_backward_kernel,
    |x: f32| x * sigmoid::<FMA>(x),
    |x: f32, d: f32| silu_slope::<FMA>(x) * d
);
loops!(
    gelu,
    gelu_kernel,
    gelu_backward,
    gelu_backward_kernel,
    |x: f32| x * normal_distribution::<FMA>(x),
    |x: f32, d: f32| {
        let density = exponential::<FMA>(-0.5 * x * x) * NORMAL_DENSITY;
        multiply_add::<FMA>(x, density, normal_distribution::<FMA>(x)) * d
    }
);
loops!(
    sigmoids,
    sigmoids_kernel,
    sigmoids_backward,
    sigmoids_backward_kernel,
    sigmoid::<FMA>,
    |x: f32, d: f32| {
        let value = sigmoid::<FMA>(x);
        value * (1.0 - value) * d
    }
);
loops!(
    hardsigmoid,
    hardsigmoid_kernel,
    hardsigmoid_backward,
    hardsigmoid_backward_kernel,
    hard,
    |x: f32, d: f32| if is_flat(x) { 0.0 } else { d * SIXTH }
);

const SIXTH: f32 = 1.0 / 6.0;

/// `torch.nn.Hardsigmoid`.
#[inline(always)]
fn hard(x: f32) -> f32 {
    limited(x + 3.0, 6.0) * SIXTH
}

/// Whether the slope of Hardsigmoid is 0.
#[inline(always)]
fn is_flat(x: f32) -> bool {
    let x = x + 3.0;
    x <= 0.0 || x >= 6.0
}

/// `min(max(x, 0), most)`, with comparisons that are false for NaN.
#[inline(always)]
fn limited(x: f32, most: f32) -> f32 {
    let x = if x <= 0.0 { 0.0 } else { x };
    if x >= most { most } else { x }
}

/// The density of the normal distribution at 0.
const NORMAL_DENSITY: f32 = 0.398_942_3;

/// The polynomial of W. H. Press et al., Numerical Recipes (1992), for `erfc`, from the highest power down.
const ERFC: [f32; 10] = [
    0.170_872_77,
    -0.822_152_23,
    1.488_515_9,
    -1.135_204,
    0.278_868_07,
    -0.186_288_06,
    0.096_784_18,
    0.374_091_96,
    1.000_023_7,
    -1.265_512_2,
];

/// The integral of the normal density up to `x`: `erfc(-x / sqrt(2)) / 2`.
#[inline(always)]
fn normal_distribution<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / multiply_add::<FMA>(z, 0.5, 1.0);
    let mut power = ERFC[0];
    for coefficient in &ERFC[1..] {
        power = multiply_add::<FMA>(power, t, *coefficient);
    }
    let tail = 0.5 * t * exponential::<FMA>(multiply_add::<FMA>(-z, z, power));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// `exp(x)` for `x` up to 0; see [`crate::sigmoid`].
#[inline(always)]
fn exponential<const FMA: bool>(x: f32) -> f32 {
    let x = if x < -LIMIT { -LIMIT } else { x };
    let n = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND) - ROUND;
    let g = multiply_add::<FMA>(n, -LN_2, x);
    let g = multiply_add::<FMA>(n, -LN_2_REST, g);
    let mut value = COEFFICIENTS[4];
    for index in (0..4).rev() {
        value = multiply_add::<FMA>(value, g, COEFFICIENTS[index]);
    }
    scale(multiply_add::<FMA>(value, g, 1.0), n)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 8] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Silu,
        Activation::Gelu,
        Activation::Sigmoid,
        Activation::Hardsigmoid,
    ];

    fn expected(activation: Activation, x: f64) -> f64 {
        let hardsigmoid = (x + 3.0).clamp(0.0, 6.0) / 6.0;
        match activation {
            Activation::Identity => x,
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Hardswish => x * hardsigmoid,
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => x * integral(x),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Hardsigmoid => hardsigmoid,
        }
    }

    /// The integral of the normal density up to `x`, by Simpson's rule from -40 or from 0.
    fn integral(x: f64) -> f64 {
        let (start, begun) = if x < 0.0 { (x - 12.0, 0.0) } else { (0.0, 0.5) };
        let count = 4000;
        let width = (x - start) / f64::from(count);
        let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let weight = |index| match index {
            0 => 1.0,
            index if index == count => 1.0,
            index if index % 2 == 1 => 4.0,
            _ => 2.0,
        };
        let values = (0..=count).map(|i| weight(i) * density(start + f64::from(i) * width));
        begun + values.sum::<f64>() * width / 3.0
    }

    #[test]
    fn values_and_slopes_match_double_precision() {
        // None is at a corner.
        let x: Vec<f32> = (-400..400).map(|i| i as f32 * 0.0248 + 0.0011).collect();
        let gradient: Vec<f32> = (0..x.len()).map(|i| (i as f32 * 0.7).sin() + 1.5).collect();
        for activation in ALL {
            for isa in Isa::available() {
                let (mut found, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                forward(isa, activation, &x, &mut found);
                backward(isa, activation, &x, &gradient, &mut slope);
                for (index, &at) in x.iter().enumerate() {
                    let value = |by: f64| expected(activation, f64::from(at) + by);
                    let off = (f64::from(found[index]) - value(0.0)).abs();
                    assert!(
                        off <= 2e-6 * value(0.0).abs() + 1e-12,
                        "{activation:?} {isa} at {at}: off by {off:e}"
                    );
                    let ours = f64::from(slope[index] / gradient[index]);
                    let off = (ours - (value(1e-4) - value(-1e-4)) / 2e-4).abs();
                    assert!(off < 2e-6, "slope of {activation:?} {isa} at {at}: {off:e}");
                }
            }
        }
    }

    #[test]
    fn nan_stays_and_extremes_are_finite() {
        let x = [f32::NAN, -3e4, 3e4, -1e30, 1e30, 0.0];
        for activation in ALL {
            for isa in Isa::available() {
                let (mut found, mut slope) = ([0.0; 6], [0.0; 6]);
                forward(isa, activation, &x, &mut found);
                backward(isa, activation, &x, &[1.0; 6], &mut slope);
                assert!(found[0].is_nan(), "{activation:?} {isa}");
                for (index, value) in found.iter().chain(&slope).enumerate() {
                    assert!(
                        index % 6 == 0 || value.is_finite(),
                        "{activation:?} {isa}: {found:?} {slope:?}"
                    );
                }
            }
        }
    }
}
