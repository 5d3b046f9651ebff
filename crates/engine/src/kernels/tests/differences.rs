//! Checks the gradients of the reference implementations against finite differences.

use super::operand::Matrix;

/// Asserts that `gradient` is the gradient of `loss` at `point`, component by component.
#[track_caller]
pub(super) fn assert_gradient(point: &Matrix, gradient: &Matrix, loss: impl Fn(&Matrix) -> f64) {
    // Small compared with the distance to the nearest kink, see `Noise::smooth`.
    const STEP: f64 = 1e-5;
    assert_eq!(
        (point.rows, point.channels),
        (gradient.rows, gradient.channels)
    );
    for row in 0..point.rows {
        for channel in 0..point.channels {
            let at = (row, channel);
            let moved = |step: f64| {
                let mut moved = point.clone();
                moved[at] = (point[at].value + step).into();
                loss(&moved)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let expected = gradient[at].value;
            assert!(
                (slope - expected).abs() <= 1e-7 * (1.0 + gradient[at].size),
                "at {at:?}: the loss rises by {slope}, the gradient says {expected}"
            );
        }
    }
}

/// The sum of `outputs` times `weights`. The gradient of this loss is `weights`.
pub(super) fn weighted(outputs: &Matrix, weights: &Matrix) -> f64 {
    let mut sum = 0.0;
    for row in 0..outputs.rows {
        for channel in 0..outputs.channels {
            sum += outputs[(row, channel)].value * weights[(row, channel)].value;
        }
    }
    sum
}
