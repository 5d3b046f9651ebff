//! Ranger: RAdam with LookAhead and gradient centralisation.

use serde::{Deserialize, Serialize};

use super::decay;
use super::rectify::rectification;
use super::setting::{BETAS, EPS, OptimizerSetting, OptimizerValue, WEIGHT_DECAY};
use super::table::{self, Rule, check_betas, check_non_negative};
use crate::coefficients::{Coefficients, RuleKind, switch};
use crate::error::{Error, require};
use crate::pass::Buffers;

/// Ranger: RAdam (Liu et al., 2020), LookAhead (Zhang et al., 2019) and gradient centralisation
/// (Yong et al., 2020), as `Ranger` of the package `pytorch-optimizer`.
///
/// In about the first five steps, the variance estimate is unreliable. These steps use only the
/// mean, as in the RAdam paper (`degenerated_to_sgd`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RangerConfig {
    /// Decay of the running mean and of the running mean square. Both must be in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Constant that is added to the root of the mean square, to avoid division by zero.
    pub eps: f64,
    /// Weight decay: each step shrinks a parameter by this factor times the learning rate.
    pub weight_decay: f64,
    /// LookAhead: the fraction of the distance to the fast weights that the slow weights move at
    /// each synchronisation.
    pub alpha: f64,
    /// LookAhead: number of steps between two synchronisations of slow and fast weights.
    pub k: u64,
    /// Whether to subtract the mean of each matrix row from its gradients; see
    /// [`Optimizer::with_matrices`](crate::Optimizer::with_matrices).
    pub use_gc: bool,
    /// Whether to do this only for convolutions.
    pub gc_conv_only: bool,
}

impl Default for RangerConfig {
    fn default() -> Self {
        Self {
            betas: [0.95, 0.999],
            eps: 1e-5,
            weight_decay: 0.0,
            alpha: 0.5,
            k: 6,
            use_gc: true,
            gc_conv_only: false,
        }
    }
}

impl Rule for RangerConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = &[
        OptimizerSetting::new("betas", OptimizerValue::Pair, BETAS),
        OptimizerSetting::new("eps", OptimizerValue::Number, EPS),
        OptimizerSetting::new("weight_decay", OptimizerValue::Number, WEIGHT_DECAY),
        OptimizerSetting::new(
            "alpha",
            OptimizerValue::Number,
            "LookAhead: step towards the fast weights, as a share.",
        ),
        OptimizerSetting::new(
            "k",
            OptimizerValue::Count,
            "LookAhead: steps between two synchronisations.",
        ),
        OptimizerSetting::new("use_gc", OptimizerValue::Switch, "Centralise gradients."),
        OptimizerSetting::new(
            "gc_conv_only",
            OptimizerValue::Switch,
            "Centralise gradients of convolutions only.",
        ),
    ];

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_betas(section, self.betas)?;
        check_non_negative(section, "eps", self.eps)?;
        let ok = (0.0..=1.0).contains(&self.alpha);
        require(ok, section, "alpha", self.alpha, "0 <= alpha <= 1")?;
        require(self.k > 0, section, "k", self.k, "a whole number >= 1")?;
        let ok = self.use_gc || !self.gc_conv_only;
        require(ok, section, "gc_conv_only", true, "use_gc = true with it")?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq", "slow_buffer"]
    }

    fn centralises(&self, is_convolution: bool) -> bool {
        self.use_gc && (is_convolution || !self.gc_conv_only)
    }

    fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Step {
        Step::new(self, step, learning_rate, weight_decay)
    }
}

/// The coefficients of one step for one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    shrink: f32,
    mean_weight: f32,
    square_decay: f32,
    square_weight: f32,
    eps: f32,
    /// The negative learning rate divided by the first bias correction, rectified.
    rate: f32,
    /// Whether the step divides by the root mean square.
    divides: bool,
    /// Whether this is the first step. The slow weights then start as a copy of the fast ones.
    starts: bool,
    /// At a synchronisation, the fraction of the distance that the slow weights move. `None` in
    /// other steps.
    meets: Option<f32>,
}

impl table::Step for Step {
    /// The state buffers are the mean, the mean square and the slow weights. In each row of `row`
    /// gradients, the mean is subtracted. If `row` is 0, nothing is subtracted.
    #[inline(always)]
    fn apply(&self, buffers: Buffers<'_>, row: usize) {
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

    fn coefficients(&self) -> Coefficients {
        Coefficients::new(
            RuleKind::Ranger,
            [
                self.shrink,
                self.mean_weight,
                self.square_decay,
                self.square_weight,
                self.eps,
                self.rate,
                switch(self.divides),
                switch(self.starts),
                switch(self.meets.is_some()),
                self.meets.unwrap_or(0.0),
            ],
        )
    }
}

impl Step {
    fn new(config: &RangerConfig, step: u64, learning_rate: f64, weight_decay: f64) -> Self {
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

/// The mean, in f64 so that vectorisation does not change the result.
#[inline(always)]
fn mean(row: &[f32]) -> f32 {
    let sum: f64 = row.iter().map(|&g| f64::from(g)).sum();
    (sum / row.len() as f64) as f32
}
