//! Focal loss over the softmax of all classes: Lin et al., 2017.
//!
//! For an image of class `y` with weight `s`, class weights `w`, and `p` the softmax of its logits:
//!
//! ```text
//! w[y] (1 - p[y])^gamma -log p[y],  over sum_i s w[y]
//! ```

use serde::{Deserialize, Serialize};

use super::config::{ClassWeights, invalid};
use super::table::{CLASS_WEIGHTS_TEXT, Formula, LossSetting, Row};
use crate::config::{ANY, CLASS_WEIGHTS, ConfigError};

/// Settings of the focal loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FocalConfig {
    /// A larger value reduces the loss of images that are classified with confidence; 0 gives the cross-entropy.
    pub gamma: f64,
    /// The weight of each class.
    pub alpha: ClassWeights,
}

impl Default for FocalConfig {
    fn default() -> Self {
        Self {
            gamma: 2.0,
            alpha: ClassWeights::None,
        }
    }
}

impl Formula for FocalConfig {
    fn settings(&self) -> &'static [LossSetting] {
        &[
            (
                "gamma",
                ANY,
                "Reduces the loss of images that the network is sure of.",
            ),
            ("alpha", CLASS_WEIGHTS, CLASS_WEIGHTS_TEXT),
        ]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.gamma.is_finite() && self.gamma >= 0.0 {
            return Ok(());
        }
        let found = self.gamma.to_string();
        Err(invalid("loss.gamma", found, "a finite number from 0 on"))
    }

    fn class_weights(&self) -> (&'static str, &ClassWeights) {
        ("loss.alpha", &self.alpha)
    }

    fn counts_classes(&self, _mixed: bool) -> bool {
        true
    }

    fn row(&self, image: &Row<'_>, weight: f64, gradient: &mut [f64]) -> f64 {
        let (softmax, label) = (image.softmax, image.label);
        let alpha = image.class_weights[label];
        // The other classes' probabilities are summed, because 1 - p loses digits if p is near 1.
        let others = softmax.values.iter().enumerate();
        let rest: f64 = others.filter(|(c, _)| *c != label).map(|(_, p)| p).sum();
        let (p, log) = (softmax.values[label], softmax.log[label]);
        let factor = rest.powf(self.gamma);
        // The derivative of the loss with respect to log p. As the remainder 1 - p goes to 0, log p approaches its
        // negative, and the second term goes to 0. In f64, log p becomes 0 earlier, while a negative power of the
        // remainder may be infinite.
        let steepness = match self.gamma == 0.0 || log == 0.0 {
            true => 0.0,
            false => self.gamma * rest.powf(self.gamma - 1.0) * p * log,
        };
        let slope = -alpha * (factor - steepness);
        for (class, gradient) in gradient.iter_mut().enumerate() {
            let own = if class == label {
                rest
            } else {
                -softmax.values[class]
            };
            *gradient += weight * slope * own;
        }
        -weight * alpha * factor * log
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::config::LossConfig;
    use crate::{Objective, Targets};

    #[test]
    fn the_focal_gradient_of_a_sure_image_is_a_number() {
        // With logits more than about 717 apart, the remaining probability is a subnormal number.
        for gamma in [0.0f64, 0.01, 0.04, 0.5, 2.0] {
            let config = LossConfig::Focal(FocalConfig {
                gamma,
                ..FocalConfig::default()
            });
            let loss = Objective::new(&config, 2, []).unwrap();
            for gap in [30f32, 36.0, 37.0, 700.0, 717.0, 735.0, 744.0, 745.0, 800.0] {
                let logits = Tensor::new(&[[gap, 0.0]], &Device::Cpu).unwrap();
                let loss = loss.apply(&logits, &Targets::of(&[0], &[1.0])).unwrap();
                let gradient = loss.gradient().to_vec2::<f32>().unwrap();
                let finite = gradient[0].iter().all(|g| g.is_finite());
                assert!(
                    loss.mean.is_finite() && finite,
                    "{gamma} {gap}: {gradient:?}"
                );
            }
        }
    }
}
