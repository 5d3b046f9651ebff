//! The update rules: each written once, for one stretch of the buffers.
//!
//! The arithmetic is `f32` in the order of operations of `torch.optim`, and what
//! torch computes in Python's `f64` is computed in `f64` here too. The loops are
//! plain so that the compiler vectorises them, for each instruction set of its own.

use pulp::Arch;

use crate::config::{OptimizerConfig, SgdConfig};
use crate::pass::Buffers;

/// An update rule with its settings for a whole run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rule {
    Adam {
        betas: [f64; 2],
        eps: f64,
        /// AdamW's weight decay, beside the gradient instead of within it.
        decoupled: bool,
    },
    Sgd(SgdConfig),
}

impl Rule {
    pub(crate) fn new(config: &OptimizerConfig) -> Self {
        match config {
            OptimizerConfig::Adam(adam) => Self::Adam {
                betas: adam.betas,
                eps: adam.eps,
                decoupled: false,
            },
            OptimizerConfig::AdamW(adam) => Self::Adam {
                betas: adam.betas,
                eps: adam.eps,
                decoupled: true,
            },
            OptimizerConfig::Sgd(sgd) => Self::Sgd(sgd.clone()),
        }
    }

    /// Names, as in torch's `state_dict`, of the buffers the rule keeps.
    pub(crate) fn buffer_names(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } => &["exp_avg", "exp_avg_sq"],
            Self::Sgd(sgd) if sgd.momentum != 0.0 => &["momentum_buffer"],
            Self::Sgd(_) => &[],
        }
    }

    /// What a group's step number `step` (counted from 1) does to each element.
    pub(crate) fn update(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Update {
        match self {
            Self::Adam {
                betas: [beta1, beta2],
                eps,
                decoupled,
            } => {
                let correction1 = 1.0 - beta1.powf(step as f64);
                let correction2 = 1.0 - beta2.powf(step as f64);
                let (l2, shrink) = match decoupled {
                    true => (0.0, 1.0 - learning_rate * weight_decay),
                    false => (weight_decay, 1.0),
                };
                Update::Adam(Adam {
                    l2: l2 as f32,
                    shrink: shrink as f32,
                    mean_weight: (1.0 - beta1) as f32,
                    square_decay: *beta2 as f32,
                    square_weight: (1.0 - beta2) as f32,
                    correction: correction2.sqrt() as f32,
                    eps: *eps as f32,
                    rate: (-learning_rate / correction1) as f32,
                })
            }
            Self::Sgd(sgd) => {
                // The first gradient enters torch's momentum buffer undampened.
                let (decay, weight) = match step {
                    1 => (0.0, 1.0),
                    _ => (sgd.momentum, 1.0 - sgd.dampening),
                };
                let step = Sgd {
                    l2: weight_decay as f32,
                    decay: decay as f32,
                    weight: weight as f32,
                    look_ahead: sgd.momentum as f32,
                    rate: -learning_rate as f32,
                };
                match (sgd.momentum != 0.0, sgd.nesterov) {
                    (false, _) => Update::Sgd(step),
                    (true, false) => Update::Momentum(step),
                    (true, true) => Update::Nesterov(step),
                }
            }
        }
    }
}

/// One step of one group, ready to be applied to any stretch of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    /// A frozen group: nothing changes.
    Hold,
    Adam(Adam),
    Sgd(Sgd),
    Momentum(Sgd),
    Nesterov(Sgd),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adam {
    l2: f32,
    shrink: f32,
    mean_weight: f32,
    square_decay: f32,
    square_weight: f32,
    correction: f32,
    eps: f32,
    /// Minus the learning rate over the first bias correction.
    rate: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sgd {
    l2: f32,
    decay: f32,
    weight: f32,
    look_ahead: f32,
    /// Minus the learning rate.
    rate: f32,
}

impl Update {
    /// Takes the step on one stretch.
    pub(crate) fn apply(&self, buffers: Buffers<'_>) {
        // The same additions and multiplications, more of them at a time: the bits do not change.
        Arch::new().dispatch(
            #[inline(always)]
            || self.apply_inlined(buffers),
        );
    }

    #[inline(always)]
    fn apply_inlined(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [first, second],
        } = buffers;
        match self {
            Self::Hold => {}
            Self::Adam(step) => step.apply(parameters, gradients, first, second),
            Self::Sgd(step) => step.apply(parameters, gradients),
            Self::Momentum(step) => step.apply_momentum::<false>(parameters, gradients, first),
            Self::Nesterov(step) => step.apply_momentum::<true>(parameters, gradients, first),
        }
    }
}

impl Adam {
    #[inline(always)]
    fn apply(&self, parameters: &mut [f32], gradients: &[f32], m: &mut [f32], v: &mut [f32]) {
        let state = m.iter_mut().zip(v);
        for ((p, &g), (m, v)) in parameters.iter_mut().zip(gradients).zip(state) {
            let g = g + self.l2 * *p;
            *m += self.mean_weight * (g - *m);
            *v = *v * self.square_decay + self.square_weight * g * g;
            let root = v.sqrt() / self.correction + self.eps;
            *p = *p * self.shrink + self.rate * *m / root;
        }
    }
}

impl Sgd {
    #[inline(always)]
    fn apply(&self, parameters: &mut [f32], gradients: &[f32]) {
        for (p, &g) in parameters.iter_mut().zip(gradients) {
            *p += self.rate * (g + self.l2 * *p);
        }
    }

    #[inline(always)]
    fn apply_momentum<const NESTEROV: bool>(
        &self,
        parameters: &mut [f32],
        gradients: &[f32],
        buffer: &mut [f32],
    ) {
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
