//! Settings of the schedules, with the keys of a configuration file.

use serde::{Deserialize, Deserializer, Serialize};

/// How the learning rate changes during a run. Names and defaults are the same as in
/// `torch.optim.lr_scheduler`. The base rate is the optimizer's learning rate.
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
/// In a configuration, a short text may replace the table; see [`FromStr`](std::str::FromStr).
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
    /// The base rate during the whole run.
    // serde accepts unknown keys beside a unit variant, so `no_keys` refuses them.
    #[default]
    #[serde(deserialize_with = "no_keys")]
    Constant,
    /// The rate is reduced whenever a metric has stopped improving.
    Plateau(PlateauConfig),
    /// The rate is multiplied by `gamma` every `step_size` epochs.
    Step(StepConfig),
    /// The rate is multiplied by `gamma` at each of the given epochs.
    MultiStep(MultiStepConfig),
    /// The rate follows half cosines with warm restarts (Loshchilov and Hutter, 2017).
    Sgdr(SgdrConfig),
    /// The rate follows one half cosine over the run.
    Cosine(CosineConfig),
    /// The rate rises and falls once (Smith and Topin, 2018).
    OneCycle(OneCycleConfig),
    /// The rate is proportional to a power of the remaining fraction of the run.
    Polynomial(PolynomialConfig),
    /// The rate is multiplied by `gamma` every epoch.
    Exponential(ExponentialConfig),
}

/// Settings of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// Whether a lower metric is better (a loss) or a higher one (an accuracy). If `None`, or if
    /// the key is missing, [`LrScheduleConfig::resolve_mode`] decides. Without that call it is
    /// `min`, as in torch.
    pub mode: Option<PlateauMode>,
    /// Factor of each reduction; `0 < factor < 1`.
    pub factor: f64,
    /// Number of consecutive epochs without improvement before the rate is reduced in the next such
    /// epoch.
    pub patience: usize,
    /// Smallest change that counts as an improvement.
    pub threshold: f64,
    /// Whether `threshold` is relative to the best metric or absolute.
    pub threshold_mode: ThresholdMode,
    /// Number of epochs after a reduction in which a lack of improvement is ignored.
    pub cooldown: usize,
    /// The rate is never reduced below this value. It must be at most the base rate.
    pub min_lr: f64,
    /// Reductions that are not larger than this are skipped.
    pub eps: f64,
}

/// The direction in which a metric improves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlateauMode {
    /// Lower is better.
    #[default]
    Min,
    /// Higher is better.
    Max,
}

/// The unit of a plateau's threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// A fraction of the best metric.
    #[default]
    Rel,
    /// An absolute difference from the best metric.
    Abs,
}

/// Settings of `torch.optim.lr_scheduler.StepLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// Number of epochs between two changes.
    pub step_size: usize,
    /// Factor of each change.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
}

/// Settings of `torch.optim.lr_scheduler.MultiStepLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStepConfig {
    /// Increasing epoch numbers. The rate changes when that many epochs are finished.
    pub milestones: Vec<usize>,
    /// Factor of each change.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
}

/// When the rate changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// After each epoch, as in torch's examples.
    #[default]
    Epoch,
    /// After each optimizer step.
    Step,
}

/// Settings of `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdrConfig {
    /// Length of the first cycle in epochs.
    pub t_0: usize,
    /// Factor by which each cycle is longer than the previous one.
    #[serde(default = "default_t_mult")]
    pub t_mult: usize,
    /// The lowest rate in a cycle. It must be at most the base rate.
    #[serde(default)]
    pub eta_min: f64,
    /// When the rate changes.
    #[serde(default)]
    pub interval: Interval,
}

/// Settings of `torch.optim.lr_scheduler.CosineAnnealingLR`. The schedule covers all epochs after
/// the warm-up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineConfig {
    /// The rate at the end of the run. It must be at most the base rate.
    pub eta_min: f64,
    /// When the rate changes.
    pub interval: Interval,
}

/// Settings of `torch.optim.lr_scheduler.PolynomialLR`. The schedule covers all epochs after the
/// warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolynomialConfig {
    /// The exponent. The rate is the base rate times the remaining fraction of the run to this
    /// power.
    pub power: f64,
    /// When the rate changes.
    pub interval: Interval,
}

/// Settings of `torch.optim.lr_scheduler.ExponentialLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialConfig {
    /// Factor by which the rate changes after each epoch.
    pub gamma: f64,
}

/// Settings of `torch.optim.lr_scheduler.OneCycleLR`. The schedule covers all steps after the
/// warm-up. `max_lr` is the optimizer's learning rate. Momentum is not cycled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleConfig {
    /// Fraction of the steps in which the rate rises.
    pub pct_start: f64,
    /// Shape of the curve in which the rate rises and falls.
    pub anneal_strategy: Anneal,
    /// The highest rate divided by the first rate; at least 1.
    pub div_factor: f64,
    /// The first rate divided by the last rate. The last rate must not exceed the highest rate.
    pub final_div_factor: f64,
    /// Whether there are three phases: the rate rises, falls equally fast to the first rate, and
    /// then falls to the last rate.
    pub three_phase: bool,
}

/// Shape of the curve in a phase of the one-cycle schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine wave.
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
