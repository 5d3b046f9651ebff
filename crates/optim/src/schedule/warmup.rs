//! Linear warm-up before a schedule.

use serde::{Deserialize, Serialize};

use crate::error::{Error, is_non_negative, require};

/// A warm-up: the rate rises linearly with each step to the first rate of the schedule
/// (`torch.optim.lr_scheduler.LinearLR`).
///
/// Exactly one of `steps` and `epochs` must be set. The rate is never zero: in the first step it is
/// `start_factor` times the full rate.
///
/// ```
/// use optim::Warmup;
///
/// let config: Warmup = serde_json::from_str(r#"{ "epochs": 0.5, "start_factor": 0.01 }"#)?;
/// assert_eq!(config, Warmup { start_factor: 0.01, ..Warmup::epochs(0.5) });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Length in optimizer steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Length in epochs. Fractions are allowed; the length is rounded to whole steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Fraction of the full rate in the first step; `0 < start_factor <= 1`.
    #[serde(default = "default_start_factor")]
    pub start_factor: f64,
}

fn default_start_factor() -> f64 {
    1.0 / 3.0
}

const SECTION: &str = "warmup";

impl Warmup {
    /// A warm-up of this many optimizer steps that starts at a third of the full rate.
    pub fn steps(steps: usize) -> Self {
        Self {
            steps: Some(steps),
            epochs: None,
            start_factor: default_start_factor(),
        }
    }

    /// A warm-up of this many epochs that starts at a third of the full rate.
    pub fn epochs(epochs: f64) -> Self {
        Self {
            steps: None,
            epochs: Some(epochs),
            start_factor: default_start_factor(),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the key that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.length(1)?;
        let (factor, expected) = (self.start_factor, "0 < start_factor <= 1");
        let ok = factor > 0.0 && factor <= 1.0;
        require(ok, SECTION, "start_factor", factor, expected)
    }

    /// Length in optimizer steps.
    fn length(&self, steps_per_epoch: usize) -> Result<usize, Error> {
        match (self.steps, self.epochs) {
            (Some(steps), None) => Ok(steps),
            (None, Some(epochs)) => {
                let (ok, expected) = (is_non_negative(epochs), "a finite number >= 0");
                require(ok, SECTION, "epochs", epochs, expected)?;
                Ok((epochs * steps_per_epoch as f64).round() as usize)
            }
            (steps, _) => {
                let found = match steps {
                    Some(_) => "given together with `epochs`",
                    None => "missing, and so is `epochs`",
                };
                let expected = "exactly one of `steps` and `epochs`";
                require(false, SECTION, "steps", found, expected).map(|()| 0)
            }
        }
    }

    /// Length in optimizer steps. It must not exceed the run's `total` steps.
    pub(super) fn length_in(&self, steps_per_epoch: usize, total: usize) -> Result<usize, Error> {
        self.validate()?;
        let length = self.length(steps_per_epoch)?;
        let key = if self.steps.is_some() {
            "steps"
        } else {
            "epochs"
        };
        let found = format!("{length} steps in a run of {total}");
        let expected = "no more than the run has; shorten it or train longer";
        require(length <= total, SECTION, key, found, expected)?;
        Ok(length)
    }

    /// Fraction of the full rate after `step` of `length` steps.
    pub(super) fn factor(&self, step: usize, length: usize) -> f64 {
        let share = step as f64 / length as f64;
        self.start_factor + (1.0 - self.start_factor) * share
    }
}
