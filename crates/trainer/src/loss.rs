//! Cross-entropy with label smoothing, class weights and image weights.

use candle_core::{D, Tensor};

use crate::{Error, Result};

/// `torch.nn.CrossEntropyLoss(weight, label_smoothing)`, with a weight per image as well.
///
/// For image `i` of class `y` with weight `s`, class weights `w`, smoothing `e`
/// and `C` classes:
///
/// ```text
/// loss_i = s * ((1 - e) * w[y] * -log p[y]  +  e / C * sum_c w[c] * -log p[c])
/// mean   = sum_i loss_i / sum_i s * w[y]
/// ```
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let logits = Tensor::new(&[[0f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
/// let loss = trainer::CrossEntropy::plain(2).apply(&logits, &[0, 1], &[1.0, 1.0])?;
/// assert!((loss.value()? - 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    label_smoothing: f32,
    class_weights: Vec<f32>,
}

/// A loss averaged over a batch.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The mean, a scalar that `backward` may start from.
    pub mean: Tensor,
    /// The sum of the weights it is a mean over; the number of images where all weights are 1.
    pub weight: f64,
}

impl Loss {
    /// The mean as a number.
    ///
    /// # Errors
    ///
    /// Only when the device fails.
    pub fn value(&self) -> Result<f64> {
        Ok(f64::from(self.mean.to_scalar::<f32>()?))
    }
}

impl CrossEntropy {
    /// No smoothing, every class weighs 1.
    pub fn plain(classes: usize) -> Self {
        Self {
            label_smoothing: 0.0,
            class_weights: vec![1.0; classes],
        }
    }

    /// Smoothing from 0 to below 1, and a weight per class.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when a value lies outside its range.
    pub fn new(label_smoothing: f64, class_weights: Vec<f32>) -> Result<Self> {
        let weights_fit = class_weights.iter().all(|w| w.is_finite() && *w >= 0.0);
        if !(0.0..1.0).contains(&label_smoothing) || !weights_fit {
            return Err(Error::Shape(format!(
                "label smoothing {label_smoothing}, class weights {class_weights:?}; expected smoothing from 0 to below 1 and finite weights from 0 on"
            )));
        }
        Ok(Self {
            label_smoothing: label_smoothing as f32,
            class_weights,
        })
    }

    /// The mean loss of a batch, differentiable with respect to `logits`.
    ///
    /// `logits` is `[n, classes]` f32; `labels` and `image_weights` have length `n`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when the lengths do not fit, a label is no class, or all weights of the batch are 0.
    pub fn apply(&self, logits: &Tensor, labels: &[u32], image_weights: &[f32]) -> Result<Loss> {
        let (images, classes) = logits.dims2()?;
        if (images, images, classes)
            != (labels.len(), image_weights.len(), self.class_weights.len())
        {
            return Err(Error::Shape(format!(
                "logits [{images}, {classes}], {} labels, {} image weights; expected [n, {}] and n of each",
                labels.len(),
                image_weights.len(),
                self.class_weights.len()
            )));
        }
        let (targets, weight) = self.targets(labels, image_weights)?;
        if weight <= 0.0 {
            return Err(Error::Shape(format!(
                "every image of a batch of {images} weighs 0, so that it has no mean loss; expected a class or image weight above 0"
            )));
        }
        let targets = Tensor::from_vec(targets, (images, classes), logits.device())?;
        let log_probabilities = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        let mean = ((log_probabilities * targets)?.sum_all()? * (-1.0 / weight))?;
        Ok(Loss { mean, weight })
    }

    /// What each log-probability is multiplied with, `[n, classes]`, and the sum of the weights.
    fn targets(&self, labels: &[u32], image_weights: &[f32]) -> Result<(Vec<f32>, f64)> {
        let classes = self.class_weights.len();
        let share = self.label_smoothing / classes as f32;
        let mut targets = Vec::with_capacity(labels.len() * classes);
        let mut sum = 0.0;
        for (label, image_weight) in labels.iter().zip(image_weights) {
            let label = *label as usize;
            let Some(class_weight) = self.class_weights.get(label) else {
                return Err(Error::Shape(format!(
                    "label {label}; expected 0 to {}",
                    classes.saturating_sub(1)
                )));
            };
            let start = targets.len();
            targets.extend(
                self.class_weights
                    .iter()
                    .map(|weight| image_weight * share * weight),
            );
            targets[start + label] += image_weight * (1.0 - self.label_smoothing) * class_weight;
            sum += f64::from(image_weight * class_weight);
        }
        Ok((targets, sum))
    }
}

/// Class weights `images / (classes * images of the class)`, scikit-learn's "balanced"; 0 for an empty class.
pub fn balanced_class_weights(labels: impl IntoIterator<Item = usize>, classes: usize) -> Vec<f32> {
    let mut counts = vec![0u64; classes];
    for label in labels {
        if let Some(count) = counts.get_mut(label) {
            *count += 1;
        }
    }
    let total: u64 = counts.iter().sum();
    let weight = |count: u64| {
        if count == 0 {
            0.0
        } else {
            total as f64 / (classes as f64 * count as f64)
        }
    };
    counts
        .into_iter()
        .map(|count| weight(count) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn wrong_shapes_and_labels_are_errors() {
        let logits = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let loss = CrossEntropy::plain(3);
        assert!(loss.apply(&logits, &[0], &[1.0]).is_err());
        assert!(loss.apply(&logits, &[0, 1], &[1.0]).is_err());
        assert!(
            CrossEntropy::plain(4)
                .apply(&logits, &[0, 1], &[1.0; 2])
                .is_err()
        );
        let message = loss
            .apply(&logits, &[0, 3], &[1.0; 2])
            .unwrap_err()
            .to_string();
        assert!(message.contains("label 3; expected 0 to 2"), "{message}");
        let message = loss
            .apply(&logits, &[0, 1], &[0.0; 2])
            .unwrap_err()
            .to_string();
        assert!(message.contains("weighs 0"), "{message}");
        assert!(CrossEntropy::new(1.0, vec![1.0]).is_err());
        assert!(CrossEntropy::new(0.1, vec![f32::NAN]).is_err());
    }

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 1]) for the classes that occur.
        let weights = balanced_class_weights([0, 0, 0, 1], 2);
        assert_eq!(weights, vec![4.0 / 6.0, 2.0]);
        assert_eq!(balanced_class_weights([0], 2), vec![0.5, 0.0]);
    }

    #[test]
    fn an_image_weight_of_two_equals_the_image_twice() {
        let loss = CrossEntropy::new(0.1, vec![1.0, 3.0]).unwrap();
        let rows = [[0.3f32, -0.2], [1.5, 0.4]];
        let once = Tensor::new(&rows, &Device::Cpu).unwrap();
        let twice = Tensor::new(&[rows[0], rows[1], rows[1]], &Device::Cpu).unwrap();
        let weighted = loss.apply(&once, &[0, 1], &[1.0, 2.0]).unwrap();
        let repeated = loss.apply(&twice, &[0, 1, 1], &[1.0; 3]).unwrap();
        assert!((weighted.value().unwrap() - repeated.value().unwrap()).abs() < 1e-6);
        assert_eq!(weighted.weight, repeated.weight);
    }
}
