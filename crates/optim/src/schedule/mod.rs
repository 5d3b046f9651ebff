//! Learning-rate schedules: they give the rate of the next optimizer step.

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

/// A running schedule. The caller must report every optimizer step and the end of every epoch. Both
/// totals are fixed when the schedule is created.
///
/// The warm-up comes first. The schedule itself starts after it, as in torch's `SequentialLR`.
/// Schedules that change after each optimizer step start at once and cover the remaining steps.
/// Schedules that change after each epoch start with the next whole epoch and cover the remaining
/// epochs; milestones and metrics count from that epoch. After the end of the run the last rate
/// stays.
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
    /// Number of optimizer steps in the warm-up; 0 if there is none.
    warmup_steps: usize,
    state: LrScheduleState,
}

/// A schedule's saved state, from which a resumed run continues identically.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrScheduleState {
    /// Finished epochs.
    pub epoch: usize,
    /// Number of optimizer steps in the current epoch so far.
    pub step: usize,
    /// The state of a plateau schedule; `None` for other schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<PlateauState>,
}

impl LrSchedule {
    /// Creates a schedule for a run of `epochs` epochs with `steps_per_epoch` optimizer steps each.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is out of range, the base rate is not above zero or is below
    /// the configured lowest rate, the run has no steps, or the warm-up is longer than the run.
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

    /// The rate for the next optimizer step.
    pub fn learning_rate(&self) -> f64 {
        let done = self.steps_done();
        if let Some(warmup) = self.warmup.as_ref().filter(|_| done < self.warmup_steps) {
            return self.rate_at(0, 0) * warmup.factor(done, self.warmup_steps);
        }
        let epoch = self.state.epoch.saturating_sub(self.warmup_epochs());
        self.rate_at(epoch, done - self.warmup_steps)
    }

    /// Reports that an optimizer step is done.
    pub fn step(&mut self) {
        self.state.step = self.state.step.saturating_add(1);
    }

    /// Reports the end of an epoch, which may have any number of steps. `metric` is the value that
    /// a plateau schedule monitors. Other schedules ignore it.
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

    /// The saved state, for [`load_state`](Self::load_state).
    pub fn state(&self) -> LrScheduleState {
        self.state.clone()
    }

    /// Continues from the saved state of a schedule with the same settings.
    ///
    /// # Errors
    /// [`Error::State`] if the state is a plateau's and the schedule is not, or the reverse. Also
    /// if no schedule can reach the state. Nothing has changed then.
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

    /// Number of steps since the start of the run. A finished epoch counts in full even if it was
    /// cut short. In an epoch with too many steps, the extra steps do not count.
    fn steps_done(&self) -> usize {
        let before = self.state.epoch.saturating_mul(self.steps_per_epoch);
        before.saturating_add(self.state.step.min(self.steps_per_epoch))
    }

    /// Number of epochs that have started when the warm-up ends.
    fn warmup_epochs(&self) -> usize {
        self.warmup_steps.div_ceil(self.steps_per_epoch)
    }

    /// The rate, without warm-up, after this many epochs and steps since the warm-up.
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
