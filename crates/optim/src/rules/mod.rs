//! The update rules. Each is written once, for a contiguous part of the buffers.
//!
//! The arithmetic is `f32`, with the reference implementation's order of operations. Factors that
//! the reference computes in Python's `f64` are also `f64` here. The loops are plain, so that the
//! compiler can vectorise them for each instruction set.

mod adabelief;
mod adam;
mod lion;
mod ranger;
mod rectify;
mod rmsprop;
mod setting;
mod sgd;
mod table;

use pulp::Arch;

pub use adabelief::AdaBeliefConfig;
pub use adam::{AdamConfig, AdamWConfig};
pub use lion::LionConfig;
pub use ranger::RangerConfig;
pub use rmsprop::RmsPropConfig;
pub use setting::{OptimizerRule, OptimizerSetting, OptimizerValue};
pub use sgd::SgdConfig;

use crate::pass::Buffers;

table::rules! {
    /// Adam with L2 regularisation (`torch.optim.Adam`).
    Adam(AdamConfig) = "adam";
    /// Adam with decoupled weight decay (`torch.optim.AdamW`).
    AdamW(AdamWConfig) = "adamw";
    /// Stochastic gradient descent with momentum (`torch.optim.SGD`).
    Sgd(SgdConfig) = "sgd";
    /// Gradients divided by their root mean square (`torch.optim.RMSprop`).
    RmsProp(RmsPropConfig) = "rmsprop";
    /// Steps along the sign of a momentum.
    Lion(LionConfig) = "lion";
    /// Adam with longer steps where the momentum predicts the gradient well.
    AdaBelief(AdaBeliefConfig) = "adabelief";
    /// Rectified Adam with LookAhead and gradient centralisation.
    Ranger(RangerConfig) = "ranger";
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

/// The coefficients of weight decay: first of L2 regularisation, then of decoupled decay. The first
/// times the parameter is added to the gradient. The second multiplies the parameter in each step.
/// One of the two has no effect, depending on `decoupled`.
fn decay(decoupled: bool, learning_rate: f64, weight_decay: f64) -> (f32, f32) {
    match decoupled {
        true => (0.0, (1.0 - learning_rate * weight_decay) as f32),
        false => (weight_decay as f32, 1.0),
    }
}

impl Update {
    /// Applies the step to a part of the buffers. `row` is the length of the rows with centralised
    /// gradients, or 0 if there are none.
    pub(crate) fn apply(&self, buffers: Buffers<'_>, row: usize) {
        // Wider instructions do the same additions and multiplications, so the bits of the result
        // are the same.
        Arch::new().dispatch(
            #[inline(always)]
            || self.apply_inlined(buffers, row),
        );
    }
}
