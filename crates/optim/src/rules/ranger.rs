//! RAdam with LookAhead and gradient centralisation.

use super::decay;
use super::rectify::rectification;
use crate::config::RangerConfig;
use crate::pass::Buffers;

/// One step of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    shrink: f32,
    mean_weight: f32,
    square_decay: f32,
    square_weight: f32,
    eps: f32,
    /// The negative learning rate divided by the first bias correction, rectified.
    rate: f32,
    /// Whether it divides by the root mean square.
    divides: bool,
    /// The first step: the slow weights start as a copy of the fast ones.
    starts: bool,
    /// At a synchronisation, the share of the distance that the slow weights move; `None` at other
    /// steps.
    meets: Option<f32>,
}

impl Step {
    pub(super) fn new(
        config: &RangerConfig,
        step: u64,
        learning_rate: f64,
        weight_decay: f64,
    ) -> Self {
        let [beta1, beta2] = config.betas;
        let trust = rectification(beta2, step);
        let correction1 = 1.0 - beta1.powf(step as f64);
        Self {
            shrink: decay(true, learning_rate, weight_decay).1,
            mean_weight: (1.0 - beta1) as f32,
            square_decay: beta2 as f32,
            square_weight: (1.0 - beta2) as f32,
            eps: config.eps as f32,
            rate: (-learning_rate * trust.unwrap_or(1.0) / correction1) as f32,
            divides: trust.is_some(),
            starts: step == 1,
            meets: step.is_multiple_of(config.k).then_some(config.alpha as f32),
        }
    }

    /// The buffers are the mean, the mean square and the slow weights. Each row of `row` gradients
    /// has its mean subtracted; 0 for none.
    #[inline(always)]
    pub(super) fn apply(&self, buffers: Buffers<'_>, row: usize) {
        let Buffers {
            parameters,
            gradients,
            state: [m, v, slow],
        } = buffers;
        if self.starts {
            slow.copy_from_slice(parameters);
        }
        let length = if row == 0 {
            parameters.len().max(1)
        } else {
            row
        };
        let rows = parameters.chunks_mut(length).zip(gradients.chunks(length));
        let state = m.chunks_mut(length).zip(v.chunks_mut(length));
        for ((parameters, gradients), (m, v)) in rows.zip(state) {
            let mean = match row {
                0 => 0.0,
                _ => mean(gradients),
            };
            match self.divides {
                true => self.fast::<true>(parameters, gradients, mean, m, v),
                false => self.fast::<false>(parameters, gradients, mean, m, v),
            }
        }
        if let Some(alpha) = self.meets {
            for (p, slow) in parameters.iter_mut().zip(slow) {
                *slow += alpha * (*p - *slow);
                *p = *slow;
            }
        }
    }

    #[inline(always)]
    fn fast<const DIVIDES: bool>(
        &self,
        parameters: &mut [f32],
        gradients: &[f32],
        mean: f32,
        m: &mut [f32],
        v: &mut [f32],
    ) {
        let state = m.iter_mut().zip(v);
        for ((p, &g), (m, v)) in parameters.iter_mut().zip(gradients).zip(state) {
            let g = g - mean;
            *m += self.mean_weight * (g - *m);
            *v = *v * self.square_decay + self.square_weight * g * g;
            let direction = match DIVIDES {
                true => *m / (v.sqrt() + self.eps),
                false => *m,
            };
            *p = *p * self.shrink + self.rate * direction;
        }
    }
}

/// In f64, so that vectorisation does not change the result.
#[inline(always)]
fn mean(row: &[f32]) -> f32 {
    let sum: f64 = row.iter().map(|&g| f64::from(g)).sum();
    (sum / row.len() as f64) as f32
}
