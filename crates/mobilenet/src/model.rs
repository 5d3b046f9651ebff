//! What a trainer needs of a model, so that other backbones fit.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::zoo::{Backbone, ZooConfig};
use crate::{Images, ModelConfig, Parameters, Precision, Result, Variant};

/// A backbone and a head: something that can be trained, saved and asked.
///
/// Images are on the model's device. [`Network`](crate::Network) is one, and so is
/// [`ZooNetwork`](crate::zoo::ZooNetwork), whose backbone never trains.
pub trait Model: Send + Sync {
    /// What the model is made from, which a weights file says of itself.
    fn description(&self) -> ModelDescription;

    /// The device its numbers live on.
    fn device(&self) -> &Device;

    /// What can be trained of it.
    fn parameters(&self) -> &Parameters;

    /// Whether its backbone can be trained at all.
    fn trains_backbone(&self) -> bool;

    /// Computes in other numbers from now on; a new model computes in f32.
    ///
    /// # Errors
    /// Where the model, the device or this processor does not compute in them.
    fn set_precision(&mut self, precision: Precision) -> Result<()>;

    /// Logits `[n, classes]` of images, as `model.eval()(images)` gives in torch.
    ///
    /// # Errors
    /// If the device gives out.
    fn infer(&self, images: &Images) -> Result<Tensor>;

    /// Pooled features `[n, features]` of images, which the head is given in inference, and in
    /// training while the backbone is frozen.
    ///
    /// # Errors
    /// If the device gives out.
    fn features(&self, images: &Images) -> Result<Tensor>;

    /// How many pooled features an image has.
    fn feature_count(&self) -> usize;

    /// Tells one backbone from another: the SHA-256, in hexadecimal, of everything but the
    /// images that decides their features to the last bit.
    ///
    /// # Errors
    /// If the device gives out.
    fn backbone_key(&self) -> Result<String>;

    /// Logits `[n, classes]` of features `[n, features]` in inference. They may differ from
    /// [`Model::infer`]'s by rounding.
    ///
    /// # Errors
    /// If the features are not as wide as the model's, or the device gives out.
    fn infer_head(&self, features: &Tensor) -> Result<Tensor>;

    /// Logits `[n, classes]` of a training step, as `model.train()(images)` gives in torch. They
    /// are part of candle's graph: `loss.backward()` leaves the gradient in
    /// [`Parameters::gradient`]. With `freeze_backbone` only the head learns. Each `step` has
    /// its own dropout mask.
    ///
    /// # Errors
    /// If the backbone is to learn and cannot, a batch normalisation would see a single value a
    /// channel, or the device gives out.
    fn forward_train(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<Tensor>;

    /// Logits `[n, classes]` of a training step of the head alone: the very numbers that
    /// [`Model::forward_train`] with `freeze_backbone` makes of the images that these features
    /// `[n, features]` are of.
    ///
    /// # Errors
    /// If the features are not as wide as the model's, or the device gives out.
    fn forward_train_head(&mut self, features: &Tensor, step: u64) -> Result<Tensor>;

    /// Every tensor under the name and in the shape that it has in torch, backbone and head.
    ///
    /// # Errors
    /// If the device gives out.
    fn tensors(&self) -> Result<BTreeMap<String, Tensor>>;
}

/// The name of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ModelName {
    /// One of our own.
    MobileNet(Variant),
    /// One of the zoo, a frozen backbone.
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

/// What a model is made from. In a file it is the object of either kind, which its `name` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "serde_json::Value")]
pub enum ModelDescription {
    /// One of our own.
    MobileNet(ModelConfig),
    /// One of the zoo.
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
        match name.and_then(|name| name.parse::<Backbone>().ok()) {
            Some(_) => serde_json::from_value(value).map(ModelDescription::Zoo),
            None => serde_json::from_value(value).map(ModelDescription::MobileNet),
        }
    }
}
