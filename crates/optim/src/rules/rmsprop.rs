//! RMSprop: gradients divided by their root mean square (`torch.optim.RMSprop`).

use serde::{Deserialize, Serialize};

use super::setting::{EPS, OptimizerSetting, OptimizerValue, WEIGHT_DECAY};
use super::table::{self, Rule, check_non_negative};
use crate::coefficients::{Coefficients, RuleKind, switch};
use crate::error::{Error, require};
use crate::pass::Buffers;

/// RMSprop: Hinton, 2012 (`torch.optim.RMSprop`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RmsPropConfig {
    /// Decay of the running mean square; `0 <= alpha < 1`.
    pub alpha: f64,
    /// Constant that is added to the root of the mean square, to avoid division by zero.
    pub eps: f64,
    /// L2 regularisation: this factor times the parameter is added to the gradient.
    pub weight_decay: f64,
    /// Decay of the momentum buffer. With 0 there is no such buffer.
    pub momentum: f64,
    /// Whether to divide by an estimate of the standard deviation instead (Graves, 2013).
    pub centered: bool,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self {
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
        }
    }
}

impl Rule for RmsPropConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = &[
        OptimizerSetting::new(
            "alpha",
            OptimizerValue::Number,
            "Decay of the running mean square.",
        ),
        OptimizerSetting::new("eps", OptimizerValue::Number, EPS),
        OptimizerSetting::new("weight_decay", OptimizerValue::Number, WEIGHT_DECAY),
        OptimizerSetting::new(
            "momentum",
            OptimizerValue::Number,
            "Decay of the momentum buffer.",
        ),
        OptimizerSetting::new(
            "centered",
            OptimizerValue::Switch,
            "Divide by an estimate of the standard deviation.",
        ),
    ];

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_non_negative(section, "eps", self.eps)?;
        check_non_negative(section, "momentum", self.momentum)?;
        let ok = (0.0..1.0).contains(&self.alpha);
        require(ok, section, "alpha", self.alpha, "0 <= alpha < 1")?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        match (self.momentum != 0.0, self.centered) {
            (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "grad_avg"],
            (false, false) => &["square_avg"],
        }
    }

    fn step(&self, _: u64, learning_rate: f64, weight_decay: f64) -> Step {
        Step::new(self, learning_rate, weight_decay)
    }
}

/// The coefficients of one step for one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    l2: f32,
    square_decay: f32,
    weight: f32,
    eps: f32,
    momentum: f32,
    /// The negative learning rate.
    rate: f32,
    has_momentum: bool,
    centered: bool,
}

impl table::Step for Step {
    #[inline(always)]
    fn apply(&self, buffers: Buffers<'_>, _: usize) {
        match (self.has_momentum, self.centered) {
            (false, false) => self.apply_with::<false, false>(buffers),
            (false, true) => self.apply_with::<false, true>(buffers),
            (true, false) => self.apply_with::<true, false>(buffers),
            (true, true) => self.apply_with::<true, true>(buffers),
        }
    }

    fn coefficients(&self) -> Coefficients {
        Coefficients::new(
            RuleKind::RmsProp,
            [
                self.l2,
                self.square_decay,
                self.weight,
                self.eps,
                self.momentum,
                self.rate,
                switch(self.has_momentum),
                switch(self.centered),
            ],
        )
    }
}

impl Step {
    fn new(config: &RmsPropConfig, learning_rate: f64, weight_decay: f64) -> Self {
        Self {
            l2: weight_decay as f32,
            square_decay: config.alpha as f32,
            weight: (1.0 - config.alpha) as f32,
            eps: config.eps as f32,
            momentum: config.momentum as f32,
            rate: -learning_rate as f32,
            has_momentum: config.momentum != 0.0,
            centered: config.centered,
        }
    }

    /// The state buffers are the mean square, the momentum and the mean gradient.
    #[inline(always)]
    fn apply_with<const MOMENTUM: bool, const CENTERED: bool>(&self, buffers: Buffers<'_>) {
        let Buffers {
            parameters,
            gradients,
            state: [squares, second, third],
        } = buffers;
        // The other buffers may be unused and then empty, so the length comes from the mean square.
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
                // Rounding can make the variance negative. Unlike `f32::max`, this keeps NaN.
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
