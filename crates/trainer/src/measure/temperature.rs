//! Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017).

use std::ops::RangeInclusive;

use crate::{Error, Result};

/// The range of temperatures. Without it, the best temperature of answers that are all right would be 0.
const RANGE: RangeInclusive<f64> = 0.05..=20.0;
/// The most logits kept, 4 bytes each.
const MOST_LOGITS: usize = 1 << 24;
/// Newton's method needs fewer than ten iterations; bisection from the whole range, fewer than sixty.
const MOST_ITERATIONS: usize = 100;

/// Collects the logits of validation images, then fits the temperature T that minimises the mean cross-entropy of
/// softmax(logits / T).
///
/// A temperature above 1 makes a network's probabilities less sure. It does not change the predicted class.
///
/// ```
/// let mut fit = trainer::TemperatureFit::new(2, 4);
/// // Four equal answers, one of them wrong: the right probability is 3/4, not that of the logits.
/// fit.add(&vec![vec![4.0, 0.0]; 4], &[0, 0, 0, 1])?;
/// let temperature = fit.temperature().unwrap();
/// assert!((temperature - 4.0 / 3f64.ln()).abs() < 1e-9);
/// # Ok::<(), trainer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TemperatureFit {
    classes: usize,
    /// One of this many images is kept.
    step: usize,
    seen: usize,
    logits: Vec<f32>,
    labels: Vec<u32>,
}

impl TemperatureFit {
    /// For about `images` images. Of very many, an evenly spaced part is kept: at most 64 MiB of logits.
    pub fn new(classes: usize, images: usize) -> Self {
        Self {
            classes,
            step: images.saturating_mul(classes).div_ceil(MOST_LOGITS).max(1),
            seen: 0,
            logits: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Adds images by their logits, `[n][classes]`, and labels.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the lengths differ or a label is not a class.
    pub fn add(&mut self, logits: &[Vec<f32>], labels: &[u32]) -> Result<()> {
        let fits = |(row, label): (&Vec<f32>, &u32)| {
            row.len() == self.classes && (*label as usize) < self.classes
        };
        if logits.len() != labels.len() || !logits.iter().zip(labels).all(fits) {
            return Err(Error::Shape(format!(
                "logits of {} images with {} labels; expected a label below {classes} and {classes} logits for each image",
                logits.len(),
                labels.len(),
                classes = self.classes
            )));
        }
        for (row, label) in logits.iter().zip(labels) {
            if self.seen.is_multiple_of(self.step) {
                self.logits.extend(row);
                self.labels.push(*label);
            }
            self.seen += 1;
        }
        Ok(())
    }

    /// The best temperature, from 0.05 to 20. `None` without images, or if a logit is not finite.
    pub fn temperature(&self) -> Option<f64> {
        if self.labels.is_empty() || !self.logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        // The cross-entropy is convex in 1/T, so its slope has at most one root.
        let (mut low, mut high) = (1.0 / RANGE.end(), 1.0 / RANGE.start());
        if self.slopes(low).0 >= 0.0 {
            return Some(*RANGE.end());
        }
        if self.slopes(high).0 <= 0.0 {
            return Some(*RANGE.start());
        }
        let mut inverse = 1.0;
        for _ in 0..MOST_ITERATIONS {
            let (slope, curvature) = self.slopes(inverse);
            match slope > 0.0 {
                true => high = inverse,
                false => low = inverse,
            }
            let newton = inverse - slope / curvature;
            let next = match low < newton && newton < high {
                true => newton,
                false => f64::midpoint(low, high),
            };
            let is_settled = (next - inverse).abs() <= 1e-14 * inverse;
            inverse = next;
            if is_settled {
                break;
            }
        }
        Some(1.0 / inverse)
    }

    /// The first and second derivative of the mean cross-entropy with respect to 1/T.
    fn slopes(&self, inverse: f64) -> (f64, f64) {
        let (mut first, mut second) = (0.0, 0.0);
        for (row, label) in self.logits.chunks_exact(self.classes).zip(&self.labels) {
            let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let (mut total, mut mean, mut square) = (0.0, 0.0, 0.0);
            for logit in row {
                let below = f64::from(*logit) - largest;
                let weight = (below * inverse).exp();
                total += weight;
                mean += weight * below;
                square += weight * below * below;
            }
            mean /= total;
            first += mean - (f64::from(row[*label as usize]) - largest);
            second += square / total - mean * mean;
        }
        let images = self.labels.len() as f64;
        (first / images, second / images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        classes: usize,
        logits: Vec<Vec<f32>>,
        labels: Vec<u32>,
        temperature: f64,
    }

    /// The expected temperatures are torch's LBFGS in f64, from `tests/golden/generate_temperatures.py`.
    #[test]
    fn temperatures_are_those_of_torch() {
        let golden = include_str!("../../tests/golden/temperatures.json");
        let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            let mut fit = TemperatureFit::new(case.classes, case.labels.len());
            fit.add(&case.logits, &case.labels).unwrap();
            let found = fit.temperature().unwrap();
            let error = (found / case.temperature - 1.0).abs();
            assert!(error < 1e-9, "{}: {found} {}", case.name, case.temperature);
        }
    }

    #[test]
    fn answers_that_are_all_right_or_all_wrong_meet_the_limits() {
        for (label, expected) in [(0, 0.05), (1, 20.0)] {
            let mut fit = TemperatureFit::new(2, 1);
            fit.add(&[vec![3.0, 1.0]], &[label]).unwrap();
            assert_eq!(fit.temperature(), Some(expected));
        }
    }

    #[test]
    fn nothing_is_fitted_without_finite_logits() {
        let mut fit = TemperatureFit::new(2, 1);
        assert_eq!(fit.temperature(), None);
        fit.add(&[vec![f32::NAN, 1.0]], &[0]).unwrap();
        assert_eq!(fit.temperature(), None);
        assert!(fit.add(&[vec![0.0, 1.0]], &[2]).is_err());
        assert!(fit.add(&[vec![0.0]], &[0]).is_err());
        assert!(fit.add(&[vec![0.0, 1.0]], &[]).is_err());
    }

    #[test]
    fn of_very_many_images_a_part_is_kept() {
        let mut fit = TemperatureFit::new(1000, 40_000);
        assert_eq!(fit.step, 3);
        fit.add(&vec![vec![0.0; 1000]; 7], &[0; 7]).unwrap();
        assert_eq!(fit.labels.len(), 3);
    }
}
