//! Settings of the optimizers, under the keys of a configuration file.

mod settings;

use serde::{Deserialize, Serialize};

pub use settings::{
    AdaBeliefConfig, AdamConfig, AdamWConfig, LionConfig, RangerConfig, RmsPropConfig, SgdConfig,
};

use crate::error::{Error, is_non_negative, require};

/// An update rule with its settings. Names and defaults are those of `torch.optim`, or of the
/// package `pytorch-optimizer`.
///
/// The learning rate is not a setting here: a schedule computes it for every
/// [`Optimizer::step`](crate::Optimizer::step).
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
    /// Gradients divided by their root mean square (`torch.optim.RMSprop`).
    RmsProp(RmsPropConfig),
    /// Steps along the sign of a momentum.
    Lion(LionConfig),
    /// Adam with longer steps where the momentum predicts the gradient well.
    AdaBelief(AdaBeliefConfig),
    /// Rectified Adam with LookAhead and gradient centralisation.
    Ranger(RangerConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl OptimizerConfig {
    /// One of each, with its default settings.
    pub fn all() -> [Self; 7] {
        [
            Self::Adam(AdamConfig::default()),
            Self::AdamW(AdamWConfig::default()),
            Self::Sgd(SgdConfig::default()),
            Self::RmsProp(RmsPropConfig::default()),
            Self::Lion(LionConfig::default()),
            Self::AdaBelief(AdaBeliefConfig::default()),
            Self::Ranger(RangerConfig::default()),
        ]
    }

    /// The name in a configuration file, for example `adamw`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
            Self::Sgd(_) => "sgd",
            Self::RmsProp(_) => "rmsprop",
            Self::Lion(_) => "lion",
            Self::AdaBelief(_) => "adabelief",
            Self::Ranger(_) => "ranger",
        }
    }

    /// The weight decay of every group without its own.
    pub(crate) fn weight_decay(&self) -> f64 {
        match self {
            Self::Adam(adam) => adam.weight_decay,
            Self::AdamW(adam) => adam.weight_decay,
            Self::Sgd(sgd) => sgd.weight_decay,
            Self::RmsProp(rms) => rms.weight_decay,
            Self::Lion(lion) => lion.weight_decay,
            Self::AdaBelief(belief) => belief.weight_decay,
            Self::Ranger(ranger) => ranger.weight_decay,
        }
    }

    fn betas(&self) -> Option<[f64; 2]> {
        match self {
            Self::Adam(adam) => Some(adam.betas),
            Self::AdamW(adam) => Some(adam.betas),
            Self::Lion(lion) => Some(lion.betas),
            Self::AdaBelief(belief) => Some(belief.betas),
            Self::Ranger(ranger) => Some(ranger.betas),
            Self::Sgd(_) | Self::RmsProp(_) => None,
        }
    }

    fn eps(&self) -> Option<f64> {
        match self {
            Self::Adam(adam) => Some(adam.eps),
            Self::AdamW(adam) => Some(adam.eps),
            Self::RmsProp(rms) => Some(rms.eps),
            Self::AdaBelief(belief) => Some(belief.eps),
            Self::Ranger(ranger) => Some(ranger.eps),
            Self::Sgd(_) | Self::Lion(_) => None,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first key that has a value outside its domain.
    pub fn validate(&self) -> Result<(), Error> {
        let section = format!("optimizer {}", self.name());
        if let Some(betas) = self.betas() {
            let in_range = betas.iter().all(|beta| (0.0..1.0).contains(beta));
            let found = format!("[{}, {}]", betas[0], betas[1]);
            require(in_range, &section, "betas", found, "both in 0 <= beta < 1")?;
        }
        let not_negative =
            |key, value: f64| require(is_non_negative(value), &section, key, value, NON_NEGATIVE);
        if let Some(eps) = self.eps() {
            not_negative("eps", eps)?;
        }
        match self {
            Self::Sgd(sgd) => {
                not_negative("momentum", sgd.momentum)?;
                let dampening = sgd.dampening;
                let ok = dampening.is_finite();
                require(ok, &section, "dampening", dampening, "a finite number")?;
                let ok = !sgd.nesterov || (sgd.momentum > 0.0 && dampening == 0.0);
                let expected = "momentum > 0 and dampening = 0 with it";
                require(ok, &section, "nesterov", sgd.nesterov, expected)?;
            }
            Self::RmsProp(rms) => {
                not_negative("momentum", rms.momentum)?;
                let ok = (0.0..1.0).contains(&rms.alpha);
                require(ok, &section, "alpha", rms.alpha, "0 <= alpha < 1")?;
            }
            Self::Ranger(ranger) => {
                let ok = (0.0..=1.0).contains(&ranger.alpha);
                require(ok, &section, "alpha", ranger.alpha, "0 <= alpha <= 1")?;
                let expected = "a whole number >= 1";
                require(ranger.k > 0, &section, "k", ranger.k, expected)?;
                let ok = ranger.use_gc || !ranger.gc_conv_only;
                let expected = "use_gc = true with it";
                require(ok, &section, "gc_conv_only", true, expected)?;
            }
            Self::Adam(_) | Self::AdamW(_) | Self::Lion(_) | Self::AdaBelief(_) => {}
        }
        not_negative("weight_decay", self.weight_decay())
    }
}

const NON_NEGATIVE: &str = "a finite number >= 0";
