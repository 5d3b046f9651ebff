//! The settings of each optimizer. Names and defaults are those of the package named with each.

use serde::{Deserialize, Serialize};

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
    /// Divide by the largest mean square so far: Reddi et al., 2018.
    pub amsgrad: bool,
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
    /// Divide by the largest mean square so far: Reddi et al., 2018.
    pub amsgrad: bool,
}

/// Stochastic gradient descent, optionally with momentum (`torch.optim.SGD`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// Decay of the momentum buffer; 0 keeps no buffer.
    pub momentum: f64,
    /// Share of each new gradient that is left out of the momentum buffer.
    pub dampening: f64,
    /// Nesterov momentum; needs `momentum` above zero and no dampening.
    pub nesterov: bool,
    /// L2 regularisation: this times the parameter is added to its gradient.
    pub weight_decay: f64,
}

/// RMSprop: Hinton, 2012 (`torch.optim.RMSprop`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RmsPropConfig {
    /// Decay of the running mean square; `0 <= alpha < 1`.
    pub alpha: f64,
    /// Added to the root of the mean square, so that it never divides by zero.
    pub eps: f64,
    /// L2 regularisation: this times the parameter is added to its gradient.
    pub weight_decay: f64,
    /// Decay of the momentum buffer; 0 keeps no buffer.
    pub momentum: f64,
    /// Divide by an estimate of the standard deviation: Graves, 2013.
    pub centered: bool,
}

/// Lion: Chen et al., 2023 (`Lion` of the package `pytorch-optimizer`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LionConfig {
    /// Share of the momentum in the direction, and its decay; each in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Each step shrinks a parameter by this times the learning rate.
    pub weight_decay: f64,
}

/// AdaBelief: Zhuang et al., 2020 (`AdaBelief` of the package `pytorch-optimizer`).
///
/// As in the authors' code, `eps` is added to the variance at every step, and again to its root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaBeliefConfig {
    /// Decay of the running mean and of the running variance; each in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Added to the variance and to its root.
    pub eps: f64,
    /// Each step shrinks a parameter by this times the learning rate; without `weight_decouple`,
    /// this times the parameter is added to its gradient.
    pub weight_decay: f64,
    /// Whether weight decay is decoupled from the gradient.
    pub weight_decouple: bool,
    /// Rectify the step as RAdam does; the authors' own default.
    pub rectify: bool,
    /// Divide by the largest variance so far.
    pub amsgrad: bool,
}

/// Ranger: RAdam (Liu et al., 2020), LookAhead (Zhang et al., 2019) and gradient centralisation
/// (Yong et al., 2020), as `Ranger` of the package `pytorch-optimizer`.
///
/// While the variance estimate is unreliable (about the first five steps), a step follows the mean
/// alone, as in RAdam's paper (`degenerated_to_sgd`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RangerConfig {
    /// Decay of the running mean and of the running mean square; each in `0 <= beta < 1`.
    pub betas: [f64; 2],
    /// Added to the root of the mean square, so that it never divides by zero.
    pub eps: f64,
    /// Each step shrinks a parameter by this times the learning rate.
    pub weight_decay: f64,
    /// LookAhead: at each synchronisation, the slow weights move this share of the distance to the
    /// fast ones.
    pub alpha: f64,
    /// LookAhead: steps between two synchronisations of the slow and fast weights.
    pub k: u64,
    /// Subtract each matrix row's mean from its gradient; see
    /// [`Optimizer::with_matrices`](crate::Optimizer::with_matrices).
    pub use_gc: bool,
    /// The same for convolutions only.
    pub gc_conv_only: bool,
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

impl Default for LionConfig {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.99],
            weight_decay: 0.0,
        }
    }
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
