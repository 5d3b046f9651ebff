//! Adam and AdamW, and AMSGrad's variant of both (`torch.optim.Adam`, `torch.optim.AdamW`).

use serde::{Deserialize, Serialize};

use super::decay;
use super::setting::{AMSGRAD, BETAS, EPS, OptimizerSetting, OptimizerValue, WEIGHT_DECAY};
use super::table::{self, Rule, check_betas, check_non_negative};
use crate::coefficients::{Coefficients, RuleKind, switch};
use crate::error::Error;
use crate::pass::Buffers;

/// Adam: Kingma and Ba, 2015 (`torch.optim.Adam`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Decay of the running mean and of the running mean square. Both must be in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Constant that is added to the root of the mean square, to avoid division by zero.
    pub eps: f64,
    /// L2 regularisation: this factor times the parameter is added to the gradient.
    pub weight_decay: f64,
    /// Whether to divide by the largest mean square so far (Reddi et al., 2018).
    pub amsgrad: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
        }
    }
}

/// AdamW: Loshchilov and Hutter, 2019 (`torch.optim.AdamW`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the running mean and of the running mean square. Both must be in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Constant that is added to the root of the mean square, to avoid division by zero.
    pub eps: f64,
    /// Weight decay: each step shrinks a parameter by this factor times the learning rate.
    pub weight_decay: f64,
    /// Whether to divide by the largest mean square so far (Reddi et al., 2018).
    pub amsgrad: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 1e-2,
            amsgrad: false,
        }
    }
}

impl Rule for AdamConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = KEYS;

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_betas(section, self.betas)?;
        check_non_negative(section, "eps", self.eps)?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        adam_buffers(self.amsgrad)
    }

    fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Step {
        let shared = Shared {
            betas: self.betas,
            eps: self.eps,
            decoupled: false,
            amsgrad: self.amsgrad,
        };
        shared.step(step, learning_rate, weight_decay)
    }
}

impl Rule for AdamWConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = KEYS;

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_betas(section, self.betas)?;
        check_non_negative(section, "eps", self.eps)?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        adam_buffers(self.amsgrad)
    }

    fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Step {
        let shared = Shared {
            betas: self.betas,
            eps: self.eps,
            decoupled: true,
            amsgrad: self.amsgrad,
        };
        shared.step(step, learning_rate, weight_decay)
    }
}

/// The keys of Adam and AdamW.
const KEYS: &[OptimizerSetting] = &[
    OptimizerSetting::new("betas", OptimizerValue::Pair, BETAS),
    OptimizerSetting::new("eps", OptimizerValue::Number, EPS),
    OptimizerSetting::new("weight_decay", OptimizerValue::Number, WEIGHT_DECAY),
    OptimizerSetting::new("amsgrad", OptimizerValue::Switch, AMSGRAD),
];

fn adam_buffers(amsgrad: bool) -> &'static [&'static str] {
    match amsgrad {
        true => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        false => &["exp_avg", "exp_avg_sq"],
    }
}

/// Settings that Adam and AdamW have in common.
struct Shared {
    betas: [f64; 2],
    eps: f64,
    /// AdamW's weight decay. It is applied to the parameter instead of the gradient.
    decoupled: bool,
    amsgrad: bool,
}

impl Shared {
    fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Step {
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
            amsgrad: self.amsgrad,
        }
    }
}

/// The coefficients of one step for one group.
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
    /// Whether to divide by the largest mean square so far.
    amsgrad: bool,
}

impl table::Step for Step {
    #[inline(always)]
    fn apply(&self, buffers: Buffers<'_>, _: usize) {
        match self.amsgrad {
            true => self.apply_amsgrad(buffers),
            false => self.apply_adam(buffers),
        }
    }

    fn coefficients(&self) -> Coefficients {
        Coefficients::new(
            RuleKind::Adam,
            [
                self.l2,
                self.shrink,
                self.mean_weight,
                self.square_decay,
                self.square_weight,
                self.correction,
                self.eps,
                self.rate,
                switch(self.amsgrad),
            ],
        )
    }
}

impl Step {
    #[inline(always)]
    fn apply_adam(&self, buffers: Buffers<'_>) {
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
    fn apply_amsgrad(&self, buffers: Buffers<'_>) {
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
