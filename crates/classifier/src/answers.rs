//! Logits and probabilities of images.

use candle_core::{D, Tensor};

use crate::{Error, Result};

/// A loader's batch with a classifier's logits.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Finite logits `[n, classes]`. With several networks or views they are the logarithms of the
    /// mean probabilities.
    pub logits: Tensor,
    /// The label of each image, from the loader's samples.
    pub labels: Vec<u32>,
    /// The id of each image.
    pub ids: Vec<String>,
}

impl Answers {
    /// The probabilities, `[n][classes]`; each row sums to 1.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device fails.
    pub fn probabilities(&self) -> Result<Vec<Vec<f32>>> {
        probabilities(&self.logits)
    }
}

pub(crate) fn probabilities(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    let rows = logits.to_vec2::<f32>()?;
    Ok(rows.iter().map(|row| softmax(row)).collect())
}

/// The probabilities of an image's logits; they sum to 1. The same as torch's `softmax`.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shares = logits.iter().map(|logit| (logit - largest).exp());
    let shares: Vec<f32> = shares.collect();
    let sum: f32 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

/// Outputs in the order of these values, the largest first. Of equal values, the first comes first.
#[must_use]
pub fn ranked(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

/// Refuses logits that are not finite, since they have no largest class. `image` gives the name of a row's image.
///
/// # Errors
/// [`Error::NonFiniteAnswer`] for the first such logit.
pub fn check_answers(rows: &[Vec<f32>], image: impl Fn(usize) -> String) -> Result<()> {
    for (index, row) in rows.iter().enumerate() {
        if let Some(&logit) = row.iter().find(|logit| !logit.is_finite()) {
            let image = image(index);
            return Err(Error::NonFiniteAnswer { image, logit });
        }
    }
    Ok(())
}

/// Averages the probabilities of several logits, and returns the logarithms. The logits of a single network are
/// returned unchanged.
pub(crate) fn mean(mut logits: Vec<Tensor>) -> Result<Tensor> {
    if logits.len() == 1 {
        return Ok(logits.remove(0));
    }
    let count = logits.len() as f64;
    let logs = logits
        .iter()
        .map(|logits| candle_nn::ops::log_softmax(logits, D::Minus1))
        .collect::<candle_core::Result<Vec<_>>>()?;
    let logs = Tensor::stack(&logs, 0)?;
    Ok((logs.log_sum_exp(0)? - count.ln())?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_mean_is_that_of_the_probabilities() {
        let a = Tensor::new(&[[0f32, 0.0], [1000.0, 0.0]], &Device::Cpu).unwrap();
        let b = Tensor::new(&[[3f32.ln(), 0.0], [1000.0, 0.0]], &Device::Cpu).unwrap();
        let mean = mean(vec![a, b]).unwrap().exp().unwrap();
        let rows = mean.to_vec2::<f32>().unwrap();
        for (ours, exact) in rows.iter().flatten().zip([0.625, 0.375, 1.0, 0.0]) {
            assert!((ours - exact).abs() < 1e-6, "{rows:?}");
        }
    }
}
