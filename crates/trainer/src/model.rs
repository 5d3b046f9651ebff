//! From a configuration to a model that is ready to train.

use candle_core::Device;
use mobilenet::zoo::ZooNetwork;
use mobilenet::{LoadReport, Model, ModelDescription, Network, weights};

use crate::Result;
use crate::config::RunConfig;

/// The model as training starts with it, and what it took of the pretrained weights.
///
/// # Errors
/// If the model cannot be made, or the weights are not its own.
pub(crate) fn start(
    config: &RunConfig,
    model: &ModelDescription,
    device: &Device,
) -> Result<(Box<dyn Model>, Option<LoadReport>)> {
    let (seed, pretrained) = (config.train.seed, config.model.pretrained.as_deref());
    match model {
        ModelDescription::MobileNet(model) => {
            let mut network = Network::new(model, seed, device)?;
            let load = |path| weights::load_pretrained(path, &mut network);
            let report = pretrained.map(load).transpose()?;
            Ok((Box::new(network), report))
        }
        ModelDescription::Zoo(model) => {
            let path = pretrained.ok_or_else(|| crate::config::ConfigError::Invalid {
                key: "model.pretrained",
                found: "none".to_owned(),
                expected: format!("a file with the weights of {}", model.name),
            })?;
            let (network, report) = ZooNetwork::pretrained(model, path, seed, device)?;
            Ok((Box::new(network), Some(report)))
        }
    }
}
