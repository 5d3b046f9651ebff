//! Writes `weights.safetensors`, an untrained network for two classes, to try the README's example
//! without training.

use std::path::Path;

use classifier::{Device, WeightsMetadata};
use mobilenet::weights::{self, Normalisation};
use mobilenet::{ClassOrder, Framing, ImageSize, ModelConfig, Network, Orientation, Variant};

fn main() -> Result<(), mobilenet::Error> {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::Small, 2)
    };
    let network = Network::new(&config, 0, &Device::Cpu)?;
    let metadata = WeightsMetadata {
        model: config.into(),
        class_names: vec!["cat".to_owned(), "dog".to_owned()],
        class_order: ClassOrder::Named,
        image_size: ImageSize::square(32),
        framing: Framing::default(),
        orientation: Orientation::default(),
        normalisation: Normalisation::IMAGENET,
        epoch: None,
        score: None,
        temperature: None,
        training: None,
    };
    weights::save(Path::new("weights.safetensors"), &network, &metadata)
}
