//! Gradients divided by their root mean square (`torch.optim.RMSprop`).

use crate::config::RmsPropConfig;
use crate::pass::Buffers;

/// One step of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    l2: f32,
    square_decay: f32,
    weight: f32,
    eps: f32,
    momentum: f32,
    /// The negative learning rate.
    rate: f32,
}

impl Step {
    pub(super) fn new(config: &RmsPropConfig, learning_rate: f64, weight_decay: f64) -> Self {
        Self {
            l2: weight_decay as f32,
            square_decay: config.alpha as f32,
            weight: (1.0 - config.alpha) as f32,
            eps: config.eps as f32,
            momentum: config.momentum as f32,
            rate: -learning_rate as f32,
        }
    }

    /// The buffers are the mean square, the momentum and the mean gradient.
    #[inline(always)]
    pub(super) fn apply<const MOMENTUM: bool, const CENTERED: bool>(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [squares, second, third],
        } = buffers;
        // An unused buffer is empty; the mean square gives the length.
        for (index, (p, &g)) in parameters.iter_mut().zip(gradients).enumerate() {
            let g = g + self.l2 * *p;
            let square = &mut squares[index];
            *square = *square * self.square_decay + self.weight * g * g;
            let mut root = *square;
            if CENTERED {
                let mean = if MOMENTUM {
                    &mut third[index]
                } else {
                    &mut second[index]
                };
                *mean += self.weight * (g - *mean);
                // Rounding can make the variance negative. NaN stays NaN, unlike with f32::max.
                let variance = root - *mean * *mean;
                root = if variance < 0.0 { 0.0 } else { variance };
            }
            let root = root.sqrt() + self.eps;
            if MOMENTUM {
                let buffer = &mut second[index];
                *buffer = *buffer * self.momentum + g / root;
                *p += self.rate * *buffer;
            } else {
                *p += self.rate * g / root;
            }
        }
    }
}
