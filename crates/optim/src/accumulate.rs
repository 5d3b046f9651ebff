//! Accumulates the gradients of several batches into one.

use rayon::prelude::*;

use crate::error::{Error, is_positive, require};
use crate::pass::GRAIN;

/// The running weighted mean of a sequence of gradients.
///
/// With it, several small batches act as one large batch: pass the gradient of each batch's
/// weighted mean loss, and the sum of the batch's weights. The result is the gradient of the mean
/// loss over all batches.
///
/// An accumulator has no state to save, because it is empty between two optimizer steps.
///
/// ```
/// use optim::Accumulator;
///
/// let mut gradients = Accumulator::default();
/// gradients.add(&[1.0, 0.0], 3.0)?;
/// gradients.add(&[5.0, 2.0], 1.0)?;
/// assert_eq!(gradients.mean(), [2.0, 0.5]);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    /// The mean of the gradients so far. A running mean, unlike a sum, never exceeds its inputs in
    /// magnitude.
    mean: Vec<f32>,
    weight: f64,
}

impl Accumulator {
    /// Adds a gradient with the weight `weight`.
    ///
    /// # Errors
    /// [`Error::Length`] if the gradient's length differs from the first gradient's.
    /// [`Error::Setting`] if the weight is not a finite number above zero. Both errors leave the
    /// accumulator unchanged.
    pub fn add(&mut self, gradient: &[f32], weight: f64) -> Result<(), Error> {
        check(weight)?;
        let is_first = self.weight == 0.0;
        if is_first && self.mean.is_empty() {
            self.mean.resize(gradient.len(), 0.0);
        }
        if gradient.len() != self.mean.len() {
            return Err(Error::Length {
                what: "gradients".to_owned(),
                expected: self.mean.len(),
                found: gradient.len(),
            });
        }
        let share = self.count(weight);
        if is_first {
            self.each(gradient, |mean, gradient| *mean = gradient);
        } else {
            self.each(gradient, |mean, gradient| {
                *mean += share * (gradient - *mean);
            });
        }
        Ok(())
    }

    /// Counts a gradient that lies elsewhere, for example on a GPU. Returns `share`: the update of each value is
    /// `mean += share * (gradient - mean)`, and a share of 1 replaces the mean.
    ///
    /// # Errors
    /// [`Error::Setting`] if the weight is not a finite number above zero.
    pub fn share(&mut self, weight: f64) -> Result<f32, Error> {
        check(weight)?;
        Ok(self.count(weight))
    }

    fn count(&mut self, weight: f64) -> f32 {
        self.weight += weight;
        (weight / self.weight) as f32
    }

    /// Forgets all gradients.
    pub fn clear(&mut self) {
        self.weight = 0.0;
    }

    /// The mean of all gradients added since the last call. If none were added, it is empty or all
    /// zeros.
    pub fn mean(&mut self) -> &mut [f32] {
        if std::mem::take(&mut self.weight) == 0.0 {
            self.mean.fill(0.0);
        }
        &mut self.mean
    }

    fn each(&mut self, gradient: &[f32], change: impl Fn(&mut f32, f32) + Sync) {
        let chunks = self
            .mean
            .par_chunks_mut(GRAIN)
            .zip(gradient.par_chunks(GRAIN));
        chunks.for_each(|(mean, gradient)| {
            for (mean, &gradient) in mean.iter_mut().zip(gradient) {
                change(mean, gradient);
            }
        });
    }
}

fn check(weight: f64) -> Result<(), Error> {
    let (section, expected) = ("gradient accumulation", "a finite number > 0");
    require(is_positive(weight), section, "weight", weight, expected)
}
