//! Each class against the rest: `torch.nn.functional.binary_cross_entropy_with_logits(weight=w)`,
//! averaged over all elements.
//!
//! For an image of class `y` with weight `s`, class weights `w` and `C` classes:
//!
//! ```text
//! 1 / C sum_c w[c] bce(logit c, c = y),  over sum_i s
//! ```

use serde::{Deserialize, Serialize};

use super::config::{ClassWeights, check_smoothing};
use super::table::{CLASS_WEIGHTS_TEXT, Formula, LABEL_SMOOTHING, LossSetting, Row};
use crate::config::{ANY, CLASS_WEIGHTS, ConfigError};

/// Settings of the binary cross-entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryCrossEntropyConfig {
    /// Share of the target that is spread over all classes, as in timm; `0 <= label_smoothing < 1`.
    pub label_smoothing: f64,
    /// The weight of each class's binary question.
    pub class_weights: ClassWeights,
}

impl Formula for BinaryCrossEntropyConfig {
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

    fn counts_classes(&self, _mixed: bool) -> bool {
        false
    }

    fn row(&self, image: &Row<'_>, weight: f64, gradient: &mut [f64]) -> f64 {
        let (weights, smoothing) = (image.class_weights, self.label_smoothing);
        let classes = weights.len() as f64;
        let off = smoothing / classes;
        let mut loss = 0.0;
        for (class, gradient) in gradient.iter_mut().enumerate() {
            let z = f64::from(image.logits[class]);
            let target = off
                + if class == image.label {
                    1.0 - smoothing
                } else {
                    0.0
                };
            let weight = weight * weights[class] / classes;
            loss += weight * (z.max(0.0) - z * target + (-z.abs()).exp().ln_1p());
            *gradient += weight * (1.0 / (1.0 + (-z).exp()) - target);
        }
        loss
    }
}
