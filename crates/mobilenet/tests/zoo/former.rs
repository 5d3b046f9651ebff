//! Tests files of networks that were once frozen backbones of the zoo. Their description has only name, classes and
//! dropout, and their tensors have timm's names where torchvision did not have the network.

use std::path::Path;

use candle_core::Device;
use mobilenet::weights::{self, Overrides, WeightsMetadata};
use mobilenet::{
    HeadKind, ImageSize, Model, ModelConfig, ModelDescription, Network, Scheme, Variant,
};
use safetensors::SafeTensors;

use crate::fill::images;

/// Gives a weights file the description of that time.
fn age(path: &Path, name: &str) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut entries = header.metadata().clone().unwrap();
    let mut metadata: serde_json::Value = serde_json::from_str(&entries["classify"]).unwrap();
    metadata["model"] = serde_json::json!({ "name": name, "classes": 3, "dropout": 0.25 });
    entries.insert("classify".into(), metadata.to_string());
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    safetensors::serialize_to_file(&tensors, Some(entries), path).unwrap();
}

fn check(name: &str, scheme: Scheme) {
    let variant: Variant = name.parse().unwrap();
    let config = ModelConfig {
        head: HeadKind::Linear,
        design: mobilenet::Design::of(scheme),
        ..ModelConfig::new(variant, 3)
    };
    let network = Network::new(&config, 5, &Device::Cpu).unwrap();
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let metadata = WeightsMetadata::new(config.into(), classes, ImageSize::square(64));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.safetensors");
    weights::save_as(&path, &network, &metadata, scheme).unwrap();
    age(&path, name);
    let loaded = weights::load_model(&path, Overrides::default(), &Device::Cpu).unwrap();
    assert_eq!(loaded.metadata.class_names, metadata.class_names);
    let ModelDescription::MobileNet(found) = loaded.network.description() else {
        panic!("{name} is still in the zoo");
    };
    assert_eq!((found.name, found.dropout), (variant, 0.25));
    assert!(loaded.network.trains_backbone(), "{name}");
    let images = images(2, 64);
    let logits =
        |model: &dyn Model| -> Vec<Vec<f32>> { model.infer(&images).unwrap().to_vec2().unwrap() };
    assert_eq!(logits(loaded.network.as_ref()), logits(&network), "{name}");
}

#[test]
fn a_file_of_a_former_backbone_is_a_network_of_its_family() {
    for (name, scheme) in [
        ("efficientnet_b0", Scheme::Torchvision),
        ("resnet18", Scheme::Torchvision),
        ("mobilenetv4_conv_small", Scheme::Timm),
        ("convnext_atto", Scheme::Timm),
    ] {
        check(name, scheme);
    }
}

#[test]
fn a_description_of_neither_time_is_refused() {
    for model in [
        serde_json::json!({ "name": "efficientnet_b0", "classes": 3 }),
        serde_json::json!({ "name": "efficientnet_b9", "classes": 3, "dropout": 0.0 }),
    ] {
        let error = serde_json::from_value::<ModelDescription>(model)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("missing field") || error.contains("no model"),
            "{error}"
        );
    }
}
