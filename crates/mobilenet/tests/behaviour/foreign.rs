//! Tests of files without metadata.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use mobilenet::weights::{Loaded, Normalisation, Overrides, Source, WeightsMetadata, save_as};
use mobilenet::{Error, Fit, Framing, HeadKind, ImageSize, ModelConfig, Network, Scheme, Variant};
use tempfile::TempDir;

use crate::{arena, config, network};

pub(crate) type Tensors = HashMap<String, Tensor>;

/// The tensors of a network, without metadata.
pub(crate) fn tensors(network: &Network) -> Tensors {
    network.parameters().named().unwrap().into_iter().collect()
}

fn renamed(tensors: Tensors, name: impl Fn(&str) -> String) -> Tensors {
    let tensors = tensors.into_iter();
    tensors.map(|(old, tensor)| (name(&old), tensor)).collect()
}

pub(crate) fn saved(tensors: &Tensors) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.safetensors");
    safetensors::save(tensors, &path).unwrap();
    (folder, path)
}

fn load(path: &Path, given: Overrides) -> mobilenet::Result<Loaded> {
    Source::open(path, given)?.load(&Device::Cpu)
}

fn refusal<T>(result: mobilenet::Result<T>) -> String {
    result.err().expect("a refusal").to_string()
}

#[test]
fn width_classes_and_head_are_found_from_shapes() {
    for (name, width, head, classes) in [
        (Variant::SMALL, 1.0, HeadKind::Torchvision, 3),
        (Variant::SMALL, 0.35, HeadKind::Linear, 1),
        (Variant::LARGE, 0.75, HeadKind::Torchvision, 11),
        (Variant::V2, 0.5, HeadKind::Torchvision, 2),
    ] {
        let config = ModelConfig {
            width,
            head,
            ..ModelConfig::new(name, classes)
        };
        let network = Network::new(&config, 4, &Device::Cpu).unwrap();
        let (_folder, path) = saved(&tensors(&network));
        let loaded = load(&path, Overrides::default()).unwrap();
        assert!(loaded.report.is_complete(), "{}", loaded.report);
        assert_eq!(arena(&loaded.network), arena(&network));
        let metadata = loaded.metadata;
        assert_eq!(metadata.model.name().to_string(), name.to_string());
        assert_eq!(metadata.class_names.len(), classes);
        assert_eq!(metadata.class_names[0], "0");
        assert_eq!(metadata.image_size, ImageSize::square(224));
        assert_eq!(metadata.framing, Framing::TORCHVISION);
        assert_eq!(metadata.normalisation, Normalisation::IMAGENET);
    }
}

#[test]
fn each_project_fits_images_in_its_own_way() {
    for (scheme, expected) in [
        (Scheme::Torchvision, "crop 0.875, bilinear"),
        (Scheme::Timm, "crop 0.875, bicubic"),
        (Scheme::EasyClassification, "squash, bilinear"),
    ] {
        assert_eq!(scheme.framing(Variant::V2).to_string(), expected);
    }
}

#[test]
fn overrides_replace_assumptions() {
    let network = network(&config());
    let (_folder, path) = saved(&tensors(&network));
    let assumed = load(&path, Overrides::default()).unwrap().report.assumed;
    assert_eq!(assumed.len(), 5, "{assumed:?}");
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let given = Overrides {
        image_size: Some(ImageSize::square(96)),
        fit: Some(Fit::Letterbox),
        class_names: Some(names.clone()),
        ..Overrides::tensorflow()
    };
    let loaded = load(&path, given).unwrap();
    let assumed = "mean [0.5, 0.5, 0.5] and standard deviation [0.5, 0.5, 0.5]";
    assert_eq!(loaded.report.assumed, [assumed]);
    assert_eq!(loaded.metadata.class_names, names);
    assert_eq!(loaded.metadata.image_size, ImageSize::square(96));
    assert_eq!(loaded.metadata.framing.to_string(), "letterbox, bilinear");
    assert_eq!(loaded.metadata.normalisation.mean, [0.5; 3]);
    assert_eq!(loaded.network.config().batch_norm_epsilon, 1e-3);
    let given = Overrides {
        class_names: Some(names[..2].to_vec()),
        ..Overrides::default()
    };
    assert!(refusal(load(&path, given)).contains("2 class names are given for its 3 classes"));
}

#[test]
fn other_tensors_of_a_checkpoint_are_ignored() {
    let trained = network(&config());
    let mut all = renamed(tensors(&trained), |name| format!("model.module.{name}"));
    let count = all.len();
    let average = Network::new(&config(), 77, &Device::Cpu).unwrap();
    all.extend(renamed(tensors(&average), |name| {
        format!("model_ema.{name}")
    }));
    let moment = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    all.insert("optimizer.state.0.exp_avg".to_owned(), moment);
    let (_folder, path) = saved(&all);
    let loaded = load(&path, Overrides::default()).unwrap();
    assert_eq!(arena(&loaded.network), arena(&trained));
    let report = loaded.report;
    assert_eq!(report.prefix, "model.module.");
    assert_eq!(
        (report.matched.len(), report.outside),
        (count, count + 1),
        "{report}"
    );
    assert!(report.unexpected.is_empty());
}

#[test]
fn unknown_names_are_refused_with_examples() {
    let names = ["encoder.0.first.weight", "encoder.0.norm.weight"];
    let tensor = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let (_folder, path) = saved(&names.map(|name| (name.to_owned(), tensor.clone())).into());
    let error = refusal(load(&path, Overrides::default()));
    assert!(
        error.contains("its 2 tensors (encoder.0.first.weight, "),
        "{error}"
    );
    assert!(error.contains("MobileNetV3, MobileNetV2"), "{error}");
    assert!(error.contains("torchvision, timm"), "{error}");
}

#[test]
fn too_few_matches_are_refused_with_the_nearest_names() {
    let trained = network(&config());
    // Renames one in five of the backbone's tensors.
    let other = |name: &str| {
        name.replace(".block.1.0.", ".block.l.0.")
            .replace(".1.1.", ".1.l.")
    };
    let all = renamed(tensors(&trained), other);
    let (_folder, path) = saved(&all);
    let mut fresh = network(&config());
    let before = arena(&fresh);
    let mut source = Source::open(&path, Overrides::default()).unwrap();
    let error = refusal(source.load_into(&mut fresh));
    assert!(error.contains("weights of another model"), "{error}");
    let nearest = "the nearest to features.2.block.1.1.weight is features.2.block.1.l.weight";
    assert!(error.contains(nearest), "{error}");
    assert_eq!(arena(&fresh), before);
}

#[test]
fn a_network_of_other_constants_is_not_filled() {
    // At other widths the shapes in timm are different.
    let config = ModelConfig::new(Variant::SMALL, 3);
    let trained = network(&config);
    let (folder, path) = saved(&tensors(&trained));
    let timm = folder.path().join("timm.safetensors");
    let metadata = WeightsMetadata::new(
        config.clone().into(),
        ["a", "b", "c"].map(str::to_owned).to_vec(),
        ImageSize::square(64),
    );
    save_as(&timm, &trained, &metadata, Scheme::Timm).unwrap();
    let bare = safetensors::load(&timm, &Device::Cpu).unwrap();
    safetensors::save(&bare, &timm).unwrap();
    let mut source = Source::open(&timm, Overrides::default()).unwrap();
    let error = refusal(source.load_into(&mut network(&config)));
    assert!(error.contains("epsilon 0.00001"), "{error}");
    let adapted = source.adapt(&config).unwrap();
    let mut fits = Network::new(&adapted, 1, &Device::Cpu).unwrap();
    assert!(source.load_into(&mut fits).unwrap().is_complete());
    assert_eq!(arena(&fits), arena(&trained));

    let large = ModelConfig::new(Variant::LARGE, 3);
    let source = Source::open(&path, Overrides::default()).unwrap();
    let error = refusal(source.adapt(&large));
    assert!(error.contains("it holds mobilenet_v3_small"), "{error}");

    let linear = network(&ModelConfig {
        head: HeadKind::Linear,
        ..config
    });
    let error = save_as(&timm, &linear, &metadata, Scheme::KuanWang).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
}
