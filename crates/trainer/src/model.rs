//! From a configuration to a model that is ready to train.

use candle_core::Device;
use mobilenet::weights::Source;
use mobilenet::zoo::ZooNetwork;
use mobilenet::{LoadReport, Model, ModelDescription, Network};

use crate::Result;
use crate::config::RunConfig;

/// The model as training starts with it.
pub(crate) struct Start {
    pub(crate) network: Box<dyn Model>,
    /// What it took of the pretrained weights.
    pub(crate) loaded: Option<LoadReport>,
    /// What their file says for the trainer; see [`WeightsMetadata::training`](mobilenet::weights::WeightsMetadata).
    pub(crate) training: Option<serde_json::Value>,
    /// Whether a running statistic is still what it was initialised with.
    pub(crate) fresh_statistics: bool,
}

impl Start {
    fn new(network: impl Model + 'static, loaded: Option<LoadReport>) -> Self {
        Self {
            network: Box::new(network),
            fresh_statistics: loaded.as_ref().is_none_or(LoadReport::lacks_statistics),
            loaded,
            training: None,
        }
    }
}

/// Makes the model for these classes, and takes what fits of the pretrained weights.
///
/// # Errors
/// If the model cannot be made, or the weights are not its own.
pub(crate) fn start(config: &RunConfig, classes: &[String], device: &Device) -> Result<Start> {
    let (seed, pretrained) = (config.train.seed, config.model.pretrained.as_deref());
    match config.model(classes.len()) {
        ModelDescription::MobileNet(model) => {
            let Some(path) = pretrained else {
                return Ok(Start::new(Network::new(&model, seed, device)?, None));
            };
            let mut source = Source::open(path, config.overrides())?;
            let mut network = Network::new(&source.adapt(&model)?, seed, device)?;
            let report = source.load_classes(&mut network, classes)?;
            Ok(Start {
                training: source.metadata().and_then(|file| file.training.clone()),
                ..Start::new(network, Some(report))
            })
        }
        ModelDescription::Zoo(model) => {
            let path = pretrained.ok_or_else(|| crate::config::ConfigError::Invalid {
                key: "model.pretrained",
                found: "none".to_owned(),
                expected: format!("a file with the weights of {}", model.name),
            })?;
            let loaded = ZooNetwork::pretrained_classes(&model, path, classes, seed, device)?;
            let (network, report) = loaded;
            Ok(Start::new(network, Some(report)))
        }
    }
}
