//! Settings of the schedules, as a configuration file spells them.

use serde::{Deserialize, Deserializer, Serialize};

/// How the learning rate moves over a run; names and defaults are
/// `torch.optim.lr_scheduler`'s, the base rate is the optimizer's learning rate.
///
/// | `type`       | torch                         | the rate changes |
/// |--------------|-------------------------------|------------------|
/// | `constant`   | none                          | never            |
/// | `plateau`    | `ReduceLROnPlateau`           | after an epoch   |
/// | `step`       | `StepLR`                      | after an epoch   |
/// | `multi_step` | `MultiStepLR`                 | after an epoch   |
/// | `sgdr`       | `CosineAnnealingWarmRestarts` | `interval`       |
/// | `cosine`     | `CosineAnnealingLR`           | `interval`       |
/// | `one_cycle`  | `OneCycleLR`                  | after a step     |
/// | `polynomial` | `PolynomialLR`                | `interval`       |
/// | `exponential`| `ExponentialLR`               | after an epoch   |
///
/// Wherever a schedule is read, a short text may stand for the whole table; see
/// its [`FromStr`](std::str::FromStr).
///
/// ```
/// use optim::LrScheduleConfig;
///
/// let text = r#"{ "type": "step", "step_size": 30, "gamma": 0.1 }"#;
/// let config: LrScheduleConfig = serde_json::from_str(text)?;
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
pub enum LrScheduleConfig {
    /// The base rate throughout.
    // serde would let a unit variant of a tagged enum pass with any other keys.
    #[default]
    #[serde(deserialize_with = "no_keys")]
    Constant,
    /// Less whenever a metric has stopped to improve.
    Plateau(PlateauConfig),
    /// Times `gamma` every `step_size` epochs.
    Step(StepConfig),
    /// Times `gamma` at each of the given epochs.
    MultiStep(MultiStepConfig),
    /// Half cosines with warm restarts: Loshchilov and Hutter, 2017.
    Sgdr(SgdrConfig),
    /// One half cosine over the run.
    Cosine(CosineConfig),
    /// Up and down once: Smith and Topin, 2018.
    OneCycle(OneCycleConfig),
    /// A power of the part of the run that is left.
    Polynomial(PolynomialConfig),
    /// Times `gamma` every epoch.
    Exponential(ExponentialConfig),
}

/// `torch.optim.lr_scheduler.ReduceLROnPlateau`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// Whether the metric is better when lower (a loss) or higher (an accuracy). `None`, or a
    /// missing key, leaves it to [`LrScheduleConfig::resolve_mode`], and where nobody calls that
    /// it is torch's `min`.
    pub mode: Option<PlateauMode>,
    /// The rate is multiplied by this; `0 < factor < 1`.
    pub factor: f64,
    /// Epochs without gain that are borne; one more reduces the rate.
    pub patience: usize,
    /// Least change that counts as a gain.
    pub threshold: f64,
    /// Whether `threshold` is a share of the best metric or a difference to it.
    pub threshold_mode: ThresholdMode,
    /// Epochs after a reduction in which epochs without gain do not count.
    pub cooldown: usize,
    /// The rate is never reduced below this; at most the base rate.
    pub min_lr: f64,
    /// A reduction by no more than this is not made.
    pub eps: f64,
}

/// Direction in which a metric improves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlateauMode {
    /// Lower is better.
    #[default]
    Min,
    /// Higher is better.
    Max,
}

/// Unit of a plateau's threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// A share of the best metric.
    #[default]
    Rel,
    /// A difference to the best metric.
    Abs,
}

/// `torch.optim.lr_scheduler.StepLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// Epochs between two changes.
    pub step_size: usize,
    /// The rate is multiplied by this.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
}

/// `torch.optim.lr_scheduler.MultiStepLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStepConfig {
    /// Numbers of finished epochs at which the rate changes, increasing.
    pub milestones: Vec<usize>,
    /// The rate is multiplied by this.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
}

/// When a cosine moves on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// After each epoch, as in torch's examples.
    #[default]
    Epoch,
    /// After each optimizer step.
    Step,
}

/// `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdrConfig {
    /// Epochs of the first cycle.
    pub t_0: usize,
    /// Each cycle is this times as long as the one before.
    #[serde(default = "default_t_mult")]
    pub t_mult: usize,
    /// The rate that a cycle falls towards; at most the base rate.
    #[serde(default)]
    pub eta_min: f64,
    /// When the rate moves on.
    #[serde(default)]
    pub interval: Interval,
}

/// `torch.optim.lr_scheduler.CosineAnnealingLR` over all epochs behind the warm-up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineConfig {
    /// The rate at the end of the run; at most the base rate.
    pub eta_min: f64,
    /// When the rate moves on.
    pub interval: Interval,
}

/// `torch.optim.lr_scheduler.PolynomialLR` over all epochs behind the warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolynomialConfig {
    /// The rate is the base rate times the part of the run that is left to this power.
    pub power: f64,
    /// When the rate moves on.
    pub interval: Interval,
}

/// `torch.optim.lr_scheduler.ExponentialLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialConfig {
    /// The rate is multiplied by this after each epoch.
    pub gamma: f64,
}

/// `torch.optim.lr_scheduler.OneCycleLR` over all steps behind the
/// warm-up. `max_lr` is the optimizer's learning rate; momentum is not cycled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleConfig {
    /// Share of the steps in which the rate rises.
    pub pct_start: f64,
    /// Shape of both phases.
    pub anneal_strategy: Anneal,
    /// The first rate is the highest one over this; at least 1.
    pub div_factor: f64,
    /// The last rate is the first one over this; it may not be above the highest one.
    pub final_div_factor: f64,
    /// Fall as fast as the rate rose, back to the first rate, and only then to the last one.
    pub three_phase: bool,
}

/// Shape of a phase of the one-cycle schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self {
            mode: None,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

impl Default for OneCycleConfig {
    fn default() -> Self {
        Self {
            pct_start: 0.3,
            anneal_strategy: Anneal::Cos,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }
}

impl Default for PolynomialConfig {
    fn default() -> Self {
        Self {
            power: 1.0,
            interval: Interval::Epoch,
        }
    }
}

fn default_gamma() -> f64 {
    0.1
}

fn default_t_mult() -> usize {
    1
}

fn no_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoKeys {}
    NoKeys::deserialize(deserializer).map(|NoKeys {}| ())
}
