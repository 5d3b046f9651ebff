//! Stochastic gradient descent (`torch.optim.SGD`).

use crate::config::SgdConfig;
use crate::pass::Buffers;

/// One step of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    l2: f32,
    decay: f32,
    weight: f32,
    look_ahead: f32,
    /// The negative learning rate.
    rate: f32,
}

impl Step {
    pub(super) fn new(
        config: &SgdConfig,
        step: u64,
        learning_rate: f64,
        weight_decay: f64,
    ) -> Self {
        // torch adds the first gradient to the momentum buffer without dampening.
        let (decay, weight) = match step {
            1 => (0.0, 1.0),
            _ => (config.momentum, 1.0 - config.dampening),
        };
        Self {
            l2: weight_decay as f32,
            decay: decay as f32,
            weight: weight as f32,
            look_ahead: config.momentum as f32,
            rate: -learning_rate as f32,
        }
    }

    #[inline(always)]
    pub(super) fn apply(&self, buffers: Buffers<'_>) {
        for (p, &g) in buffers.parameters.iter_mut().zip(buffers.gradients) {
            *p += self.rate * (g + self.l2 * *p);
        }
    }

    #[inline(always)]
    pub(super) fn apply_momentum<const NESTEROV: bool>(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [buffer, ..],
        } = buffers;
        for ((p, &g), b) in parameters.iter_mut().zip(gradients).zip(buffer) {
            let g = g + self.l2 * *p;
            *b = *b * self.decay + self.weight * g;
            let direction = if NESTEROV {
                g + self.look_ahead * *b
            } else {
                *b
            };
            *p += self.rate * direction;
        }
    }
}
