//! Stochastic gradient descent (`torch.optim.SGD`).

use serde::{Deserialize, Serialize};

use super::setting::{OptimizerSetting, OptimizerValue, WEIGHT_DECAY};
use super::table::{self, Rule, check_non_negative};
use crate::coefficients::{Coefficients, RuleKind, switch};
use crate::error::{Error, require};
use crate::pass::Buffers;

/// Stochastic gradient descent, optionally with momentum (`torch.optim.SGD`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// Decay of the momentum buffer. With 0 there is no such buffer.
    pub momentum: f64,
    /// Fraction of each new gradient that is not added to the momentum buffer.
    pub dampening: f64,
    /// Whether to use Nesterov momentum. It requires `momentum` above zero and no dampening.
    pub nesterov: bool,
    /// L2 regularisation: this factor times the parameter is added to the gradient.
    pub weight_decay: f64,
}

impl Rule for SgdConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = &[
        OptimizerSetting::new(
            "momentum",
            OptimizerValue::Number,
            "Decay of the momentum buffer.",
        ),
        OptimizerSetting::new(
            "dampening",
            OptimizerValue::Number,
            "Reduction of each gradient in the buffer.",
        ),
        OptimizerSetting::new("nesterov", OptimizerValue::Switch, "Nesterov's look-ahead."),
        OptimizerSetting::new("weight_decay", OptimizerValue::Number, WEIGHT_DECAY),
    ];

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_non_negative(section, "momentum", self.momentum)?;
        let dampening = self.dampening;
        let ok = dampening.is_finite();
        require(ok, section, "dampening", dampening, "a finite number")?;
        let ok = !self.nesterov || (self.momentum > 0.0 && dampening == 0.0);
        let expected = "momentum > 0 and dampening = 0 with it";
        require(ok, section, "nesterov", self.nesterov, expected)?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        match self.momentum != 0.0 {
            true => &["momentum_buffer"],
            false => &[],
        }
    }

    fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Step {
        Step::new(self, step, learning_rate, weight_decay)
    }
}

/// The coefficients of one step for one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    l2: f32,
    decay: f32,
    weight: f32,
    look_ahead: f32,
    /// The negative learning rate.
    rate: f32,
    momentum: bool,
    nesterov: bool,
}

impl table::Step for Step {
    #[inline(always)]
    fn apply(&self, buffers: Buffers<'_>, _: usize) {
        match (self.momentum, self.nesterov) {
            (false, _) => self.apply_plain(buffers),
            (true, false) => self.apply_momentum::<false>(buffers),
            (true, true) => self.apply_momentum::<true>(buffers),
        }
    }

    fn coefficients(&self) -> Coefficients {
        Coefficients::new(
            RuleKind::Sgd,
            [
                self.l2,
                self.decay,
                self.weight,
                self.look_ahead,
                self.rate,
                switch(self.momentum),
                switch(self.nesterov),
            ],
        )
    }
}

impl Step {
    fn new(config: &SgdConfig, step: u64, learning_rate: f64, weight_decay: f64) -> Self {
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
            momentum: config.momentum != 0.0,
            nesterov: config.nesterov,
        }
    }

    #[inline(always)]
    fn apply_plain(&self, buffers: Buffers<'_>) {
        for (p, &g) in buffers.parameters.iter_mut().zip(buffers.gradients) {
            *p += self.rate * (g + self.l2 * *p);
        }
    }

    #[inline(always)]
    fn apply_momentum<const NESTEROV: bool>(&self, buffers: Buffers<'_>) {
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
