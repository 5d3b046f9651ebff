//! A model: its configuration, its values and its executor.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use engine::Plan;

use crate::run::composed::Composed;
use crate::run::executor::{Executor, ForwardPass, TrainingStep};
use crate::run::initialise;
use crate::run::key::BackboneKey;
use crate::run::parameters::{Tables, Values};
use crate::weights::constants;
use crate::{
    Error, GradCam, HeadKind, Images, Model, ModelConfig, ModelDescription, Parameters, Precision,
    Processor, Result,
};

/// A network on a device.
pub struct Network {
    config: ModelConfig,
    plan: Arc<Plan>,
    parameters: Parameters,
    executor: Box<dyn Executor>,
    /// The precision of `executor`; `None` for a custom executor.
    precision: Option<Precision>,
    processor: Processor,
    seed: u64,
}

impl Network {
    /// Creates a network with the random initialisation of its family's own project. `seed` is also
    /// the seed of its dropout.
    ///
    /// # Errors
    /// If the configuration is invalid, or the device lacks memory.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Network> {
        let plan = config.plan()?;
        let values = initialise::values(&plan, config.name.of().0.initial, seed);
        Network::with_values(config, plan, values, seed, device)
    }

    /// Creates a network with these values. `plan` must belong to `config`.
    pub(crate) fn with_values(
        config: &ModelConfig,
        plan: Plan,
        values: Values,
        seed: u64,
        device: &Device,
    ) -> Result<Network> {
        let plan = Arc::new(plan);
        let parameters = Parameters::new(Tables::from(&*plan), values, device)?;
        let (precision, processor) = (Precision::F32, Processor::of(device.clone()));
        let executor = processor.executor(&plan, precision)?;
        Ok(Network {
            config: config.clone(),
            plan,
            parameters,
            executor,
            precision: Some(precision),
            processor,
            seed,
        })
    }

    /// The network's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The layers of the network.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The device of the network's values.
    pub fn device(&self) -> &Device {
        self.parameters.tensor_device()
    }

    /// The parameters and statistics.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The name of the executor that a new network of this configuration has on a CPU.
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn executor_of(config: &ModelConfig) -> Result<&'static str> {
        let plan = Arc::new(config.plan()?);
        let executor = Processor::of(Device::Cpu).executor(&plan, Precision::F32)?;
        Ok(executor.name())
    }

    /// The name of the executor.
    pub fn executor(&self) -> &'static str {
        self.executor.name()
    }

    /// Changes the executor.
    pub fn set_executor(&mut self, executor: Box<dyn Executor>) {
        // If the device fails, the values stay there, and reading them fails.
        let _ = self.parameters.leave_device();
        self.executor = executor;
        self.precision = None;
    }

    /// Changes the precision. A new network computes in f32.
    ///
    /// # Errors
    /// If the device or this processor does not support the precision.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        if self.precision != Some(precision) {
            self.parameters.leave_device()?;
            self.executor = self.processor.executor(&self.plan, precision)?;
            self.precision = Some(precision);
        }
        Ok(())
    }

    /// Changes the processor and the precision. A new network runs in f32 on the device of its values.
    ///
    /// # Errors
    /// If the processor has another device of tensors, or does not support the network or the precision.
    pub fn run_on(&mut self, processor: &Processor, precision: Precision) -> Result<()> {
        if !processor.tensors().same_device(self.device()) {
            return Err(Error::Precision(precision));
        }
        if processor.name() == self.processor.name() {
            return self.set_precision(precision);
        }
        self.parameters.leave_device()?;
        self.executor = processor.executor(&self.plan, precision)?;
        self.precision = Some(precision);
        self.processor = processor.clone();
        Ok(())
    }

    /// Logits `[n, classes]` of images `[n, h, w, 3]`, as `model.eval()(images)` in torch. They are
    /// not part of a graph.
    ///
    /// # Errors
    /// If the images are on another device, or the device fails.
    pub fn infer(&self, images: &Images) -> Result<Tensor> {
        self.executor.infer(&self.parameters, images)
    }

    /// The forward pass of a training step, as `model.train()(images)` in torch: normalised with the
    /// batch's statistics, with dropout. Updates the running statistics.
    ///
    /// [`ForwardPass::backward`] writes the gradient of every parameter to the flat tensor
    /// [`Parameters::gradient`], and [`Parameters::update`] passes this gradient to an optimizer. With
    /// `freeze_backbone`, everything except the head runs as in [`Network::infer`] and gets a zero
    /// gradient. Each `step` has a different dropout mask.
    ///
    /// # Errors
    /// If a batch normalisation would have a single value per channel, if the images are on another
    /// device, or if the device fails.
    pub fn forward_step(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<ForwardPass> {
        let step = TrainingStep {
            dropout_seed: self.seed,
            step,
            freeze_backbone,
        };
        let recorded = self.executor.forward(&self.parameters, images, step)?;
        Ok(ForwardPass::new(&self.parameters, recorded))
    }

    /// Logits `[n, classes]` of [`Network::forward_step`] as a part of candle's graph, for losses that
    /// candle differentiates: `loss.backward()` writes [`Parameters::gradient`].
    ///
    /// # Errors
    /// As [`Network::forward_step`].
    pub fn forward_train(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<Tensor> {
        self.forward_step(images, step, freeze_backbone)?
            .into_graph()
    }

    /// Pooled features `[n, features]` of images `[n, h, w, 3]`. They are the head's input, in
    /// inference and in training with a frozen backbone. They are not part of a graph.
    ///
    /// # Errors
    /// If the images are on another device, or the device fails.
    pub fn features(&self, images: &Images) -> Result<Tensor> {
        self.executor.features(&self.parameters, images)
    }

    /// Logits `[n, classes]` in inference, from features `[n, features]`. They may differ from
    /// [`Network::infer`]'s by rounding.
    ///
    /// # Errors
    /// If the width of the features differs from the network's, or the device fails.
    pub fn infer_head(&self, features: &Tensor) -> Result<Tensor> {
        self.executor.infer_head(&self.parameters, features)
    }

    /// The forward pass of a training step of the head only, from features `[n, features]`. For the
    /// features of some images, its logits are bit-identical to those of [`Network::forward_step`] on
    /// those images with `freeze_backbone`.
    ///
    /// # Errors
    /// If the width of the features differs from the network's, or the device fails.
    pub fn forward_head_step(&mut self, features: &Tensor, step: u64) -> Result<ForwardPass> {
        let step = TrainingStep {
            dropout_seed: self.seed,
            step,
            freeze_backbone: true,
        };
        let recorded = (self.executor).forward_head(&self.parameters, features, step)?;
        Ok(ForwardPass::new(&self.parameters, recorded))
    }

    /// Logits `[n, classes]` of [`Network::forward_head_step`] as a part of candle's graph.
    ///
    /// # Errors
    /// As [`Network::forward_head_step`].
    pub fn forward_train_head(&mut self, features: &Tensor, step: u64) -> Result<Tensor> {
        self.forward_head_step(features, step)?.into_graph()
    }

    /// Grad-CAM maps of images; see [`Model::grad_cam`].
    ///
    /// # Errors
    /// As [`Model::grad_cam`].
    pub fn grad_cam(&self, images: &Images, classes: Option<&[usize]>) -> Result<GradCam> {
        Composed::new(Arc::clone(&self.plan)).grad_cam(&self.parameters, images, classes)
    }

    /// Number of pooled features per image.
    pub fn feature_count(&self) -> usize {
        self.plan.feature_count()
    }

    /// A SHA-256, in hexadecimal, that identifies the backbone. It covers everything that affects
    /// [`Network::features`] to the last bit, except the images.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backbone_key(&self) -> Result<String> {
        // The key does not depend on settings that affect only the head or only training.
        let config = ModelConfig {
            classes: 2,
            dropout: 0.0,
            drop_path: 0.0,
            batch_norm_momentum: 0.0,
            head: HeadKind::Linear,
            ..self.config.clone()
        };
        let values = self.parameters.values()?;
        let mut key = BackboneKey::new(&format!("{config:?}"), &self.executor.kind());
        key.numbers(&values.arena[self.parameters.backbone()]);
        key.numbers(&values.statistics);
        Ok(key.finish())
    }
}

impl Model for Network {
    fn description(&self) -> ModelDescription {
        self.config.clone().into()
    }

    fn device(&self) -> &Device {
        self.device()
    }

    fn parameters(&self) -> &Parameters {
        self.parameters()
    }

    fn trains_backbone(&self) -> bool {
        true
    }

    fn executor(&self) -> &'static str {
        self.executor()
    }

    fn processor(&self) -> Processor {
        self.processor.clone()
    }

    fn run_on(&mut self, processor: &Processor, precision: Precision) -> Result<()> {
        self.run_on(processor, precision)
    }

    fn infer(&self, images: &Images) -> Result<Tensor> {
        self.infer(images)
    }

    fn features(&self, images: &Images) -> Result<Tensor> {
        self.features(images)
    }

    fn grad_cam(&self, images: &Images, classes: Option<&[usize]>) -> Result<GradCam> {
        self.grad_cam(images, classes)
    }

    fn feature_count(&self) -> usize {
        self.feature_count()
    }

    fn backbone_key(&self) -> Result<String> {
        self.backbone_key()
    }

    fn infer_head(&self, features: &Tensor) -> Result<Tensor> {
        self.infer_head(features)
    }

    fn forward_step(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<ForwardPass> {
        self.forward_step(images, step, freeze_backbone)
    }

    fn forward_head_step(&mut self, features: &Tensor, step: u64) -> Result<ForwardPass> {
        self.forward_head_step(features, step)
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = self.parameters.named()?;
        tensors.extend(constants(&self.plan)?);
        Ok(tensors)
    }
}
