//! The training losses: cross-entropy, focal loss, one-vs-rest, and optional distillation.

mod binary_cross_entropy;
mod config;
mod cross_entropy;
mod focal;
mod softmax;
mod table;

use candle_core::Tensor;
use mobilenet::ForwardPass;

pub use binary_cross_entropy::BinaryCrossEntropyConfig;
pub use config::ClassWeights;
pub use cross_entropy::CrossEntropyConfig;
pub use focal::FocalConfig;

pub(crate) use softmax::cross_entropy;
use softmax::{Softmax, divergence};
use table::Row;

use crate::{Error, Result};

table::losses! {
    /// `torch.nn.functional.cross_entropy`.
    CrossEntropy(CrossEntropyConfig) = "cross_entropy";
    /// Focal loss: Lin et al., 2017, over the softmax of all classes.
    Focal(FocalConfig) = "focal";
    /// `torch.nn.functional.binary_cross_entropy_with_logits`: each class against the rest.
    BinaryCrossEntropy(BinaryCrossEntropyConfig) = "binary_cross_entropy";
}

/// A loss, averaged over a batch.
///
/// The formula and the divisor are in each loss's module. The loss of a mixed image is the sum of the losses for its
/// two labels, each times the share and the weight of that label's image.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use trainer::{Objective, Targets};
///
/// let logits = Tensor::new(&[[0f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
/// let targets = Targets::of(&[0, 1], &[1.0, 1.0]);
/// let loss = Objective::cross_entropy(2).apply(&logits, &targets)?;
/// assert!((loss.mean - 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    config: LossConfig,
    class_weights: Vec<f64>,
}

/// The targets of a batch's images.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// The class of each image.
    pub labels: &'a [u32],
    /// The weight of each image.
    pub weights: &'a [f32],
    /// The second image of each mixture, if images are mixed.
    pub mixed: Option<Mixed<'a>>,
}

/// The second image of each mixture in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Mixed<'a> {
    /// The class of each second image.
    pub labels: &'a [u32],
    /// The weight of each second image.
    pub weights: &'a [f32],
    /// The share of the first image, from 0 to 1.
    pub share: f32,
}

impl<'a> Targets<'a> {
    /// Targets of images that are not mixed.
    pub fn of(labels: &'a [u32], weights: &'a [f32]) -> Self {
        Self {
            labels,
            weights,
            mixed: None,
        }
    }

    /// The two classes of each mixed image with their weights: the share times the weight of the class's own image. So
    /// an image of weight 0 has no effect in a mixture.
    fn rows(&self) -> impl Iterator<Item = [(u32, f64); 2]> {
        let own = self.labels.iter().zip(self.weights).enumerate();
        own.map(|(index, (&label, &weight))| {
            let weight = f64::from(weight);
            match self.mixed {
                None => [(label, weight), (label, 0.0)],
                Some(mixed) => {
                    let share = f64::from(mixed.share);
                    let other = f64::from(mixed.weights[index]);
                    [
                        (label, weight * share),
                        (mixed.labels[index], other * (1.0 - share)),
                    ]
                }
            }
        })
    }
}

/// The weight of an image; for a mixture, the sum over both images.
fn image_weight(classes: [(u32, f64); 2]) -> f64 {
    classes.into_iter().map(|(_, weight)| weight).sum()
}

/// Distillation targets from a teacher, besides the labels (Hinton et al., 2015).
#[derive(Clone, Copy, Debug)]
pub struct Distillation<'a> {
    /// The teacher's logits `[n, classes]`.
    pub logits: &'a Tensor,
    /// The temperature `T`: both softmaxes divide the logits by it.
    pub temperature: f64,
    /// The share of `T² KL(teacher || student)` in the loss, from 0 to 1. The rest is the share of the loss by the
    /// labels.
    pub weight: f64,
}

/// A loss averaged over a batch, with its gradient.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The mean loss.
    pub mean: f64,
    /// The total weight of the batch: the number of images if all weights are 1. With a teacher, the total weights for
    /// labels and teacher are averaged by their shares.
    pub weight: f64,
    gradient: Tensor,
}

impl Loss {
    /// The gradient of [`Loss::mean`] with respect to the logits, `[n, classes]`.
    pub fn gradient(&self) -> &Tensor {
        &self.gradient
    }

    /// Runs the backward pass of the network, whose logits the loss belongs to.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn backward(&self, pass: ForwardPass) -> Result<()> {
        self.backward_scaled(pass, 1.0)
    }

    /// [`Loss::backward`] with the gradient of the mean times `scale`: see [`optim::LossScaler`].
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn backward_scaled(&self, pass: ForwardPass, scale: f32) -> Result<()> {
        Ok(pass.backward(&(&self.gradient * f64::from(scale))?)?)
    }
}

impl Objective {
    /// Cross-entropy without smoothing, with weight 1 for every class.
    pub fn cross_entropy(classes: usize) -> Self {
        Self {
            config: LossConfig::CrossEntropy(CrossEntropyConfig::default()),
            class_weights: vec![1.0; classes],
        }
    }

    /// The configured loss for `classes` classes; `labels` are the training labels, which `"balanced"` class weights
    /// need.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a value is outside its range.
    pub fn new(
        config: &LossConfig,
        classes: usize,
        labels: impl IntoIterator<Item = usize>,
    ) -> Result<Self> {
        config.validate(Some(classes))?;
        let class_weights = match config.class_weights().1 {
            ClassWeights::None => vec![1.0; classes],
            ClassWeights::Balanced => balanced_class_weights(labels, classes),
            ClassWeights::Overrides(weights) => weights.clone(),
        };
        Ok(Self {
            config: config.clone(),
            class_weights: class_weights.into_iter().map(f64::from).collect(),
        })
    }

    /// The total weight of a batch. A batch with total weight 0 has no loss.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the lengths do not match or a label is not below the number of classes.
    pub fn weight(&self, targets: &Targets<'_>) -> Result<f64> {
        let (images, classes) = (targets.labels.len(), self.class_weights.len());
        let (others, other_weights) = targets.mixed.map_or((images, images), |mixed| {
            (mixed.labels.len(), mixed.weights.len())
        });
        if [targets.weights.len(), others, other_weights] != [images; 3] {
            return Err(Error::Shape(format!(
                "{images} labels, {} image weights, {others} labels and {other_weights} weights mixed in; expected as many of each",
                targets.weights.len(),
            )));
        }
        let mut labels = targets.rows().flatten();
        if let Some((label, _)) = labels.find(|(label, _)| *label as usize >= classes) {
            return Err(Error::Shape(format!(
                "label {label}; expected 0 to {}",
                classes.saturating_sub(1)
            )));
        }
        let counts_classes = self
            .config
            .formula()
            .counts_classes(targets.mixed.is_some());
        let weight = |(label, weight): (u32, f64)| match counts_classes {
            true => weight * self.class_weights[label as usize],
            false => weight,
        };
        Ok(targets.rows().flatten().map(weight).sum())
    }

    /// The mean loss of a batch of logits `[n, classes]`, f32.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the lengths do not match, a label is not below the number of classes, or all weights of the
    /// batch are 0.
    pub fn apply(&self, logits: &Tensor, targets: &Targets<'_>) -> Result<Loss> {
        self.taught(logits, targets, None)
    }

    /// [`Objective::apply`] with distillation from a teacher.
    ///
    /// # Errors
    ///
    /// The errors of [`Objective::apply`], and an error if the teacher's logits have another shape.
    pub fn taught(
        &self,
        logits: &Tensor,
        targets: &Targets<'_>,
        distillation: Option<Distillation<'_>>,
    ) -> Result<Loss> {
        let (images, classes) = logits.dims2()?;
        if (images, classes) != (targets.labels.len(), self.class_weights.len()) {
            return Err(Error::Shape(format!(
                "logits [{images}, {classes}] and {} labels; expected [n, {}] and n labels",
                targets.labels.len(),
                self.class_weights.len()
            )));
        }
        let weight = self.weight(targets)?;
        if weight <= 0.0 {
            return Err(Error::Shape(format!(
                "every image of a batch of {images} weighs 0, so it has no mean loss; expected a class or image weight above 0"
            )));
        }
        let teacher = distillation
            .map(|distillation| distillation.logits.to_vec2::<f32>())
            .transpose()?;
        if let Some(teacher) = &teacher
            && (teacher.len() != images || teacher.iter().any(|row| row.len() != classes))
        {
            return Err(Error::Shape(format!(
                "a teacher's logits for {} images and {} classes; expected {images} and {classes}",
                teacher.len(),
                teacher.first().map_or(0, Vec::len)
            )));
        }
        let taught = distillation.map_or(0.0, |distillation| distillation.weight);
        let own = 1.0 - taught;
        let formula = self.config.formula();
        let images_weight: f64 = targets.rows().map(image_weight).sum();
        let mut gradients = Vec::with_capacity(images * classes);
        let (mut mean, mut gradient) = (0.0, vec![0.0; classes]);
        let rows = logits.to_vec2::<f32>()?;
        for (index, (row, shown)) in rows.iter().zip(targets.rows()).enumerate() {
            gradient.fill(0.0);
            let softmax = Softmax::of(row, 1.0);
            for (label, counts) in shown.into_iter().filter(|(_, counts)| *counts != 0.0) {
                let weight = own * counts / weight;
                let image = Row {
                    logits: row,
                    softmax: &softmax,
                    label: label as usize,
                    class_weights: &self.class_weights,
                };
                mean += formula.row(&image, weight, &mut gradient);
            }
            if let (Some(distillation), Some(teacher)) = (distillation, &teacher) {
                let weight = distillation.weight * image_weight(shown) / images_weight;
                let t = distillation.temperature;
                mean += divergence(row, &teacher[index], t, weight, &mut gradient);
            }
            gradients.extend(gradient.iter().map(|&g| g as f32));
        }
        Ok(Loss {
            mean,
            weight: own * weight + taught * images_weight,
            gradient: Tensor::from_vec(gradients, (images, classes), logits.device())?,
        })
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
mod tests;
