//! Builds a model for training.

use candle_core::Device;
use mobilenet::weights::Source;
use mobilenet::zoo::ZooNetwork;
use mobilenet::{LoadReport, Model, ModelDescription, Network};

use crate::Result;
use crate::config::RunConfig;

/// The model at the start of training.
pub(crate) struct Start {
    pub(crate) network: Box<dyn Model>,
    /// The report on the loaded pretrained weights.
    pub(crate) loaded: Option<LoadReport>,
    /// The training state in the file of pretrained weights; see
    /// [`WeightsMetadata::training`](mobilenet::weights::WeightsMetadata).
    pub(crate) training: Option<serde_json::Value>,
    /// Whether some running statistics still have their initial values.
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

/// Builds the model for these classes, and loads the matching pretrained weights.
///
/// # Errors
/// If the model cannot be built, or the weights belong to another model.
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
