//! RAdam's rectification of the variance: Liu et al., 2020.

/// The variance is not used if its moving average covers fewer than this many steps.
const THRESHOLD: f64 = 5.0;

/// The factor of step number `step`. It includes the bias correction of the variance. `None` while
/// the variance is not used.
pub(super) fn rectification(beta2: f64, step: u64) -> Option<f64> {
    let longest = 2.0 / (1.0 - beta2) - 1.0;
    let decay = beta2.powf(step as f64);
    let length = longest - 2.0 * step as f64 * decay / (1.0 - decay);
    let trust = |length: f64| (length - 4.0) * (length - 2.0) / length;
    (length >= THRESHOLD).then(|| ((1.0 - decay) * trust(length) / trust(longest)).sqrt())
}
