//! `[loss]`: class weights, and checks of values.

use serde::{Deserialize, Serialize};

use super::{CrossEntropyConfig, LossConfig};
use crate::config::ConfigError;

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

impl LossConfig {
    /// Checks every value; `classes` is the number of classes, if known.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first invalid key.
    pub fn validate(&self, classes: Option<usize>) -> Result<(), ConfigError> {
        self.formula().validate()?;
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

    /// The class weights and their key.
    pub(crate) fn class_weights(&self) -> (&'static str, &ClassWeights) {
        self.formula().class_weights()
    }
}

pub(super) fn check_smoothing(share: f64) -> Result<(), ConfigError> {
    match (0.0..1.0).contains(&share) {
        true => Ok(()),
        false => Err(invalid(
            "loss.label_smoothing",
            share.to_string(),
            "a share from 0 to below 1",
        )),
    }
}

pub(super) fn invalid(key: &'static str, found: String, expected: &str) -> ConfigError {
    ConfigError::Invalid {
        key,
        found,
        expected: expected.to_owned(),
    }
}
