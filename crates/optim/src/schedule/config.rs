//! Settings of the schedules, under the keys of a configuration file.

use serde::{Deserialize, Deserializer, Serialize};

/// The learning rate over a run. Names and defaults are those of `torch.optim.lr_scheduler`; the
/// base rate is the optimizer's learning rate.
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
/// A short text may replace the table everywhere; see [`FromStr`](std::str::FromStr).
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
    // serde would accept other keys beside a unit variant of a tagged enum.
    #[default]
    #[serde(deserialize_with = "no_keys")]
    Constant,
    /// Reduced whenever a metric has stopped improving.
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
    /// A power of the remaining share of the run.
    Polynomial(PolynomialConfig),
    /// Times `gamma` every epoch.
    Exponential(ExponentialConfig),
}

/// `torch.optim.lr_scheduler.ReduceLROnPlateau`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// Whether the metric is better when lower (a loss) or higher (an accuracy). `None`, or a
    /// missing key, leaves the choice to [`LrScheduleConfig::resolve_mode`]; without that call it
    /// is torch's `min`.
    pub mode: Option<PlateauMode>,
    /// The rate is multiplied by this; `0 < factor < 1`.
    pub factor: f64,
    /// Epochs without improvement before a reduction; the next one reduces the rate.
    pub patience: usize,
    /// Least change that counts as an improvement.
    pub threshold: f64,
    /// Whether `threshold` is a share of the best metric or an absolute difference.
    pub threshold_mode: ThresholdMode,
    /// Epochs after a reduction in which a lack of improvement does not count.
    pub cooldown: usize,
    /// The rate is never reduced below this; at most the base rate.
    pub min_lr: f64,
    /// Reductions of at most this are skipped.
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
    /// Numbers of finished epochs after which the rate changes, increasing.
    pub milestones: Vec<usize>,
    /// The rate is multiplied by this.
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

/// `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdrConfig {
    /// Epochs of the first cycle.
    pub t_0: usize,
    /// Each cycle is this many times as long as the previous one.
    #[serde(default = "default_t_mult")]
    pub t_mult: usize,
    /// The lowest rate of a cycle; at most the base rate.
    #[serde(default)]
    pub eta_min: f64,
    /// When the rate changes.
    #[serde(default)]
    pub interval: Interval,
}

/// `torch.optim.lr_scheduler.CosineAnnealingLR` over all epochs after the warm-up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineConfig {
    /// The rate at the end of the run; at most the base rate.
    pub eta_min: f64,
    /// When the rate changes.
    pub interval: Interval,
}

/// `torch.optim.lr_scheduler.PolynomialLR` over all epochs after the warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolynomialConfig {
    /// The rate is the base rate times the remaining share of the run to this power.
    pub power: f64,
    /// When the rate changes.
    pub interval: Interval,
}

/// `torch.optim.lr_scheduler.ExponentialLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialConfig {
    /// The rate is multiplied by this after each epoch.
    pub gamma: f64,
}

/// `torch.optim.lr_scheduler.OneCycleLR` over all steps after the warm-up. `max_lr` is the
/// optimizer's learning rate; momentum is not cycled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleConfig {
    /// Share of the steps with a rising rate.
    pub pct_start: f64,
    /// Shape of both phases.
    pub anneal_strategy: Anneal,
    /// The first rate is the highest one divided by this; at least 1.
    pub div_factor: f64,
    /// The last rate is the first one divided by this; it may not exceed the highest one.
    pub final_div_factor: f64,
    /// Fall as fast as the rate rose, back to the first rate, then to the last one.
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
