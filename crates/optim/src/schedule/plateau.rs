//! The plateau schedule reduces the rate when a metric stops improving. No other schedule depends
//! on a metric.

use serde::{Deserialize, Serialize};

use super::config::{LrScheduleConfig, PlateauConfig, PlateauMode, ThresholdMode};
use crate::error::{Error, is_non_negative};

/// The state of a plateau schedule (`ReduceLROnPlateau.state_dict`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The rate after all reductions so far.
    pub learning_rate: f64,
    /// The best metric so far; `None` before the first finite metric.
    pub best: Option<f64>,
    /// Number of epochs without improvement since the best epoch or the last reduction.
    pub num_bad_epochs: usize,
    /// Number of epochs left in the cool-down.
    pub cooldown_counter: usize,
}

impl PlateauState {
    pub(super) fn new(base: f64) -> Self {
        Self {
            learning_rate: base,
            best: None,
            num_bad_epochs: 0,
            cooldown_counter: 0,
        }
    }

    /// Refuses a state that no schedule can reach.
    pub(super) fn check(&self) -> Result<(), Error> {
        let rate = self.learning_rate;
        if !is_non_negative(rate) {
            return Err(Error::State(format!(
                "its learning rate is {rate}, expected a finite number >= 0"
            )));
        }
        match self.best.filter(|best| !best.is_finite()) {
            Some(best) => Err(Error::State(format!(
                "its best metric is {best}, expected a finite number or none"
            ))),
            None => Ok(()),
        }
    }

    /// Updates the state with the metric of an epoch. The order of decisions is the same as in
    /// torch.
    pub(super) fn epoch_end(&mut self, config: &PlateauConfig, metric: f64) {
        if config.is_gain(metric, self.best) {
            self.best = Some(metric);
            self.num_bad_epochs = 0;
        } else {
            self.num_bad_epochs = self.num_bad_epochs.saturating_add(1);
        }
        if self.cooldown_counter > 0 {
            self.cooldown_counter -= 1;
            self.num_bad_epochs = 0;
        }
        if self.num_bad_epochs > config.patience {
            let reduced = (self.learning_rate * config.factor).max(config.min_lr);
            if self.learning_rate - reduced > config.eps {
                self.learning_rate = reduced;
            }
            self.cooldown_counter = config.cooldown;
            self.num_bad_epochs = 0;
        }
    }
}

impl LrScheduleConfig {
    /// Sets the direction in which the metric of [`epoch_end`](crate::LrSchedule::epoch_end)
    /// improves. If a plateau schedule already has a `mode`, that mode stays. Other schedules
    /// ignore the metric.
    ///
    /// ```
    /// use optim::{LrScheduleConfig, PlateauMode};
    ///
    /// let mut schedule: LrScheduleConfig = "default-0.1-3".parse()?;
    /// schedule.resolve_mode(PlateauMode::Max); // of an accuracy
    /// # let LrScheduleConfig::Plateau(plateau) = schedule else { panic!() };
    /// # assert_eq!(plateau.mode, Some(PlateauMode::Max));
    /// # Ok::<(), optim::Error>(())
    /// ```
    pub fn resolve_mode(&mut self, mode: PlateauMode) {
        if let Self::Plateau(plateau) = self {
            plateau.mode.get_or_insert(mode);
        }
    }
}

impl PlateauConfig {
    /// Whether a metric is an improvement. A metric that is not finite is never an
    /// improvement.
    fn is_gain(&self, metric: f64, best: Option<f64>) -> bool {
        let Some(best) = best else {
            return metric.is_finite();
        };
        let threshold = self.threshold;
        let gain = match (self.mode.unwrap_or_default(), self.threshold_mode) {
            (PlateauMode::Min, ThresholdMode::Rel) => metric < best * (1.0 - threshold),
            (PlateauMode::Min, ThresholdMode::Abs) => metric < best - threshold,
            (PlateauMode::Max, ThresholdMode::Rel) => metric > best * (threshold + 1.0),
            (PlateauMode::Max, ThresholdMode::Abs) => metric > best + threshold,
        };
        gain && metric.is_finite()
    }
}
