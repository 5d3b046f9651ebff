//! Tests a build without the backbones.

use candle_core::Device;
use mobilenet::zoo::{Backbone, ZooConfig, ZooNetwork};

#[test]
fn a_backbone_of_another_build_is_refused_with_the_way_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let tensor = candle_core::Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
    let one = [("stem.conv_kxk.conv.weight".to_owned(), tensor)];
    candle_core::safetensors::save(&one.into_iter().collect(), &path).unwrap();
    let config = ZooConfig {
        name: Backbone::RepVggA0,
        classes: 3,
        dropout: 0.5,
    };
    let loaded = ZooNetwork::pretrained(&config, &path, 0, &Device::Cpu);
    let error = loaded.err().expect("a refusal").to_string();
    assert!(
        error.contains("repvgg_a0") && error.contains("--features zoo"),
        "{error}"
    );
}
