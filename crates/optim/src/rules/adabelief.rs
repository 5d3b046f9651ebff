//! Adam with the variance of the gradient around its mean: Zhuang et al., 2020.

use super::decay;
use super::rectify::rectification;
use crate::config::AdaBeliefConfig;
use crate::pass::Buffers;

/// One step of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    l2: f32,
    shrink: f32,
    mean_weight: f32,
    variance_decay: f32,
    variance_weight: f32,
    eps: f32,
    correction: f32,
    /// The negative learning rate divided by the first bias correction, rectified.
    rate: f32,
}

impl Step {
    /// The step, and whether it divides by the variance.
    pub(super) fn new(
        config: &AdaBeliefConfig,
        step: u64,
        learning_rate: f64,
        weight_decay: f64,
    ) -> (Self, bool) {
        let [beta1, beta2] = config.betas;
        let correction1 = 1.0 - beta1.powf(step as f64);
        let (correction, trust) = match config.rectify {
            // The rectification contains the bias correction.
            true => (1.0, rectification(beta2, step)),
            false => ((1.0 - beta2.powf(step as f64)).sqrt(), Some(1.0)),
        };
        let (l2, shrink) = decay(config.weight_decouple, learning_rate, weight_decay);
        let step = Self {
            l2,
            shrink,
            mean_weight: (1.0 - beta1) as f32,
            variance_decay: beta2 as f32,
            variance_weight: (1.0 - beta2) as f32,
            eps: config.eps as f32,
            correction: correction as f32,
            rate: (-learning_rate * trust.unwrap_or(1.0) / correction1) as f32,
        };
        (step, trust.is_some())
    }

    /// The buffers are the mean, the variance and, with `AMSGRAD`, its largest value.
    #[inline(always)]
    pub(super) fn apply<const AMSGRAD: bool, const DIVIDES: bool>(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [means, variances, largest],
        } = buffers;
        let state = means.iter_mut().zip(variances).enumerate();
        for ((p, &g), (index, (m, v))) in parameters.iter_mut().zip(gradients).zip(state) {
            let g = g + self.l2 * *p;
            *m += self.mean_weight * (g - *m);
            let residual = g - *m;
            *v = *v * self.variance_decay + self.variance_weight * residual * residual + self.eps;
            let mut variance = *v;
            if AMSGRAD {
                let largest = &mut largest[index];
                *largest = largest.max(variance);
                variance = *largest;
            }
            let direction = match DIVIDES {
                true => *m / (variance.sqrt() / self.correction + self.eps),
                false => *m,
            };
            *p = *p * self.shrink + self.rate * direction;
        }
    }
}
