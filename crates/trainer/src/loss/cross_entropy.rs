//! Cross-entropy with label smoothing: `torch.nn.functional.cross_entropy`.
//!
//! For an image of class `y` with weight `s`, class weights `w` and `C` classes, `p` the softmax of its
//! logits, `e` the label smoothing:
//!
//! ```text
//! (1 - e) w[y] -log p[y]  +  e / C sum_c w[c] -log p[c],  over sum_i s w[y]
//! ```
//!
//! For mixtures the loss is a mean over `sum_i s`, regardless of class weights, as in torch with
//! probabilities for targets.

use serde::{Deserialize, Serialize};

use super::config::{ClassWeights, check_smoothing};
use super::table::{CLASS_WEIGHTS_TEXT, Formula, LABEL_SMOOTHING, LossSetting, Row};
use crate::config::{ANY, CLASS_WEIGHTS, ConfigError};

/// Settings of the cross-entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropyConfig {
    /// Share of the target that is spread over all classes; `0 <= label_smoothing < 1`.
    pub label_smoothing: f64,
    /// The weight of each class.
    pub class_weights: ClassWeights,
}

impl Formula for CrossEntropyConfig {
    fn settings(&self) -> &'static [LossSetting] {
        &[
            ("label_smoothing", ANY, LABEL_SMOOTHING),
            ("class_weights", CLASS_WEIGHTS, CLASS_WEIGHTS_TEXT),
        ]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_smoothing(self.label_smoothing)
    }

    fn class_weights(&self) -> (&'static str, &ClassWeights) {
        ("loss.class_weights", &self.class_weights)
    }

    fn counts_classes(&self, mixed: bool) -> bool {
        !mixed
    }

    fn row(&self, image: &Row<'_>, weight: f64, gradient: &mut [f64]) -> f64 {
        let (weights, smoothing) = (image.class_weights, self.label_smoothing);
        let share = smoothing / weights.len() as f64;
        let own = (1.0 - smoothing) * weights[image.label];
        let target =
            |class: usize| share * weights[class] + if class == image.label { own } else { 0.0 };
        let total: f64 = (0..weights.len()).map(target).sum();
        let mut loss = 0.0;
        for (class, gradient) in gradient.iter_mut().enumerate() {
            let target = target(class);
            // A class without a target adds nothing, however small its probability.
            if target != 0.0 {
                loss -= target * image.softmax.log[class];
            }
            *gradient += weight * (image.softmax.values[class] * total - target);
        }
        weight * loss
    }
}
