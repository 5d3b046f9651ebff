//! Optimizer steps from the gradients of batches.

use mobilenet::{Parameters, Precision};
use optim::{
    Accumulator, LossScaler, LossScalerConfig, LossScalerState, LrSchedule, LrScheduleState,
    Optimizer, OptimizerConfig, OptimizerState, clip_gradient_norm, clip_gradient_value,
};
use serde::{Deserialize, Serialize};

use super::groups::{BACKBONE, groups, matrices};
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
    optimizer: Optimizer,
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
            optimizer: Optimizer::new(&config.optimizer, parameters.len(), groups)?
                .with_matrices(&matrices(parameters))?,
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

    /// The optimizer.
    pub(super) fn optimizer(&self) -> &Optimizer {
        &self.optimizer
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
            let rate = self.learning_rate();
            let optimizer = &mut self.optimizer;
            parameters.update(|values, gradient| optimizer.step(values, gradient, rate))??;
            self.schedule.step();
            return Ok(true);
        }
        parameters.take_gradient(|gradient| self.gradients.add(gradient, weight))??;
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
        let Some(gradient) = self.gradients.take()? else {
            return Ok(false);
        };
        let optimizer = &mut self.optimizer;
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
}

impl Gradients {
    fn new(config: &TrainConfig) -> Result<Self> {
        let scaled = config.precision == Precision::F16;
        let scaler = scaled.then(|| LossScaler::new(&LossScalerConfig::default()));
        Ok(Self {
            batches: config.accumulate_batches,
            max_norm: config.clip_gradient_norm,
            max_value: config.clip_gradient_value,
            scaler: scaler.transpose()?,
            sum: Accumulator::default(),
            taken: 0,
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Device, Tensor};
    use mobilenet::weights::{self, WeightsMetadata};
    use mobilenet::{Composed, Images, ModelConfig, Network, Variant};

    use super::*;
    use crate::model::start;
    use crate::{Objective, Targets};

    const EPOCHS: usize = 30;

    /// A network with f16 products, as on a GPU, and its stepper.
    fn scene(settings: &str) -> (Network, Stepper) {
        let config = ModelConfig {
            width: 0.25,
            ..ModelConfig::new(Variant::SMALL, 2)
        };
        let mut network = Network::new(&config, 1, &Device::Cpu).unwrap();
        let plan = Arc::new(network.plan().clone());
        network.set_executor(Box::new(Composed::new(plan).with_f16()));
        let text = format!("train = {{ precision = 'f16', epochs = {EPOCHS}, {settings} }}");
        let config = RunConfig::from_toml(&text, "test").unwrap();
        let schedule = LrSchedule::new(&config.schedule, None, 3e-3, EPOCHS, 1).unwrap();
        let stepper = Stepper::new(&config, network.parameters(), schedule).unwrap();
        (network, stepper)
    }

    /// Runs a batch of dark and bright images forward, then backward with the loss scaled by `scale`. Returns the loss.
    fn learn(network: &mut Network, step: usize, scale: f32) -> f64 {
        let labels: Vec<u32> = (0..8).map(|image| image % 2).collect();
        let pixels: Vec<f32> = (0..8 * 16 * 16 * 3)
            .map(|i| (i % 7) as f32 / 7.0 + (i / 768 % 2) as f32 - 0.5)
            .collect();
        let pixels = Tensor::from_vec(pixels, (8, 16, 16, 3), &Device::Cpu).unwrap();
        let images = Images::normalised(&pixels).unwrap();
        let pass = network.forward_step(&images, step as u64, false).unwrap();
        let targets = Targets::of(&labels, &[1.0; 8]);
        let loss = Objective::cross_entropy(2)
            .apply(pass.logits(), &targets)
            .unwrap();
        loss.backward_scaled(pass, scale).unwrap();
        loss.mean
    }

    fn arena(network: &Network) -> Vec<f32> {
        network.parameters().arena().to_vec1().unwrap()
    }

    #[test]
    fn a_network_learns_in_f16() {
        for settings in ["", "accumulate_batches = 2", "clip_gradient_norm = 1.0"] {
            let (mut network, mut stepper) = scene(settings);
            let mut losses = Vec::new();
            for step in 0..EPOCHS {
                let scale = stepper.loss_scale().unwrap();
                losses.push(learn(&mut network, step, scale));
                stepper.take(network.parameters(), 8.0).unwrap();
            }
            assert!(
                losses[EPOCHS - 1] < 0.9 * losses[0],
                "{settings}: {losses:?}"
            );
        }
    }

    #[test]
    fn a_step_that_overflows_is_left_out_and_the_schedule_goes_on() {
        let (mut network, mut stepper) = scene("");
        let (before, rate) = (arena(&network), stepper.learning_rate());
        assert_eq!(stepper.loss_scale(), Some(65536.0));
        learn(&mut network, 0, 1e30);
        assert!(!stepper.take(network.parameters(), 8.0).unwrap());
        assert!(arena(&network) == before);
        assert_eq!(stepper.loss_scale(), Some(32768.0));
        assert!(stepper.learning_rate() > rate);
        learn(&mut network, 1, 32768.0);
        assert!(stepper.take(network.parameters(), 8.0).unwrap());
        assert!(arena(&network) != before);
    }

    #[test]
    fn the_loss_scale_goes_on_where_a_weights_file_left_it() {
        let (mut network, mut stepper) = scene("");
        learn(&mut network, 0, 1e30);
        stepper.take(network.parameters(), 8.0).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let metadata = WeightsMetadata {
            training: stepper.state(),
            ..WeightsMetadata::new(
                network.config().clone().into(),
                vec!["dark".to_owned(), "bright".to_owned()],
                mobilenet::ImageSize::square(16),
            )
        };
        weights::save(&path, &network, &metadata).unwrap();

        let mut config = RunConfig::default();
        config.model.width = 0.25;
        config.model.pretrained = Some(path);
        let training = start(&config, &metadata.class_names, &Device::Cpu);
        let training = training.unwrap().training;
        let (_, mut next) = scene("");
        next.go_on_from(training);
        assert_eq!(next.loss_scale(), Some(32768.0));
        assert_eq!(next.state(), stepper.state());
        next.go_on_from(Some(
            serde_json::json!({ "loss_scaler": { "scale": -1.0, "good_steps": 0 } }),
        ));
        assert_eq!(next.loss_scale(), Some(32768.0));
    }
}
