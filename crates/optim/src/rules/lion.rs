//! Lion, steps along the sign of a momentum: Chen et al., 2023.

use super::decay;
use crate::config::LionConfig;
use crate::pass::Buffers;

/// One step of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    shrink: f32,
    direction_weight: f32,
    momentum_weight: f32,
    learning_rate: f32,
}

impl Step {
    pub(super) fn new(config: &LionConfig, learning_rate: f64, weight_decay: f64) -> Self {
        Self {
            shrink: decay(true, learning_rate, weight_decay).1,
            direction_weight: (1.0 - config.betas[0]) as f32,
            momentum_weight: (1.0 - config.betas[1]) as f32,
            learning_rate: learning_rate as f32,
        }
    }

    #[inline(always)]
    pub(super) fn apply(&self, buffers: Buffers<'_>) {
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
}

/// As `torch.sign`: 0 for 0, unlike `f32::signum`, and NaN for NaN. So a NaN gradient reaches the
/// parameter and is noticed.
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
