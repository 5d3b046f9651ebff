//! Lion: steps in the direction of the sign of a momentum (Chen et al., 2023).

use serde::{Deserialize, Serialize};

use super::decay;
use super::setting::{BETAS, OptimizerSetting, OptimizerValue, WEIGHT_DECAY};
use super::table::{self, Rule, check_betas, check_non_negative};
use crate::coefficients::{Coefficients, RuleKind};
use crate::error::Error;
use crate::pass::Buffers;

/// Lion: Chen et al., 2023 (`Lion` of the package `pytorch-optimizer`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LionConfig {
    /// Weight of the momentum in the direction, and decay of the momentum. Both must be in
    /// `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Weight decay: each step shrinks a parameter by this factor times the learning rate.
    pub weight_decay: f64,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.99],
            weight_decay: 0.0,
        }
    }
}

impl Rule for LionConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = &[
        OptimizerSetting::new("betas", OptimizerValue::Pair, BETAS),
        OptimizerSetting::new("weight_decay", OptimizerValue::Number, WEIGHT_DECAY),
    ];

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_betas(section, self.betas)?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn step(&self, _: u64, learning_rate: f64, weight_decay: f64) -> Step {
        Step {
            shrink: decay(true, learning_rate, weight_decay).1,
            direction_weight: (1.0 - self.betas[0]) as f32,
            momentum_weight: (1.0 - self.betas[1]) as f32,
            learning_rate: learning_rate as f32,
        }
    }
}

/// The coefficients of one step for one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    shrink: f32,
    direction_weight: f32,
    momentum_weight: f32,
    learning_rate: f32,
}

impl table::Step for Step {
    #[inline(always)]
    fn apply(&self, buffers: Buffers<'_>, _: usize) {
        let Buffers {
            parameters,
            gradients,
            state: [momentum, ..],
        } = buffers;
        for ((p, &g), m) in parameters.iter_mut().zip(gradients).zip(momentum) {
            let direction = *m + self.direction_weight * (g - *m);
            *m += self.momentum_weight * (g - *m);
            *p = *p * self.shrink - self.learning_rate * sign(direction);
        }
    }

    fn coefficients(&self) -> Coefficients {
        Coefficients::new(
            RuleKind::Lion,
            [
                self.shrink,
                self.direction_weight,
                self.momentum_weight,
                self.learning_rate,
            ],
        )
    }
}

/// The sign as in `torch.sign`: 0 for 0 (unlike `f32::signum`), and NaN for NaN. So a NaN gradient
/// makes the parameter NaN and is noticed.
#[inline(always)]
fn sign(value: f32) -> f32 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}
