//! Temperature scaling (Guo et al., 2017): one number that calibrates a network's probabilities.

use std::ops::RangeInclusive;

/// The range of a fitted temperature. If every image is classified correctly, the best temperature is 0; then the lower
/// end is taken.
pub const TEMPERATURES: RangeInclusive<f64> = 0.05..=20.0;

/// The most logits that are kept for the fit: 64 MiB.
const MOST_LOGITS: usize = 1 << 24;
/// The most steps of the fit. Each is a Newton step within the interval, or halves it.
const MOST_STEPS: usize = 200;

/// Logits of labelled images, from which a temperature is fitted. Of many images, every n-th is kept, so that at most 16
/// million logits are in memory.
pub(crate) struct Logits {
    classes: usize,
    every: usize,
    seen: usize,
    labels: Vec<u32>,
    values: Vec<f32>,
}

impl Logits {
    /// For about so many images.
    pub(crate) fn new(classes: usize, images: usize) -> Self {
        let every = images.saturating_mul(classes).div_ceil(MOST_LOGITS).max(1);
        Self {
            classes,
            every,
            seen: 0,
            labels: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds images with their logits, one row each. A label must be a class.
    pub(crate) fn add(&mut self, labels: &[u32], rows: &[Vec<f32>]) {
        for (&label, row) in labels.iter().zip(rows) {
            if self.seen.is_multiple_of(self.every) && row.len() == self.classes {
                self.labels.push(label);
                self.values.extend(row);
            }
            self.seen += 1;
        }
    }

    /// The temperature T in [`TEMPERATURES`] for which `softmax(logits / T)` has the smallest mean cross-entropy.
    /// `None` without images.
    ///
    /// The cross-entropy is convex in 1/T. Newton's method finds its minimum, with bisection where a step would leave
    /// the interval that contains the minimum. All sums are in f64 and in the order of the images.
    pub(crate) fn temperature(&self) -> Option<f64> {
        if self.labels.is_empty() {
            return None;
        }
        let (mut low, mut high) = (1.0 / TEMPERATURES.end(), 1.0 / TEMPERATURES.start());
        let mut factor = 1.0;
        let (mut slope, mut curvature) = self.slope(factor);
        // The slope rises with the factor 1/T, and is 0 at the minimum.
        if slope > 0.0 && self.slope(low).0 >= 0.0 {
            return Some(*TEMPERATURES.end());
        }
        if slope < 0.0 && self.slope(high).0 <= 0.0 {
            return Some(*TEMPERATURES.start());
        }
        for _ in 0..MOST_STEPS {
            if slope == 0.0 {
                break;
            }
            match slope > 0.0 {
                true => high = factor,
                false => low = factor,
            }
            let newton = factor - slope / curvature;
            let next = match newton > low && newton < high {
                true => newton,
                false => low + (high - low) / 2.0,
            };
            let is_done = (next - factor).abs() <= 1e-15 * factor;
            factor = next;
            if is_done {
                break;
            }
            (slope, curvature) = self.slope(factor);
        }
        Some(1.0 / factor)
    }

    /// The first and the second derivative, by `factor`, of the mean cross-entropy of `softmax(factor * logits)`.
    fn slope(&self, factor: f64) -> (f64, f64) {
        let (mut slope, mut curvature) = (0.0, 0.0);
        let rows = self.values.chunks_exact(self.classes.max(1));
        for (row, &label) in rows.zip(&self.labels) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // Relative to the largest logit, so that no power overflows.
            let relative = |logit: f32| f64::from(logit) - f64::from(largest);
            let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
            for &logit in row {
                let logit = relative(logit);
                let power = (factor * logit).exp();
                sum += power;
                first += power * logit;
                second += power * logit * logit;
            }
            let mean = first / sum;
            slope += mean - row.get(label as usize).map_or(mean, |&own| relative(own));
            curvature += second / sum - mean * mean;
        }
        let images = self.labels.len() as f64;
        (slope / images, curvature / images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        labels: Vec<u32>,
        logits: Vec<Vec<f32>>,
        temperature: f64,
    }

    /// The expected temperatures are those of torch in f64, from `tests/golden/generate_scores.py`.
    #[test]
    fn temperatures_are_those_of_torch() {
        let golden = include_str!("../../tests/golden/temperature.json");
        let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
        assert!(cases.len() > 5);
        for case in cases {
            let mut logits = Logits::new(case.logits[0].len(), case.labels.len());
            logits.add(&case.labels, &case.logits);
            let found = logits.temperature().unwrap();
            let error = (found / case.temperature - 1.0).abs();
            assert!(error < 1e-9, "{}: {found} {}", case.name, case.temperature);
        }
    }

    fn of(rows: &[[f32; 2]], labels: &[u32]) -> Option<f64> {
        let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
        let mut logits = Logits::new(2, rows.len());
        logits.add(labels, &rows);
        logits.temperature()
    }

    #[test]
    fn a_temperature_is_bounded_and_one_where_it_does_not_matter() {
        // All right: the surer, the better. All wrong: the less sure, the better.
        assert_eq!(of(&[[1.0, 0.0], [0.0, 2.0]], &[0, 1]), Some(0.05));
        assert_eq!(of(&[[1.0, 0.0], [0.0, 2.0]], &[1, 0]), Some(20.0));
        assert_eq!(of(&[[3.0, 3.0]], &[0]), Some(1.0));
        assert_eq!(of(&[], &[]), None);
        let extreme = of(&[[1e30, 0.0], [0.0, 1e30]], &[0, 0]).unwrap();
        assert_eq!(extreme, 20.0);
    }

    /// The best temperature of logits that were multiplied by a number is multiplied by it too.
    #[test]
    fn a_temperature_follows_the_scale_of_the_logits() {
        let rows = [[1.0, 0.2], [0.5, 0.9], [2.0, 1.5], [0.0, 0.3]];
        let labels = [0, 1, 1, 1];
        let once = of(&rows, &labels).unwrap();
        let fourfold = of(&rows.map(|row| row.map(|logit| 4.0 * logit)), &labels).unwrap();
        assert!((fourfold / once - 4.0).abs() < 1e-9, "{once} {fourfold}");
    }

    #[test]
    fn of_many_images_some_are_kept_evenly() {
        let mut logits = Logits::new(1024, 50_000);
        assert_eq!(logits.every, 4);
        let row = vec![0.0; 1024];
        for label in 0..10 {
            logits.add(
                &[label, label, label],
                &[row.clone(), row.clone(), row.clone()],
            );
        }
        assert_eq!(logits.labels, [0, 1, 2, 4, 5, 6, 8, 9]);
    }
}
