//! A model: its configuration, its numbers and what runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use engine::Plan;

use crate::composed::Composed;
use crate::executor::{Executor, TrainingStep, differentiable};
use crate::fused::Fused;
use crate::key::BackboneKey;
use crate::parameters::{Tables, Values};
use crate::{
    Error, FusedOptions, HeadKind, Images, Isa, Model, ModelConfig, ModelDescription, Parameters,
    Precision, Result, initialise,
};

/// A MobileNet on a device.
pub struct Network {
    config: ModelConfig,
    plan: Arc<Plan>,
    parameters: Parameters,
    executor: Box<dyn Executor>,
    /// What `executor` computes in; not known of one that was given.
    precision: Option<Precision>,
    seed: u64,
}

impl Network {
    /// A network with torchvision's random initialisation. `seed` also seeds its dropout.
    ///
    /// # Errors
    /// If the configuration makes no network, or the device has no room.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Network> {
        let plan = config.plan()?;
        let values = initialise::values(&plan, seed);
        Network::with_values(config, plan, values, seed, device)
    }

    /// A network of these values; `plan` is that of `config`.
    pub(crate) fn with_values(
        config: &ModelConfig,
        plan: Plan,
        values: Values,
        seed: u64,
        device: &Device,
    ) -> Result<Network> {
        let plan = Arc::new(plan);
        let parameters = Parameters::new(Tables::from(&*plan), values, device)?;
        let precision = Precision::F32;
        let executor = executor(&plan, device, precision)?;
        Ok(Network {
            config: config.clone(),
            plan,
            parameters,
            executor,
            precision: Some(precision),
            seed,
        })
    }

    /// What the network was made from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The network as data.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The device its numbers live on.
    pub fn device(&self) -> &Device {
        self.parameters.arena().device()
    }

    /// Its numbers.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The name of what runs it.
    pub fn executor(&self) -> &'static str {
        self.executor.name()
    }

    /// Runs it with another executor from now on.
    pub fn set_executor(&mut self, executor: Box<dyn Executor>) {
        self.executor = executor;
        self.precision = None;
    }

    /// Computes in other numbers from now on; a new network computes in f32.
    ///
    /// # Errors
    /// Where the device, or this processor, does not compute in them.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        if self.precision != Some(precision) {
            self.executor = executor(&self.plan, self.device(), precision)?;
            self.precision = Some(precision);
        }
        Ok(())
    }

    /// Logits `[n, classes]` of images `[n, h, w, 3]`, as `model.eval()(images)` gives in
    /// torch. No graph is kept.
    ///
    /// # Errors
    /// If the images are on another device, or the device gives out.
    pub fn infer(&self, images: &Images) -> Result<Tensor> {
        self.executor.infer(&self.parameters, images)
    }

    /// Logits `[n, classes]` of a training step, as `model.train()(images)` gives
    /// in torch: normalised by the batch, with dropout, moving the running statistics.
    ///
    /// The result is part of candle's graph: after `loss.backward()` the gradient of
    /// every parameter is the one flat tensor [`Parameters::gradient`], and
    /// [`Parameters::update`] hands it to an optimizer. With `freeze_backbone` everything
    /// but the head runs as in [`Network::infer`] and has no gradient (zeros in the
    /// flat tensor). Each `step` has its own dropout mask.
    ///
    /// # Errors
    /// If a batch normalisation would see a single value a channel, the images are on
    /// another device, or the device gives out.
    pub fn forward_train(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<Tensor> {
        let step = TrainingStep {
            dropout_seed: self.seed,
            step,
            freeze_backbone,
        };
        let (logits, tape) = self.executor.forward(&self.parameters, images, step)?;
        differentiable(&self.parameters, logits, tape)
    }

    /// Pooled features `[n, features]` of images `[n, h, w, 3]`: what the head is given in
    /// inference, and in training while the backbone is frozen. No graph is kept.
    ///
    /// # Errors
    /// If the images are on another device, or the device gives out.
    pub fn features(&self, images: &Images) -> Result<Tensor> {
        self.executor.features(&self.parameters, images)
    }

    /// Logits `[n, classes]` of features `[n, features]` in inference. They may differ from
    /// [`Network::infer`]'s by rounding.
    ///
    /// # Errors
    /// If the features are not as wide as the network's, or the device gives out.
    pub fn infer_head(&self, features: &Tensor) -> Result<Tensor> {
        self.executor.infer_head(&self.parameters, features)
    }

    /// Logits `[n, classes]` of a training step of the head alone, of features
    /// `[n, features]`: the very numbers that [`Network::forward_train`] with
    /// `freeze_backbone` makes of the images that [`Network::features`] were of.
    ///
    /// # Errors
    /// If the features are not as wide as the network's, or the device gives out.
    pub fn forward_train_head(&mut self, features: &Tensor, step: u64) -> Result<Tensor> {
        let step = TrainingStep {
            dropout_seed: self.seed,
            step,
            freeze_backbone: true,
        };
        let (logits, tape) = (self.executor).forward_head(&self.parameters, features, step)?;
        differentiable(&self.parameters, logits, tape)
    }

    /// How many pooled features an image has.
    pub fn feature_count(&self) -> usize {
        self.plan.spec.features
    }

    /// Tells one backbone from another: the SHA-256, in hexadecimal, of everything but the
    /// images that decides [`Network::features`] to the last bit.
    ///
    /// # Errors
    /// If the device gives out.
    pub fn backbone_key(&self) -> Result<String> {
        // What only the head, or only training, reads does not make another backbone.
        let config = ModelConfig {
            classes: 2,
            dropout: 0.0,
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

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.set_precision(precision)
    }

    fn infer(&self, images: &Images) -> Result<Tensor> {
        self.infer(images)
    }

    fn features(&self, images: &Images) -> Result<Tensor> {
        self.features(images)
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

    fn forward_train(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<Tensor> {
        self.forward_train(images, step, freeze_backbone)
    }

    fn forward_train_head(&mut self, features: &Tensor, step: u64) -> Result<Tensor> {
        self.forward_train_head(features, step)
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.parameters.named()
    }
}

/// What runs a network on `device`.
fn executor(plan: &Arc<Plan>, device: &Device, precision: Precision) -> Result<Box<dyn Executor>> {
    let plan = Arc::clone(plan);
    Ok(match (device, precision) {
        (Device::Cpu, Precision::F32) => Box::new(Fused::new(plan, FusedOptions::default())),
        (Device::Cpu, Precision::Bf16) => {
            let options = FusedOptions {
                isa: Some(Isa::best().with_bf16()?),
                ..FusedOptions::default()
            };
            Box::new(Fused::new(plan, options))
        }
        (_, Precision::F32) => Box::new(Composed::new(plan)),
        (Device::Cuda(_), Precision::F16) => Box::new(Composed::new(plan).with_f16()),
        _ => return Err(Error::Precision(precision)),
    })
}
