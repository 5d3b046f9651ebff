//! Writes `weights.safetensors`, an untrained network for two classes, to try the README's example
//! without training.

use std::path::Path;

use classifier::{Device, WeightsMetadata};
use mobilenet::weights::{self};
use mobilenet::{ImageSize, ModelConfig, Network, Variant};

fn main() -> Result<(), mobilenet::Error> {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 2)
    };
    let network = Network::new(&config, 0, &Device::Cpu)?;
    let metadata = WeightsMetadata::new(
        config.into(),
        vec!["cat".to_owned(), "dog".to_owned()],
        ImageSize::square(32),
    );
    weights::save(Path::new("weights.safetensors"), &network, &metadata)
}
