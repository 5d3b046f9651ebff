//! `[loss]`: the training loss and its settings.

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// The loss that training minimises.
///
/// ```
/// use trainer::config::LossConfig;
///
/// let text = "type = 'focal'\ngamma = 1.5\nalpha = 'balanced'\n";
/// let config: LossConfig = toml::from_str(text)?;
/// config.validate(None)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LossConfig {
    /// `torch.nn.functional.cross_entropy`.
    CrossEntropy(CrossEntropyConfig),
    /// Focal loss: Lin et al., 2017, over the softmax of all classes.
    Focal(FocalConfig),
    /// `torch.nn.functional.binary_cross_entropy_with_logits`: each class against the rest.
    BinaryCrossEntropy(BinaryCrossEntropyConfig),
}

/// Settings of the cross-entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropyConfig {
    /// Share of the target that is spread over all classes; `0 <= label_smoothing < 1`.
    pub label_smoothing: f64,
    /// The weight of each class.
    pub class_weights: ClassWeights,
}

/// Settings of the focal loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FocalConfig {
    /// Reduces the loss of images with a confident prediction; 0 gives the cross-entropy.
    pub gamma: f64,
    /// The weight of each class.
    pub alpha: ClassWeights,
}

/// Settings of the binary cross-entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryCrossEntropyConfig {
    /// Share of the target that is spread over all classes, as in timm; `0 <= label_smoothing < 1`.
    pub label_smoothing: f64,
    /// The weight of each class's binary question.
    pub class_weights: ClassWeights,
}

/// Weights of the classes in the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "lowercase",
    expecting = "\"none\", \"balanced\" or a list with one weight per class"
)]
pub enum ClassWeights {
    /// Every class has the same weight.
    #[default]
    None,
    /// `images / (classes * images of the class)` over the training split, scikit-learn's "balanced".
    Balanced,
    /// One weight per class, in the order of the class names.
    #[serde(untagged)]
    Overrides(Vec<f32>),
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::CrossEntropy(CrossEntropyConfig {
            label_smoothing: 0.05,
            ..CrossEntropyConfig::default()
        })
    }
}

impl Default for FocalConfig {
    fn default() -> Self {
        Self {
            gamma: 2.0,
            alpha: ClassWeights::None,
        }
    }
}

impl LossConfig {
    /// One loss of each type with default settings.
    #[cfg(test)]
    pub(crate) fn all() -> [Self; 3] {
        [
            Self::CrossEntropy(CrossEntropyConfig::default()),
            Self::Focal(FocalConfig::default()),
            Self::BinaryCrossEntropy(BinaryCrossEntropyConfig::default()),
        ]
    }

    /// The class weights and their key.
    pub(crate) fn class_weights(&self) -> (&'static str, &ClassWeights) {
        match self {
            Self::CrossEntropy(loss) => ("loss.class_weights", &loss.class_weights),
            Self::Focal(loss) => ("loss.alpha", &loss.alpha),
            Self::BinaryCrossEntropy(loss) => ("loss.class_weights", &loss.class_weights),
        }
    }

    /// Checks every value; `classes` is the number of classes, if known.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first invalid key.
    pub fn validate(&self, classes: Option<usize>) -> Result<(), ConfigError> {
        let invalid = |key, found: String, expected: &str| ConfigError::Invalid {
            key,
            found,
            expected: expected.to_owned(),
        };
        let smoothing = match self {
            Self::CrossEntropy(loss) => loss.label_smoothing,
            Self::BinaryCrossEntropy(loss) => loss.label_smoothing,
            Self::Focal(_) => 0.0,
        };
        if !(0.0..1.0).contains(&smoothing) {
            let expected = "a share from 0 to below 1";
            return Err(invalid(
                "loss.label_smoothing",
                smoothing.to_string(),
                expected,
            ));
        }
        if let Self::Focal(FocalConfig { gamma, .. }) = self
            && !(gamma.is_finite() && *gamma >= 0.0)
        {
            let expected = "a finite number from 0 on";
            return Err(invalid("loss.gamma", gamma.to_string(), expected));
        }
        let (key, ClassWeights::Overrides(weights)) = self.class_weights() else {
            return Ok(());
        };
        let fit = weights.iter().all(|w| w.is_finite() && *w >= 0.0);
        if !fit || weights.iter().all(|w| *w == 0.0) {
            let expected = "finite numbers from 0 on, not all of them 0";
            return Err(invalid(key, format!("{weights:?}"), expected));
        }
        match classes.filter(|classes| *classes != weights.len()) {
            None => Ok(()),
            Some(classes) => Err(invalid(
                key,
                format!("{weights:?}"),
                &format!("one weight for each of the {classes} classes"),
            )),
        }
    }
}
