//! Optimizer steps from the gradients of batches.

use mobilenet::{Buffer, DeviceValues, GradientChange, Parameters, Precision};
use optim::{
    Accumulator, LossScaler, LossScalerConfig, LossScalerState, LrSchedule, LrScheduleState,
    Optimizer, OptimizerConfig, OptimizerCounters, OptimizerState, clip_factor, clip_gradient_norm,
    clip_gradient_value,
};
use serde::{Deserialize, Serialize};

use super::groups::{BACKBONE, groups, matrices};
use super::on_device::{NamedBuffers, PlacedOptimizer};
use crate::Result;
use crate::config::{RunConfig, TrainConfig};

/// The contents of `training` in a weights file.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Training {
    loss_scaler: Option<LossScalerState>,
}

/// Updates the parameters: gradients are accumulated over batches if configured, clipped, and
/// passed to the optimizer with the schedule's learning rate.
pub(super) struct Stepper {
    optimizer: PlacedOptimizer,
    schedule: LrSchedule,
    /// Whether a step can make a finite weight of a gradient that is not finite.
    hides_infinity: bool,
    /// A fixed learning rate that overrides the schedule.
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
            optimizer: PlacedOptimizer::new(
                Optimizer::new(&config.optimizer, parameters.len(), groups)?
                    .with_matrices(&matrices(parameters))?,
            ),
            hides_infinity: config.train.clip_gradient_value.is_some()
                || matches!(config.optimizer, OptimizerConfig::Lion(_)),
            schedule,
            set_rate: None,
            gradients: Gradients::new(&config.train)?,
        })
    }

    /// The learning rate of the next step.
    pub(super) fn learning_rate(&self) -> f64 {
        self.set_rate
            .unwrap_or_else(|| self.schedule.learning_rate())
    }

    /// Sets a fixed learning rate that overrides the schedule from now on.
    pub(super) fn set_learning_rate(&mut self, rate: f64) {
        self.set_rate = Some(rate);
    }

    /// The factor for the next batch's loss; `None` without loss scaling.
    pub(super) fn loss_scale(&self) -> Option<f32> {
        self.gradients.scaler.as_ref().map(LossScaler::scale)
    }

    /// The state for a later run that starts from these weights: the loss scale.
    pub(super) fn state(&self) -> Option<serde_json::Value> {
        let loss_scaler = self.gradients.scaler.as_ref().map(LossScaler::state);
        loss_scaler.map(|_| serde_json::json!(Training { loss_scaler }))
    }

    /// Restores the state of an earlier run, if there is one and this run scales its loss.
    pub(super) fn go_on_from(&mut self, state: Option<serde_json::Value>) {
        let (Some(scaler), Some(state)) = (&mut self.gradients.scaler, state) else {
            return;
        };
        let state = serde_json::from_value(state).map_err(|error| error.to_string());
        let loaded = state.and_then(|Training { loss_scaler }| {
            let loaded = loss_scaler.map_or(Ok(()), |state| scaler.load_state(state));
            loaded.map_err(|error| error.to_string())
        });
        if let Err(problem) = loaded {
            // The state only avoids skipped steps at the start, so the run can go on without it.
            tracing::warn!(
                "the pretrained weights have an invalid loss scale ({problem}); a new one is used"
            );
        }
    }

    /// Whether no gradient waits for the rest of its step.
    pub(super) fn is_between_steps(&self) -> bool {
        self.gradients.taken == 0
    }

    /// Whether a step can make a finite weight of a gradient that is not finite: by clamping, or by its sign.
    pub(super) fn hides_infinity(&self) -> bool {
        self.hides_infinity
    }

    /// The step counts of the optimizer's groups.
    pub(super) fn counters(&self) -> OptimizerCounters {
        self.optimizer.own().counters()
    }

    /// The names of the optimizer's buffers.
    pub(super) fn buffer_names(&self) -> impl Iterator<Item = &'static str> {
        self.optimizer.own().buffers().map(|(name, _)| name)
    }

    /// The optimizer's buffers, with their names.
    pub(super) fn buffers(&self) -> Result<NamedBuffers<'_>> {
        self.optimizer.buffers()
    }

    /// The state of the learning-rate schedule and of the loss scaler.
    pub(super) fn small_states(&self) -> (LrScheduleState, Option<LossScalerState>) {
        let scaler = self.gradients.scaler.as_ref();
        (self.schedule.state(), scaler.map(LossScaler::state))
    }

    /// Goes on where an earlier process stopped.
    ///
    /// # Errors
    ///
    /// If a state belongs to other settings.
    pub(super) fn restore(
        &mut self,
        optimizer: OptimizerState,
        schedule: LrScheduleState,
        scaler: Option<LossScalerState>,
    ) -> Result<()> {
        self.optimizer.load_state(optimizer)?;
        self.schedule.load_state(schedule)?;
        match (&mut self.gradients.scaler, scaler) {
            (Some(own), Some(scaler)) => Ok(own.load_state(scaler)?),
            _ => Ok(()),
        }
    }

    /// Passes the monitored score to the schedule.
    pub(super) fn epoch_end(&mut self, monitored: f64) {
        self.schedule.epoch_end(monitored);
    }

    /// Freezes or unfreezes the backbone.
    pub(super) fn freeze_backbone(&mut self, frozen: bool) -> Result<()> {
        for name in &self.backbone {
            self.optimizer.set_frozen(name, frozen)?;
        }
        Ok(())
    }

    /// Adds the gradient of a batch's mean loss, scaled by [`Stepper::loss_scale`], with the total weight `weight`.
    /// Returns true if this completed a step.
    pub(super) fn take(&mut self, parameters: &Parameters, weight: f64) -> Result<bool> {
        if self.gradients.is_plain() {
            self.optimizer.step(parameters, self.learning_rate())?;
            self.schedule.step();
            return Ok(true);
        }
        if let Some(values) = parameters.take_gradient_on_device()? {
            let share = self.gradients.sum.share(weight)?;
            let device = self.optimizer.on(values)?;
            if self.gradients.batches > 1 {
                device.add(share, parameters.len())?;
            }
            self.gradients.on_device = true;
            self.gradients.taken += 1;
            return self.flush_if_complete(parameters);
        }
        parameters.take_gradient(|gradient| self.gradients.add(gradient, weight))??;
        self.flush_if_complete(parameters)
    }

    fn flush_if_complete(&mut self, parameters: &Parameters) -> Result<bool> {
        match self.gradients.is_complete() {
            true => self.flush(parameters),
            false => Ok(false),
        }
    }

    /// Takes a step with the gradients so far; false if there are none, or if they overflowed.
    pub(super) fn flush(&mut self, parameters: &Parameters) -> Result<bool> {
        if self.gradients.taken == 0 {
            return Ok(false);
        }
        let rate = self.learning_rate();
        // A skipped step still advances the schedule, so that the schedule ends with the last epoch.
        self.schedule.step();
        let device = self.optimizer.device();
        if let Some(device) = device.filter(|_| self.gradients.on_device) {
            let change =
                (self.gradients).take_on_device(device.values().as_ref(), device.gradient())?;
            if let Some(change) = change {
                self.optimizer.step_on_device(parameters, rate, change)?;
            }
            return Ok(change.is_some());
        }
        let Some(gradient) = self.gradients.take()? else {
            return Ok(false);
        };
        let optimizer = self.optimizer.on_host()?;
        parameters.change(|values| optimizer.step(values, gradient, rate))??;
        Ok(true)
    }
}

/// Accumulates the gradient of the next step.
struct Gradients {
    batches: usize,
    max_norm: Option<f64>,
    max_value: Option<f64>,
    /// The loss scaler; only with f16.
    scaler: Option<LossScaler>,
    sum: Accumulator,
    taken: usize,
    /// Whether the gradients so far are in the memory of a GPU.
    on_device: bool,
}

impl Gradients {
    fn new(config: &TrainConfig) -> Result<Self> {
        let scaled = config.precision == Precision::F16.into();
        let scaler = scaled.then(|| LossScaler::new(&LossScalerConfig::default()));
        Ok(Self {
            batches: config.accumulate_batches,
            max_norm: config.clip_gradient_norm,
            max_value: config.clip_gradient_value,
            scaler: scaler.transpose()?,
            sum: Accumulator::default(),
            taken: 0,
            on_device: false,
        })
    }

    /// Whether a batch's gradient is used for the step unchanged.
    fn is_plain(&self) -> bool {
        self.batches == 1
            && self.max_norm.is_none()
            && self.max_value.is_none()
            && self.scaler.is_none()
    }

    fn is_complete(&self) -> bool {
        self.taken >= self.batches
    }

    fn add(&mut self, gradient: &[f32], weight: f64) -> Result<()> {
        self.sum.add(gradient, weight)?;
        self.taken += 1;
        Ok(())
    }

    /// The mean gradient, clipped by value and then by norm, so that the result keeps the norm's limit. `None` if the
    /// gradient overflowed and a smaller loss scale may help.
    fn take(&mut self) -> Result<Option<&[f32]>> {
        self.taken = 0;
        let gradient = self.sum.mean();
        if let Some(scaler) = &mut self.scaler
            && !scaler.unscale(gradient)?
        {
            return Ok(None);
        }
        if let Some(max_value) = self.max_value {
            clip_gradient_value(gradient, max_value)?;
        }
        if let Some(max_norm) = self.max_norm {
            clip_gradient_norm(gradient, max_norm)?;
        }
        Ok(Some(gradient))
    }

    /// How a step changes the mean gradient, which is in a GPU's memory. `None` as for [`Gradients::take`].
    fn take_on_device(
        &mut self,
        values: &dyn DeviceValues,
        gradient: Buffer,
    ) -> Result<Option<GradientChange>> {
        self.taken = 0;
        self.on_device = false;
        self.sum.clear();
        let mut change = GradientChange::default();
        if let Some(scaler) = &self.scaler {
            change.scale = scaler.factor();
        }
        if let Some(max_value) = self.max_value {
            change.limit = max_value as f32;
        }
        if self.scaler.is_none() && self.max_norm.is_none() {
            return Ok(Some(change));
        }
        let size = values.measure(gradient, change);
        let size = size.map_err(mobilenet::Error::from)?;
        if let Some(scaler) = &mut self.scaler {
            scaler.advance(size.finite)?;
            if !size.finite {
                return Ok(None);
            }
        }
        if let Some(max_norm) = self.max_norm {
            change.factor = clip_factor(size.squares.sqrt(), max_norm).unwrap_or(1.0);
        }
        Ok(Some(change))
    }
}

#[cfg(test)]
mod tests;
