//! Learning-rate schedules: the rate of the coming optimizer step.

mod config;
mod curve;
mod plateau;
mod text;
mod validate;
mod warmup;

use serde::{Deserialize, Serialize};

pub use config::{
    Anneal, CosineConfig, ExponentialConfig, Interval, LrScheduleConfig, MultiStepConfig,
    OneCycleConfig, PlateauConfig, PlateauMode, PolynomialConfig, SgdrConfig, StepConfig,
    ThresholdMode,
};
pub use plateau::PlateauState;
pub use warmup::Warmup;

use crate::error::{Error, is_positive, require};
use curve::Clock;

/// A running schedule. The caller reports every optimizer step and every end of an epoch; the
/// totals of both are fixed at the start.
///
/// A warm-up comes first; the schedule starts after it, as in torch's `SequentialLR`. Schedules
/// that change after each optimizer step start at once and cover the remaining steps. Schedules
/// that change after each epoch start with the next whole epoch and cover the remaining epochs;
/// milestones and metrics count from there. After the end of the run the last rate stays.
///
/// ```
/// use optim::{CosineConfig, LrSchedule, LrScheduleConfig, Warmup};
///
/// let cosine = LrScheduleConfig::Cosine(CosineConfig::default());
/// let (epochs, steps_per_epoch) = (10, 100);
/// let mut schedule =
///     LrSchedule::new(&cosine, Some(&Warmup::epochs(1.0)), 1e-3, epochs, steps_per_epoch)?;
/// for _ in 0..epochs {
///     for _ in 0..steps_per_epoch {
///         let rate = schedule.learning_rate(); // for the coming optimizer step
///         assert!(rate > 0.0 && rate <= 1e-3);
///         schedule.step();
///     }
///     let validation_loss = 0.5;
///     schedule.epoch_end(validation_loss);
/// }
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LrSchedule {
    config: LrScheduleConfig,
    base: f64,
    epochs: usize,
    steps_per_epoch: usize,
    warmup: Option<Warmup>,
    /// Optimizer steps of the warm-up, 0 without one.
    warmup_steps: usize,
    state: LrScheduleState,
}

/// A schedule's saved state, from which a resumed run continues identically.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrScheduleState {
    /// Finished epochs.
    pub epoch: usize,
    /// Optimizer steps taken within the current epoch.
    pub step: usize,
    /// The state of a plateau schedule; `None` for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<PlateauState>,
}

impl LrSchedule {
    /// A schedule at the beginning of a run of `epochs` epochs of
    /// `steps_per_epoch` optimizer steps each.
    ///
    /// # Errors
    /// [`Error::Setting`] with the value outside its domain: a setting, a base rate that is not
    /// above zero or is below the configured lowest rate, a run without steps, or a warm-up longer
    /// than the run.
    pub fn new(
        config: &LrScheduleConfig,
        warmup: Option<&Warmup>,
        base_learning_rate: f64,
        epochs: usize,
        steps_per_epoch: usize,
    ) -> Result<Self, Error> {
        let section = format!("schedule {}", config.name());
        let (base, expected) = (base_learning_rate, "a finite number > 0");
        require(is_positive(base), &section, "learning_rate", base, expected)?;
        config.validate_beside(base)?;
        let expected = "a whole number >= 1";
        require(epochs > 0, &section, "epochs", epochs, expected)?;
        let per_epoch = steps_per_epoch;
        require(
            per_epoch > 0,
            &section,
            "steps_per_epoch",
            per_epoch,
            expected,
        )?;
        let total = epochs.saturating_mul(per_epoch);
        let (found, expected) = (format!("{epochs} of {per_epoch} steps"), "a shorter run");
        require(total < usize::MAX, &section, "epochs", found, expected)?;
        let warmup_steps = match warmup {
            Some(warmup) => warmup.length_in(per_epoch, total)?,
            None => 0,
        };
        let plateau = match config {
            LrScheduleConfig::Plateau(_) => Some(PlateauState::new(base)),
            _ => None,
        };
        Ok(Self {
            config: config.clone(),
            base,
            epochs,
            steps_per_epoch,
            warmup: warmup.cloned(),
            warmup_steps,
            state: LrScheduleState {
                epoch: 0,
                step: 0,
                plateau,
            },
        })
    }

    /// The rate of the coming optimizer step.
    pub fn learning_rate(&self) -> f64 {
        let done = self.steps_done();
        if let Some(warmup) = self.warmup.as_ref().filter(|_| done < self.warmup_steps) {
            return self.rate_at(0, 0) * warmup.factor(done, self.warmup_steps);
        }
        let epoch = self.state.epoch.saturating_sub(self.warmup_epochs());
        self.rate_at(epoch, done - self.warmup_steps)
    }

    /// Reports an optimizer step.
    pub fn step(&mut self) {
        self.state.step = self.state.step.saturating_add(1);
    }

    /// Reports the end of an epoch of any number of steps. `metric` is the value that a plateau
    /// schedule monitors; the others ignore it.
    pub fn epoch_end(&mut self, metric: f64) {
        let begun = self.state.epoch >= self.warmup_epochs();
        if let (LrScheduleConfig::Plateau(config), Some(plateau), true) =
            (&self.config, &mut self.state.plateau, begun)
        {
            plateau.epoch_end(config, metric);
        }
        self.state.epoch = self.state.epoch.saturating_add(1);
        self.state.step = 0;
    }

    /// The state for [`load_state`](Self::load_state).
    pub fn state(&self) -> LrScheduleState {
        self.state.clone()
    }

    /// Continues from the saved state of a schedule with the same settings.
    ///
    /// # Errors
    /// [`Error::State`] if only one of state and schedule is a plateau's, or if no schedule can
    /// reach the state. Nothing has changed then.
    pub fn load_state(&mut self, state: LrScheduleState) -> Result<(), Error> {
        if state.plateau.is_some() != self.state.plateau.is_some() {
            let kind = match state.plateau {
                Some(_) => "a plateau schedule",
                None => "a schedule without a plateau",
            };
            let ours = self.config.name();
            return Err(Error::State(format!(
                "it was saved by {kind}, this schedule is `{ours}`; resume with the schedule the run began with"
            )));
        }
        state.plateau.as_ref().map_or(Ok(()), PlateauState::check)?;
        self.state = state;
        Ok(())
    }

    /// Steps since the start of the run. A finished epoch counts in full even if it was cut short;
    /// one that overruns stays at its planned end.
    fn steps_done(&self) -> usize {
        let before = self.state.epoch.saturating_mul(self.steps_per_epoch);
        before.saturating_add(self.state.step.min(self.steps_per_epoch))
    }

    /// Epochs that have started when the warm-up ends.
    fn warmup_epochs(&self) -> usize {
        self.warmup_steps.div_ceil(self.steps_per_epoch)
    }

    /// The schedule's own rate after this many epochs and steps since the warm-up.
    fn rate_at(&self, epoch: usize, step: usize) -> f64 {
        let steps = self.epochs * self.steps_per_epoch - self.warmup_steps;
        let clock = Clock {
            epoch,
            epochs: (self.epochs - self.warmup_epochs()).max(1),
            step,
            steps: steps.max(1),
            steps_per_epoch: self.steps_per_epoch,
        };
        match (&self.config, &self.state.plateau) {
            (LrScheduleConfig::Plateau(_), Some(plateau)) => plateau.learning_rate,
            (LrScheduleConfig::Plateau(_), None) | (LrScheduleConfig::Constant, _) => self.base,
            (LrScheduleConfig::Step(step), _) => step.learning_rate(self.base, clock),
            (LrScheduleConfig::MultiStep(step), _) => step.learning_rate(self.base, clock),
            (LrScheduleConfig::Sgdr(sgdr), _) => sgdr.learning_rate(self.base, clock),
            (LrScheduleConfig::Cosine(cosine), _) => cosine.learning_rate(self.base, clock),
            (LrScheduleConfig::OneCycle(cycle), _) => cycle.learning_rate(self.base, clock),
            (LrScheduleConfig::Polynomial(polynomial), _) => {
                polynomial.learning_rate(self.base, clock)
            }
            (LrScheduleConfig::Exponential(exponential), _) => {
                exponential.learning_rate(self.base, clock)
            }
        }
    }
}
