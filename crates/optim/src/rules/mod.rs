//! The update rules, each written once, for one stretch of the buffers.
//!
//! The arithmetic is `f32`, in the reference's order of operations. Factors that the reference
//! computes in Python's `f64` are `f64` here too. The loops are plain, so that the compiler
//! vectorises them for each instruction set.

mod adabelief;
mod adam;
mod lion;
mod ranger;
mod rectify;
mod rmsprop;
mod sgd;

use pulp::Arch;

use crate::config::{
    AdaBeliefConfig, LionConfig, OptimizerConfig, RangerConfig, RmsPropConfig, SgdConfig,
};
use crate::pass::Buffers;

/// An update rule with its settings for a whole run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rule {
    Adam(adam::Rule),
    Sgd(SgdConfig),
    RmsProp(RmsPropConfig),
    Lion(LionConfig),
    AdaBelief(AdaBeliefConfig),
    Ranger(RangerConfig),
}

impl Rule {
    pub(crate) fn new(config: &OptimizerConfig) -> Self {
        match config {
            OptimizerConfig::Adam(adam) => Self::Adam(adam::Rule {
                betas: adam.betas,
                eps: adam.eps,
                decoupled: false,
                amsgrad: adam.amsgrad,
            }),
            OptimizerConfig::AdamW(adam) => Self::Adam(adam::Rule {
                betas: adam.betas,
                eps: adam.eps,
                decoupled: true,
                amsgrad: adam.amsgrad,
            }),
            OptimizerConfig::Sgd(sgd) => Self::Sgd(sgd.clone()),
            OptimizerConfig::RmsProp(rms) => Self::RmsProp(rms.clone()),
            OptimizerConfig::Lion(lion) => Self::Lion(lion.clone()),
            OptimizerConfig::AdaBelief(belief) => Self::AdaBelief(belief.clone()),
            OptimizerConfig::Ranger(ranger) => Self::Ranger(ranger.clone()),
        }
    }

    /// Names of the rule's buffers, as in the reference's `state_dict`.
    pub(crate) fn buffer_names(&self) -> &'static [&'static str] {
        match self {
            Self::Adam(adam) if adam.amsgrad => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
            Self::Adam(_) => &["exp_avg", "exp_avg_sq"],
            Self::Sgd(sgd) if sgd.momentum != 0.0 => &["momentum_buffer"],
            Self::Sgd(_) => &[],
            Self::RmsProp(rms) => match (rms.momentum != 0.0, rms.centered) {
                (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
                (true, false) => &["square_avg", "momentum_buffer"],
                (false, true) => &["square_avg", "grad_avg"],
                (false, false) => &["square_avg"],
            },
            Self::Lion(_) => &["exp_avg"],
            Self::AdaBelief(belief) if belief.amsgrad => {
                &["exp_avg", "exp_avg_var", "max_exp_avg_var"]
            }
            Self::AdaBelief(_) => &["exp_avg", "exp_avg_var"],
            Self::Ranger(_) => &["exp_avg", "exp_avg_sq", "slow_buffer"],
        }
    }

    /// Whether the gradient of a matrix's rows is centralised.
    pub(crate) fn centralises(&self, is_convolution: bool) -> bool {
        match self {
            Self::Ranger(ranger) => ranger.use_gc && (is_convolution || !ranger.gc_conv_only),
            _ => false,
        }
    }

    /// The change that step number `step` (from 1) of a group makes to each element.
    pub(crate) fn update(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Update {
        match self {
            Self::Adam(adam) => {
                let step = adam.step(step, learning_rate, weight_decay);
                match adam.amsgrad {
                    true => Update::AmsGrad(step),
                    false => Update::Adam(step),
                }
            }
            Self::Sgd(sgd) => {
                let step = sgd::Step::new(sgd, step, learning_rate, weight_decay);
                match (sgd.momentum != 0.0, sgd.nesterov) {
                    (false, _) => Update::Sgd(step),
                    (true, false) => Update::Momentum(step),
                    (true, true) => Update::Nesterov(step),
                }
            }
            Self::RmsProp(rms) => Update::RmsProp {
                step: rmsprop::Step::new(rms, learning_rate, weight_decay),
                momentum: rms.momentum != 0.0,
                centered: rms.centered,
            },
            Self::Lion(lion) => Update::Lion(lion::Step::new(lion, learning_rate, weight_decay)),
            Self::AdaBelief(belief) => {
                let (step, divides) =
                    adabelief::Step::new(belief, step, learning_rate, weight_decay);
                Update::AdaBelief {
                    step,
                    amsgrad: belief.amsgrad,
                    divides,
                }
            }
            Self::Ranger(ranger) => {
                let step = ranger::Step::new(ranger, step, learning_rate, weight_decay);
                Update::Ranger(step)
            }
        }
    }
}

/// The two forms of weight decay; one of them is always neutral. First the share of the parameter
/// that is added to its gradient; second, if `decoupled`, the factor of the parameter in a step.
fn decay(decoupled: bool, learning_rate: f64, weight_decay: f64) -> (f32, f32) {
    match decoupled {
        true => (0.0, (1.0 - learning_rate * weight_decay) as f32),
        false => (weight_decay as f32, 1.0),
    }
}

/// One step of one group, ready to be applied to any stretch of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    /// A frozen group: nothing changes.
    Hold,
    Adam(adam::Step),
    AmsGrad(adam::Step),
    Sgd(sgd::Step),
    Momentum(sgd::Step),
    Nesterov(sgd::Step),
    RmsProp {
        step: rmsprop::Step,
        momentum: bool,
        centered: bool,
    },
    Lion(lion::Step),
    AdaBelief {
        step: adabelief::Step,
        amsgrad: bool,
        divides: bool,
    },
    Ranger(ranger::Step),
}

impl Update {
    /// Takes the step on one stretch. `row` is the length of the rows with centralised gradients; 0
    /// for none.
    pub(crate) fn apply(&self, buffers: Buffers<'_>, row: usize) {
        // Wider instructions do the same additions and multiplications: the bits do not change.
        Arch::new().dispatch(
            #[inline(always)]
            || self.apply_inlined(buffers, row),
        );
    }

    #[inline(always)]
    fn apply_inlined(&self, buffers: Buffers<'_>, row: usize) {
        match self {
            Self::Hold => {}
            Self::Adam(step) => step.apply(buffers),
            Self::AmsGrad(step) => step.apply_amsgrad(buffers),
            Self::Sgd(step) => step.apply(buffers),
            Self::Momentum(step) => step.apply_momentum::<false>(buffers),
            Self::Nesterov(step) => step.apply_momentum::<true>(buffers),
            Self::RmsProp {
                step,
                momentum,
                centered,
            } => match (momentum, centered) {
                (false, false) => step.apply::<false, false>(buffers),
                (false, true) => step.apply::<false, true>(buffers),
                (true, false) => step.apply::<true, false>(buffers),
                (true, true) => step.apply::<true, true>(buffers),
            },
            Self::Lion(step) => step.apply(buffers),
            Self::AdaBelief {
                step,
                amsgrad,
                divides,
            } => match (amsgrad, divides) {
                (false, false) => step.apply::<false, false>(buffers),
                (false, true) => step.apply::<false, true>(buffers),
                (true, false) => step.apply::<true, false>(buffers),
                (true, true) => step.apply::<true, true>(buffers),
            },
            Self::Ranger(step) => step.apply(buffers, row),
        }
    }
}
