//! The interface between a trainer and a model. Several families of backbones implement it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::zoo::{Backbone, ZooConfig};
use crate::{
    ForwardPass, GradCam, HeadKind, Images, ModelConfig, Parameters, Precision, Processor, Result,
    TORCHVISION_MOMENTUM, Variant,
};

/// A backbone and a head that can be trained, saved and run.
///
/// Images must be on the model's device. The implementations are [`Network`](crate::Network) and
/// [`ZooNetwork`](crate::zoo::ZooNetwork). The latter has a frozen backbone.
pub trait Model: Send + Sync {
    /// The model's configuration, as stored in a weights file.
    fn description(&self) -> ModelDescription;

    /// The device of the model's values.
    fn device(&self) -> &Device;

    /// The trainable parameters.
    fn parameters(&self) -> &Parameters;

    /// Whether the backbone can be trained.
    fn trains_backbone(&self) -> bool;

    /// The name of the code that runs the model: `fused`, `layered`, `gpu`, `composed` or `candle`.
    fn executor(&self) -> &'static str;

    /// What the model runs on.
    fn processor(&self) -> Processor {
        Processor::of(self.device().clone())
    }

    /// Changes the processor and the precision. A new model runs in f32 on the device of its values.
    ///
    /// # Errors
    /// If the model or the processor does not support the precision, or the processor not the model.
    fn run_on(&mut self, processor: &Processor, precision: Precision) -> Result<()>;

    /// Logits `[n, classes]` of images, as `model.eval()(images)` in torch.
    ///
    /// # Errors
    /// If the device fails.
    fn infer(&self, images: &Images) -> Result<Tensor>;

    /// Pooled features `[n, features]` of images. They are the head's input, in inference and in
    /// training with a frozen backbone.
    ///
    /// # Errors
    /// If the device fails.
    fn features(&self, images: &Images) -> Result<Tensor>;

    /// Grad-CAM maps of images: the places that speak for a class. `classes` has a class for each image; without it,
    /// each image's own prediction is explained.
    ///
    /// A map is that of the layer that global pooling reads. If it has fewer than 7 rows or columns, it is that of the
    /// last layer with at least 7 of both. It is computed in f32 whatever the precision, as in inference.
    ///
    /// # Errors
    /// [`Error::NoMap`](crate::Error::NoMap) if the backbone gives only pooled features;
    /// [`Error::Setting`](crate::Error::Setting) for a class that the model lacks;
    /// [`Error::MapNotFinite`](crate::Error::MapNotFinite). If the device fails.
    fn grad_cam(&self, images: &Images, classes: Option<&[usize]>) -> Result<GradCam>;

    /// Number of pooled features per image.
    fn feature_count(&self) -> usize;

    /// A SHA-256, in hexadecimal, that identifies the backbone. It covers everything that affects
    /// the features of an image to the last bit, except the image.
    ///
    /// # Errors
    /// If the device fails.
    fn backbone_key(&self) -> Result<String>;

    /// Logits `[n, classes]` in inference, from features `[n, features]`. They may differ from
    /// [`Model::infer`]'s by rounding.
    ///
    /// # Errors
    /// If the width of the features differs from the model's, or the device fails.
    fn infer_head(&self, features: &Tensor) -> Result<Tensor>;

    /// The forward pass of a training step, as `model.train()(images)` in torch. Its backward pass
    /// writes the gradient to [`Parameters::gradient`]. With `freeze_backbone`, only the head is
    /// trained. Each `step` has a different dropout mask.
    ///
    /// # Errors
    /// If the backbone should be trained but cannot be, if a batch normalisation would have a
    /// single value per channel, or if the device fails.
    fn forward_step(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<ForwardPass>;

    /// The forward pass of a training step of the head only, from features `[n, features]`. For the
    /// features of some images, its logits are bit-identical to those of [`Model::forward_step`] on
    /// those images with `freeze_backbone`.
    ///
    /// # Errors
    /// If the width of the features differs from the model's, or the device fails.
    fn forward_head_step(&mut self, features: &Tensor, step: u64) -> Result<ForwardPass>;

    /// Logits `[n, classes]` of [`Model::forward_step`] as a part of candle's graph, for losses that
    /// candle differentiates: `loss.backward()` writes [`Parameters::gradient`].
    ///
    /// # Errors
    /// As [`Model::forward_step`].
    fn forward_train(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<Tensor> {
        self.forward_step(images, step, freeze_backbone)?
            .into_graph()
    }

    /// Logits `[n, classes]` of [`Model::forward_head_step`] as a part of candle's graph.
    ///
    /// # Errors
    /// As [`Model::forward_head_step`].
    fn forward_train_head(&mut self, features: &Tensor, step: u64) -> Result<Tensor> {
        self.forward_head_step(features, step)?.into_graph()
    }

    /// Every tensor of backbone and head, with the name and shape it has in torch.
    ///
    /// # Errors
    /// If the device fails.
    fn tensors(&self) -> Result<BTreeMap<String, Tensor>>;
}

/// The name of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ModelName {
    /// A network of [`Variant::all`].
    MobileNet(Variant),
    /// A frozen backbone of the zoo.
    Zoo(Backbone),
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelName::MobileNet(variant) => variant.fmt(f),
            ModelName::Zoo(backbone) => backbone.fmt(f),
        }
    }
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Ok(backbone) = name.parse() {
            return Ok(ModelName::Zoo(backbone));
        }
        let variant = name.parse().map(ModelName::MobileNet);
        variant.map_err(|of_ours: String| {
            let zoo: Vec<&str> = Backbone::ALL.iter().map(|b| b.name()).collect();
            format!("{of_ours}, or of the zoo {}", zoo.join(", "))
        })
    }
}

impl TryFrom<String> for ModelName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> String {
        name.to_string()
    }
}

/// The configuration of a model. A file contains a [`ModelConfig`] or a [`ZooConfig`], depending on
/// `name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "serde_json::Value")]
pub enum ModelDescription {
    /// A network of [`Variant::all`].
    MobileNet(ModelConfig),
    /// A model of the zoo.
    Zoo(ZooConfig),
}

impl ModelDescription {
    /// The model's name.
    pub fn name(&self) -> ModelName {
        match self {
            ModelDescription::MobileNet(config) => ModelName::MobileNet(config.name),
            ModelDescription::Zoo(config) => ModelName::Zoo(config.name),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            ModelDescription::MobileNet(config) => config.classes,
            ModelDescription::Zoo(config) => config.classes,
        }
    }
}

impl From<ModelConfig> for ModelDescription {
    fn from(config: ModelConfig) -> Self {
        ModelDescription::MobileNet(config)
    }
}

impl From<ZooConfig> for ModelDescription {
    fn from(config: ZooConfig) -> Self {
        ModelDescription::Zoo(config)
    }
}

impl TryFrom<serde_json::Value> for ModelDescription {
    type Error = serde_json::Error;

    fn try_from(value: serde_json::Value) -> Result<Self, serde_json::Error> {
        let name = value.get("name").and_then(serde_json::Value::as_str);
        if name.is_some_and(|name| name.parse::<Backbone>().is_ok()) {
            return serde_json::from_value(value).map(ModelDescription::Zoo);
        }
        if let Ok(former) = serde_json::from_value::<Former>(value.clone()) {
            return Ok(ModelDescription::MobileNet(former.into()));
        }
        serde_json::from_value(value).map(ModelDescription::MobileNet)
    }
}

/// A network that was once in the zoo, as files of that time describe it: a frozen backbone with a linear head.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Former {
    name: Variant,
    classes: usize,
    dropout: f64,
}

impl From<Former> for ModelConfig {
    fn from(former: Former) -> ModelConfig {
        ModelConfig {
            head: HeadKind::Linear,
            dropout: former.dropout,
            batch_norm_momentum: TORCHVISION_MOMENTUM,
            ..ModelConfig::new(former.name, former.classes)
        }
    }
}
