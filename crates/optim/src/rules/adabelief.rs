//! AdaBelief: Adam, but with the variance of the gradient around its running mean (Zhuang et al.,
//! 2020).

use serde::{Deserialize, Serialize};

use super::decay;
use super::rectify::rectification;
use super::setting::{AMSGRAD, BETAS, EPS, OptimizerSetting, OptimizerValue, WEIGHT_DECAY};
use super::table::{self, Rule, check_betas, check_non_negative};
use crate::coefficients::{Coefficients, RuleKind, switch};
use crate::error::Error;
use crate::pass::Buffers;

/// AdaBelief: Zhuang et al., 2020 (`AdaBelief` of the package `pytorch-optimizer`).
///
/// As in the authors' code, `eps` is added to the variance in every step, and again to the square
/// root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaBeliefConfig {
    /// Decay of the running mean and of the running variance. Both must be in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Constant that is added to the variance and to its square root.
    pub eps: f64,
    /// Weight decay. With `weight_decouple`, each step shrinks a parameter by this factor times the
    /// learning rate. Without it, this factor times the parameter is added to the gradient.
    pub weight_decay: f64,
    /// Whether weight decay is separate from the gradient.
    pub weight_decouple: bool,
    /// Whether to rectify the step as RAdam does. The authors' default is true.
    pub rectify: bool,
    /// Whether to divide by the largest variance so far.
    pub amsgrad: bool,
}

impl Default for AdaBeliefConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-16,
            weight_decay: 0.0,
            weight_decouple: true,
            rectify: true,
            amsgrad: false,
        }
    }
}

impl Rule for AdaBeliefConfig {
    type Step = Step;

    const SETTINGS: &'static [OptimizerSetting] = &[
        OptimizerSetting::new("betas", OptimizerValue::Pair, BETAS),
        OptimizerSetting::new("eps", OptimizerValue::Number, EPS),
        OptimizerSetting::new("weight_decay", OptimizerValue::Number, WEIGHT_DECAY),
        OptimizerSetting::new(
            "weight_decouple",
            OptimizerValue::Switch,
            "Whether weight decay is decoupled from the gradient.",
        ),
        OptimizerSetting::new(
            "rectify",
            OptimizerValue::Switch,
            "Rectify the step as RAdam does.",
        ),
        OptimizerSetting::new("amsgrad", OptimizerValue::Switch, AMSGRAD),
    ];

    fn validate(&self, section: &str) -> Result<(), Error> {
        check_betas(section, self.betas)?;
        check_non_negative(section, "eps", self.eps)?;
        check_non_negative(section, "weight_decay", self.weight_decay)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn buffer_names(&self) -> &'static [&'static str] {
        match self.amsgrad {
            true => &["exp_avg", "exp_avg_var", "max_exp_avg_var"],
            false => &["exp_avg", "exp_avg_var"],
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
    shrink: f32,
    mean_weight: f32,
    variance_decay: f32,
    variance_weight: f32,
    eps: f32,
    correction: f32,
    /// The negative learning rate divided by the first bias correction, rectified.
    rate: f32,
    /// Whether the step divides by the variance, and whether by its largest value so far.
    divides: bool,
    amsgrad: bool,
}

impl table::Step for Step {
    #[inline(always)]
    fn apply(&self, buffers: Buffers<'_>, _: usize) {
        match (self.amsgrad, self.divides) {
            (false, false) => self.apply_with::<false, false>(buffers),
            (false, true) => self.apply_with::<false, true>(buffers),
            (true, false) => self.apply_with::<true, false>(buffers),
            (true, true) => self.apply_with::<true, true>(buffers),
        }
    }

    fn coefficients(&self) -> Coefficients {
        Coefficients::new(
            RuleKind::AdaBelief,
            [
                self.l2,
                self.shrink,
                self.mean_weight,
                self.variance_decay,
                self.variance_weight,
                self.correction,
                self.eps,
                self.rate,
                switch(self.amsgrad),
                switch(self.divides),
            ],
        )
    }
}

impl Step {
    fn new(config: &AdaBeliefConfig, step: u64, learning_rate: f64, weight_decay: f64) -> Self {
        let [beta1, beta2] = config.betas;
        let correction1 = 1.0 - beta1.powf(step as f64);
        let (correction, trust) = match config.rectify {
            // The rectification includes the bias correction.
            true => (1.0, rectification(beta2, step)),
            false => ((1.0 - beta2.powf(step as f64)).sqrt(), Some(1.0)),
        };
        let (l2, shrink) = decay(config.weight_decouple, learning_rate, weight_decay);
        Self {
            l2,
            shrink,
            mean_weight: (1.0 - beta1) as f32,
            variance_decay: beta2 as f32,
            variance_weight: (1.0 - beta2) as f32,
            eps: config.eps as f32,
            correction: correction as f32,
            rate: (-learning_rate * trust.unwrap_or(1.0) / correction1) as f32,
            divides: trust.is_some(),
            amsgrad: config.amsgrad,
        }
    }

    /// The state buffers are the mean, the variance and, with `AMSGRAD`, the largest variance so
    /// far.
    #[inline(always)]
    fn apply_with<const AMSGRAD: bool, const DIVIDES: bool>(&self, buffers: Buffers<'_>) {
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
