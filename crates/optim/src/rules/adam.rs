//! Adam and AdamW, and AMSGrad's variant of both (`torch.optim.Adam`, `torch.optim.AdamW`).

use super::decay;
use crate::pass::Buffers;

/// Adam's settings for a whole run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    /// AdamW's weight decay, applied to the parameter instead of the gradient.
    pub(super) decoupled: bool,
    pub(super) amsgrad: bool,
}

impl Rule {
    pub(super) fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Step {
        let [beta1, beta2] = self.betas;
        let correction1 = 1.0 - beta1.powf(step as f64);
        let correction2 = 1.0 - beta2.powf(step as f64);
        let (l2, shrink) = decay(self.decoupled, learning_rate, weight_decay);
        Step {
            l2,
            shrink,
            mean_weight: (1.0 - beta1) as f32,
            square_decay: beta2 as f32,
            square_weight: (1.0 - beta2) as f32,
            correction: correction2.sqrt() as f32,
            eps: self.eps as f32,
            rate: (-learning_rate / correction1) as f32,
        }
    }
}

/// One step of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    l2: f32,
    shrink: f32,
    mean_weight: f32,
    square_decay: f32,
    square_weight: f32,
    correction: f32,
    eps: f32,
    /// The negative learning rate divided by the first bias correction.
    rate: f32,
}

impl Step {
    #[inline(always)]
    pub(super) fn apply(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [m, v, _],
        } = buffers;
        let state = m.iter_mut().zip(v);
        for ((p, &g), (m, v)) in parameters.iter_mut().zip(gradients).zip(state) {
            self.moments(*p, g, m, v);
            self.move_by(p, *m, *v);
        }
    }

    #[inline(always)]
    pub(super) fn apply_amsgrad(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [m, v, largest],
        } = buffers;
        let state = m.iter_mut().zip(v).zip(largest);
        for ((p, &g), ((m, v), largest)) in parameters.iter_mut().zip(gradients).zip(state) {
            self.moments(*p, g, m, v);
            *largest = largest.max(*v);
            self.move_by(p, *m, *largest);
        }
    }

    #[inline(always)]
    fn moments(&self, p: f32, g: f32, m: &mut f32, v: &mut f32) {
        let g = g + self.l2 * p;
        *m += self.mean_weight * (g - *m);
        *v = *v * self.square_decay + self.square_weight * g * g;
    }

    #[inline(always)]
    fn move_by(&self, p: &mut f32, m: f32, v: f32) {
        let root = v.sqrt() / self.correction + self.eps;
        *p = *p * self.shrink + self.rate * m / root;
    }
}
