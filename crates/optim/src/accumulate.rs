//! Gradients of several batches as one.

use rayon::prelude::*;

use crate::pass::GRAIN;

/// The weighted mean of gradients that come one after the other.
///
/// Where each is the gradient of a mean over weights whose sum is given with it, the result is
/// that of the mean over all of them: several small batches are one large one.
///
/// ```
/// use optim::Accumulator;
///
/// let mut gradients = Accumulator::default();
/// gradients.add(&[1.0, 0.0], 3.0);
/// gradients.add(&[5.0, 2.0], 1.0);
/// assert_eq!(gradients.mean(), [2.0, 0.5]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    sum: Vec<f32>,
    weight: f64,
}

impl Accumulator {
    /// Adds a gradient that weighs `weight`; all must have the length of the first.
    pub fn add(&mut self, gradient: &[f32], weight: f64) {
        let factor = weight as f32;
        if self.weight == 0.0 {
            self.sum.resize(gradient.len(), 0.0);
            self.each(gradient, |sum, gradient| *sum = factor * gradient);
        } else {
            self.each(gradient, |sum, gradient| *sum += factor * gradient);
        }
        self.weight += weight;
    }

    /// The mean of what was added since the last call; empty or zero where nothing was.
    pub fn mean(&mut self) -> &mut [f32] {
        let weight = std::mem::take(&mut self.weight);
        if weight == 0.0 {
            self.sum.fill(0.0);
            return &mut self.sum;
        }
        let factor = (1.0 / weight) as f32;
        let chunks = self.sum.par_chunks_mut(GRAIN);
        chunks.for_each(|chunk| chunk.iter_mut().for_each(|sum| *sum *= factor));
        &mut self.sum
    }

    fn each(&mut self, gradient: &[f32], change: impl Fn(&mut f32, f32) + Sync) {
        let chunks = self
            .sum
            .par_chunks_mut(GRAIN)
            .zip(gradient.par_chunks(GRAIN));
        chunks.for_each(|(sum, gradient)| {
            for (sum, &gradient) in sum.iter_mut().zip(gradient) {
                change(sum, gradient);
            }
        });
    }
}
