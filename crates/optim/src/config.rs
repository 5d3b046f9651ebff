//! Settings of the optimizers, as a configuration file spells them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, is_non_negative, require};

/// Which update rule runs, with its settings; names and defaults are `torch.optim`'s.
///
/// The learning rate is not among them: a schedule computes it and every
/// [`Optimizer::step`](crate::Optimizer::step) is told.
///
/// ```
/// use optim::OptimizerConfig;
///
/// let config: OptimizerConfig =
///     serde_json::from_str(r#"{ "type": "sgd", "momentum": 0.9, "nesterov": true }"#)?;
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// Adam with L2 regularisation (`torch.optim.Adam`).
    Adam(AdamConfig),
    /// Adam with decoupled weight decay (`torch.optim.AdamW`).
    AdamW(AdamWConfig),
    /// Stochastic gradient descent with momentum (`torch.optim.SGD`).
    Sgd(SgdConfig),
}

/// Adam: Kingma and Ba, 2015 (`torch.optim.Adam`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Decay of the running mean and of the running mean square; each in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Added to the root of the mean square, so that it never divides by zero.
    pub eps: f64,
    /// L2 regularisation: this times the parameter is added to its gradient.
    pub weight_decay: f64,
}

/// AdamW: Loshchilov and Hutter, 2019 (`torch.optim.AdamW`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the running mean and of the running mean square; each in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Added to the root of the mean square, so that it never divides by zero.
    pub eps: f64,
    /// Each step shrinks a parameter by this times the learning rate.
    pub weight_decay: f64,
}

/// Stochastic gradient descent, optionally with momentum (`torch.optim.SGD`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// Decay of the momentum buffer; 0 keeps no buffer.
    pub momentum: f64,
    /// Share of each new gradient that the momentum buffer leaves out.
    pub dampening: f64,
    /// Nesterov's look-ahead; needs momentum and no dampening.
    pub nesterov: bool,
    /// L2 regularisation: this times the parameter is added to its gradient.
    pub weight_decay: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

impl OptimizerConfig {
    /// The name a configuration file gives it: `adam`, `adamw` or `sgd`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
            Self::Sgd(_) => "sgd",
        }
    }

    /// The weight decay of every group that does not bring its own.
    pub(crate) fn weight_decay(&self) -> f64 {
        match self {
            Self::Adam(adam) => adam.weight_decay,
            Self::AdamW(adam) => adam.weight_decay,
            Self::Sgd(sgd) => sgd.weight_decay,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first key whose value is outside its domain.
    pub fn validate(&self) -> Result<(), Error> {
        let section = format!("optimizer {}", self.name());
        match self {
            Self::Adam(AdamConfig { betas, eps, .. })
            | Self::AdamW(AdamWConfig { betas, eps, .. }) => {
                let in_range = betas.iter().all(|beta| (0.0..1.0).contains(beta));
                let found = format!("[{}, {}]", betas[0], betas[1]);
                require(in_range, &section, "betas", found, "both in 0 <= beta < 1")?;
                require(is_non_negative(*eps), &section, "eps", eps, NON_NEGATIVE)?;
            }
            Self::Sgd(sgd) => {
                let (momentum, dampening) = (sgd.momentum, sgd.dampening);
                let ok = is_non_negative(momentum);
                require(ok, &section, "momentum", momentum, NON_NEGATIVE)?;
                let ok = dampening.is_finite();
                require(ok, &section, "dampening", dampening, "a finite number")?;
                let ok = !sgd.nesterov || (momentum > 0.0 && dampening == 0.0);
                let expected = "momentum > 0 and dampening = 0 beside it";
                require(ok, &section, "nesterov", sgd.nesterov, expected)?;
            }
        }
        let decay = self.weight_decay();
        let ok = is_non_negative(decay);
        require(ok, &section, "weight_decay", decay, NON_NEGATIVE)
    }
}

const NON_NEGATIVE: &str = "a finite number >= 0";
