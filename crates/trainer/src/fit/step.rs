//! From the gradients of batches to steps of the optimizer.

use mobilenet::Parameters;
use optim::{Accumulator, LrSchedule, Optimizer, clip_gradient_norm, clip_gradient_value};

use super::groups::{BACKBONE, groups, matrices};
use crate::Result;
use crate::config::{RunConfig, TrainConfig};

/// Moves the parameters: gradients are summed up over batches where that is wanted, clipped,
/// and handed to the optimizer with the schedule's learning rate.
pub(super) struct Stepper {
    optimizer: Optimizer,
    schedule: LrSchedule,
    /// Where it is given, the rate of every step, whatever the schedule says.
    set_rate: Option<f64>,
    /// The names of the backbone's groups.
    backbone: Vec<String>,
    gradients: Gradients,
}

impl Stepper {
    pub(super) fn new(
        config: &RunConfig,
        parameters: &Parameters,
        schedule: LrSchedule,
    ) -> Result<Self> {
        let groups = groups(parameters, &config.train);
        let names = groups.iter().map(|group| group.name.clone());
        Ok(Self {
            backbone: names.filter(|name| name.starts_with(BACKBONE)).collect(),
            optimizer: Optimizer::new(&config.optimizer, parameters.len(), groups)?
                .with_matrices(&matrices(parameters))?,
            schedule,
            set_rate: None,
            gradients: Gradients::new(&config.train),
        })
    }

    /// The rate of the coming step.
    pub(super) fn learning_rate(&self) -> f64 {
        self.set_rate
            .unwrap_or_else(|| self.schedule.learning_rate())
    }

    /// Steps with this rate from now on, instead of the schedule's.
    pub(super) fn set_learning_rate(&mut self, rate: f64) {
        self.set_rate = Some(rate);
    }

    /// Tells the schedule of the monitored figure.
    pub(super) fn epoch_end(&mut self, monitored: f64) {
        self.schedule.epoch_end(monitored);
    }

    /// Holds the backbone as it is, or lets it go on.
    pub(super) fn freeze_backbone(&mut self, frozen: bool) -> Result<()> {
        for name in &self.backbone {
            self.optimizer.set_frozen(name, frozen)?;
        }
        Ok(())
    }

    /// Takes the gradient of a batch's mean loss, over the sum of weights `weight`; true if that
    /// made a step.
    pub(super) fn take(&mut self, parameters: &Parameters, weight: f64) -> Result<bool> {
        if self.gradients.is_plain() {
            let rate = self.learning_rate();
            let optimizer = &mut self.optimizer;
            let mut outcome = Ok(());
            parameters.update(|values, gradient| {
                outcome = optimizer.step(values, gradient, rate);
            })?;
            outcome?;
            self.schedule.step();
            return Ok(true);
        }
        parameters.take_gradient(|gradient| self.gradients.add(gradient, weight))?;
        match self.gradients.is_complete() {
            true => self.flush(parameters),
            false => Ok(false),
        }
    }

    /// Takes a step by what has been summed up so far; false if nothing has.
    pub(super) fn flush(&mut self, parameters: &Parameters) -> Result<bool> {
        let rate = self.learning_rate();
        let Some(gradient) = self.gradients.take()? else {
            return Ok(false);
        };
        let optimizer = &mut self.optimizer;
        let mut outcome = Ok(());
        parameters.change(|values| outcome = optimizer.step(values, gradient, rate))?;
        outcome?;
        self.schedule.step();
        Ok(true)
    }
}

/// The gradient of a step in the making.
struct Gradients {
    batches: usize,
    max_norm: Option<f64>,
    max_value: Option<f64>,
    sum: Accumulator,
    taken: usize,
}

impl Gradients {
    fn new(config: &TrainConfig) -> Self {
        Self {
            batches: config.accumulate_batches,
            max_norm: config.clip_gradient_norm,
            max_value: config.clip_gradient_value,
            sum: Accumulator::default(),
            taken: 0,
        }
    }

    /// Whether a batch's gradient is the step's as it is.
    fn is_plain(&self) -> bool {
        self.batches == 1 && self.max_norm.is_none() && self.max_value.is_none()
    }

    fn is_complete(&self) -> bool {
        self.taken >= self.batches
    }

    fn add(&mut self, gradient: &[f32], weight: f64) {
        self.sum.add(gradient, weight);
        self.taken += 1;
    }

    /// The mean of what was added, clipped: by value first, so that the norm holds in the end.
    fn take(&mut self) -> Result<Option<&[f32]>> {
        if self.taken == 0 {
            return Ok(None);
        }
        self.taken = 0;
        let gradient = self.sum.mean();
        if let Some(max_value) = self.max_value {
            clip_gradient_value(gradient, max_value)?;
        }
        if let Some(max_norm) = self.max_norm {
            clip_gradient_norm(gradient, max_norm)?;
        }
        Ok(Some(gradient))
    }
}
