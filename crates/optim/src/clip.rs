//! Gradient clipping.

use rayon::prelude::*;

use crate::error::{Error, is_positive, require};
use crate::pass::GRAIN;

/// Number of independent running sums, so that the compiler can vectorise the loop.
const LANES: usize = 8;

/// Scales `gradients` down so that their Euclidean norm is at most `max_norm`. Returns the norm
/// before scaling (`torch.nn.utils.clip_grad_norm_`).
///
/// The norm is summed in `f64`. If the norm is not finite, the gradients stay unchanged, because no
/// scaling can repair them. Check the returned norm before the optimizer step.
///
/// ```
/// let mut gradients = [3.0, 4.0];
/// let norm = optim::clip_gradient_norm(&mut gradients, 1.0)?;
/// assert_eq!(norm, 5.0);
/// assert!((gradients[0] - 0.6).abs() < 1e-6);
/// # Ok::<(), optim::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] if `max_norm` is not a finite number above zero.
pub fn clip_gradient_norm(gradients: &mut [f32], max_norm: f64) -> Result<f64, Error> {
    check("max_norm", max_norm)?;
    let norm = sum_of_squares(gradients).sqrt();
    if let Some(factor) = clip_factor(norm, max_norm) {
        for_each_chunk(gradients, |gradient| *gradient *= factor);
    }
    Ok(norm)
}

/// What [`clip_gradient_norm`] multiplies gradients of this norm by; `None` if they stay unchanged.
pub fn clip_factor(norm: f64, max_norm: f64) -> Option<f32> {
    let factor = max_norm / (norm + 1e-6); // as in torch: avoids dividing by a norm of zero
    (norm.is_finite() && factor < 1.0).then_some(factor as f32)
}

/// Clamps each gradient to `[-max_value, max_value]`
/// (`torch.nn.utils.clip_grad_value_`). NaN stays NaN.
///
/// # Errors
/// [`Error::Setting`] if `max_value` is not a finite number above zero.
pub fn clip_gradient_value(gradients: &mut [f32], max_value: f64) -> Result<(), Error> {
    check("max_value", max_value)?;
    let limit = max_value as f32;
    for_each_chunk(gradients, |gradient| {
        *gradient = gradient.clamp(-limit, limit);
    });
    Ok(())
}

fn check(key: &'static str, value: f64) -> Result<(), Error> {
    let (section, expected) = ("gradient clipping", "a finite number > 0");
    require(is_positive(value), section, key, value, expected)
}

fn for_each_chunk(values: &mut [f32], change: impl Fn(&mut f32) + Sync) {
    values
        .par_chunks_mut(GRAIN)
        .for_each(|chunk| chunk.iter_mut().for_each(&change));
}

/// The sum of squares. It has the same bits for any number of threads: the division into parts
/// depends only on the length, and the order of additions is fixed.
fn sum_of_squares(values: &[f32]) -> f64 {
    if values.len() > GRAIN {
        let middle = values.len().div_ceil(2 * GRAIN) * GRAIN;
        let (left, right) = values.split_at(middle);
        let (left, right) = rayon::join(|| sum_of_squares(left), || sum_of_squares(right));
        return left + right;
    }
    let (blocks, tail) = values.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for block in blocks {
        for (sum, &value) in sums.iter_mut().zip(block) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let tail = tail.iter().map(|&v| f64::from(v) * f64::from(v));
    sums.iter().sum::<f64>() + tail.sum::<f64>()
}
