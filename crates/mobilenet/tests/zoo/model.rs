//! Tests that a model of the zoo trains its head, is saved completely, and refuses files of other
//! models.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use mobilenet::weights::{self, Overrides, WeightsMetadata};
use mobilenet::zoo::{Backbone, ZooConfig, ZooNetwork};
use mobilenet::{
    Error, ImageSize, Images, Model, ModelConfig, Network, Precision, Processor, Variant,
};
use tempfile::TempDir;

use crate::fill::images;
use crate::written::{Case, golden, read};

fn config(classes: usize) -> ZooConfig {
    ZooConfig {
        name: Backbone::RepVggA0,
        classes,
        dropout: 0.5,
    }
}

/// A file with timm's tensors for RepVGG-A0, changed by `change`.
fn file(change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repvgg_a0.safetensors");
    let (case, _): (Case, _) = read(&golden("repvgg_a0"));
    let mut tensors = case.tensors();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    (folder, path)
}

fn network(classes: usize) -> (TempDir, ZooNetwork) {
    let (folder, path) = file(|_| ());
    let loaded = ZooNetwork::pretrained(&config(classes), &path, 7, &Device::Cpu);
    (folder, loaded.unwrap().0)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn refusal(change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> String {
    let (_folder, path) = file(change);
    let loaded = ZooNetwork::pretrained(&config(3), &path, 0, &Device::Cpu);
    loaded.err().expect("a refusal").to_string()
}

#[test]
fn the_head_learns_and_the_backbone_does_not() {
    let (_folder, mut network) = network(2);
    let images = images(4, 64);
    let features = network.features(&images).unwrap();
    assert_eq!(
        values(&network.infer(&images).unwrap()),
        values(&network.infer_head(&features).unwrap())
    );
    let error = network.forward_train(&images, 0, false).unwrap_err();
    assert!(
        matches!(error, Error::Frozen(Backbone::RepVggA0)),
        "{error}"
    );
    let mut step = |from_images: bool| {
        let logits = match from_images {
            true => network.forward_train(&images, 3, true).unwrap(),
            false => network.forward_train_head(&features, 3).unwrap(),
        };
        let labels = Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu).unwrap();
        let loss = candle_nn::loss::cross_entropy(&logits, &labels).unwrap();
        loss.backward().unwrap();
        (
            loss.to_scalar::<f32>().unwrap(),
            values(network.parameters().gradient().unwrap()),
        )
    };
    let expected = step(true);
    assert_eq!(step(false), expected);
    assert_eq!(expected.1.len(), 2 * 1280 + 2);
    // A small step against the gradient reduces the loss by the step times the gradient's squared
    // length.
    let (before, gradient) = expected;
    let rate = 1e-3 / gradient.iter().map(|g| g * g).sum::<f32>();
    network
        .parameters()
        .update(|values, gradient| {
            let pairs = values.iter_mut().zip(gradient);
            pairs.for_each(|(value, slope)| *value -= rate * slope);
        })
        .unwrap();
    let logits = network.forward_train_head(&features, 3).unwrap();
    let labels = Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu).unwrap();
    let after = candle_nn::loss::cross_entropy(&logits, &labels).unwrap();
    let fallen = before - after.to_scalar::<f32>().unwrap();
    assert!((fallen / 1e-3 - 1.0).abs() < 0.05, "{fallen}");
    let cpu = Processor::of(Device::Cpu);
    let error = network.run_on(&cpu, Precision::Bf16).unwrap_err();
    assert!(error.to_string().contains("f32"), "{error}");
}

#[test]
fn a_saved_model_is_complete_and_has_metadata() {
    let (folder, network) = network(3);
    let path = folder.path().join("saved.safetensors");
    let metadata = WeightsMetadata {
        epoch: Some(1),
        score: Some(0.5),
        ..WeightsMetadata::new(
            network.description(),
            ["a", "b", "c"].map(String::from).to_vec(),
            ImageSize::square(64),
        )
    };
    weights::save(&path, &network, &metadata).unwrap();
    let weights::Loaded {
        network: loaded,
        metadata: found,
        ..
    } = weights::load_model(&path, Overrides::default(), &Device::Cpu).unwrap();
    assert_eq!(found, metadata);
    assert_eq!(
        loaded.backbone_key().unwrap(),
        network.backbone_key().unwrap()
    );
    let images = images(2, 64);
    let logits = |model: &dyn Model, images: &Images| values(&model.infer(images).unwrap());
    assert_eq!(logits(loaded.as_ref(), &images), logits(&network, &images));
    // All tensors have timm's names, including the batch counters.
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    assert_eq!(tensors.len(), 351);
    assert_eq!(tensors["head.fc.weight"].dims(), [3, 1280]);
    assert_eq!(
        tensors["stem.conv_kxk.bn.num_batches_tracked"].dims(),
        [0usize; 0]
    );
    // The file is not a MobileNet. The metadata identify its kind.
    let error = weights::load(&path, &Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("repvgg_a0"), "{error}");
    let small = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let mobilenet = Network::new(&small, 0, &Device::Cpu).unwrap();
    let metadata = WeightsMetadata {
        model: small.into(),
        ..metadata
    };
    weights::save(&path, &mobilenet, &metadata).unwrap();
    let loaded = weights::load_model(&path, Overrides::default(), &Device::Cpu)
        .unwrap()
        .network;
    assert_eq!(
        logits(loaded.as_ref(), &images),
        logits(&mobilenet, &images)
    );
}

#[test]
fn a_classifier_is_taken_where_it_fits() {
    let classifier = |tensors: &mut Vec<(String, Tensor)>| {
        let ones = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu);
        tensors.push(("head.fc.weight".into(), ones(&[3, 1280]).unwrap()));
        tensors.push(("head.fc.bias".into(), ones(&[3]).unwrap()));
    };
    let (_folder, path) = file(classifier);
    let load = |classes| ZooNetwork::pretrained(&config(classes), &path, 1, &Device::Cpu).unwrap();
    let (network, report) = load(3);
    assert!(report.is_complete(), "{report}");
    assert!(
        values(network.parameters().arena().unwrap())
            .iter()
            .all(|&value| value == 1.0)
    );
    let (network, report) = load(5);
    assert_eq!(report.mismatched.len(), 2, "{report}");
    assert!(report.missing.is_empty());
    assert!(
        values(network.parameters().arena().unwrap())
            .iter()
            .all(|&value| value != 1.0)
    );
}

#[test]
fn a_head_keeps_the_rows_of_the_classes_it_knows() {
    let (folder, trained) = network(3);
    let path = folder.path().join("saved.safetensors");
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
    let metadata = WeightsMetadata::new(
        trained.description(),
        names(&["bear", "cat", "dog"]),
        ImageSize::square(64),
    );
    weights::save(&path, &trained, &metadata).unwrap();
    let rows = |network: &ZooNetwork| -> Vec<Vec<f32>> {
        let arena = values(network.parameters().arena().unwrap());
        arena.chunks(1280).map(<[f32]>::to_vec).collect()
    };
    let load = |classes: &[&str]| {
        let config = config(classes.len());
        let classes = names(classes);
        ZooNetwork::pretrained_classes(&config, &path, &classes, 1, &Device::Cpu).unwrap()
    };
    let theirs = rows(&trained);
    let (network, report) = load(&["dog", "fox", "cat", "ape"]);
    let ours = rows(&network);
    assert!(ours[0] == theirs[2] && ours[2] == theirs[1]);
    assert!(!theirs.contains(&ours[1]) && !theirs.contains(&ours[3]));
    let kept = report.classes.unwrap();
    assert_eq!(kept.kept, ["dog", "cat"]);
    assert_eq!(
        (kept.fresh, kept.dropped),
        (names(&["fox", "ape"]), names(&["bear"]))
    );
    let (network, report) = load(&["dog", "cat", "bear"]);
    let ours = rows(&network);
    assert!(ours[0] == theirs[2] && ours[1] == theirs[1] && ours[2] == theirs[0]);
    assert!(report.is_complete() && !report.new_classifier, "{report}");

    // If there are no class names, the rows are assumed to be in the model's order.
    let (_folder, bare) = file(|tensors| {
        for (name, tensor) in trained.parameters().named().unwrap() {
            tensors.push((name, tensor));
        }
    });
    let classes = names(&["dog", "cat", "bear"]);
    let loaded = ZooNetwork::pretrained_classes(&config(3), &bare, &classes, 1, &Device::Cpu);
    let (network, report) = loaded.unwrap();
    assert!(rows(&network) == theirs);
    assert!(report.assumed[0].contains("dog, cat, bear"), "{report}");
}

#[test]
fn files_of_other_models_are_refused_with_the_nearest_names() {
    let missing = refusal(|tensors| {
        let place = tensors
            .iter()
            .position(|(name, _)| name == "stages.0.0.conv_kxk.conv.weight");
        tensors[place.unwrap()].0 = "stages.0.0.conv_kxk.conv_weight".into();
    });
    assert!(
        missing.contains("there is no stages.0.0.conv_kxk.conv.weight of shape [48, 48, 3, 3]"),
        "{missing}"
    );
    assert!(
        missing.contains("nearest are stages.0.0.conv_kxk.conv_weight"),
        "{missing}"
    );
    assert!(missing.contains("timm"), "{missing}");
    let shape = refusal(|tensors| {
        let conv = tensors
            .iter_mut()
            .find(|(name, _)| name == "stem.conv_kxk.conv.weight")
            .unwrap();
        conv.1 = conv.1.narrow(1, 0, 1).unwrap().contiguous().unwrap();
    });
    assert!(
        shape.contains("stem.conv_kxk.conv.weight has the shape [48, 1, 3, 3]"),
        "{shape}"
    );
    let unexpected = refusal(|tensors| {
        let norm = tensors[1].1.clone();
        tensors.push(("stages.9.0.identity.weight".into(), norm));
    });
    assert!(
        unexpected.contains("stages.9.0.identity.weight"),
        "{unexpected}"
    );
}

#[test]
fn a_backbone_has_a_key_of_its_own() {
    let key = |change: fn(&mut Vec<(String, Tensor)>)| {
        let (_folder, path) = file(change);
        let loaded = ZooNetwork::pretrained(&config(3), &path, 0, &Device::Cpu);
        loaded.unwrap().0.backbone_key().unwrap()
    };
    let other = |tensors: &mut Vec<(String, Tensor)>| {
        let mean = tensors
            .iter_mut()
            .find(|(name, _)| name == "stem.conv_kxk.bn.running_mean")
            .unwrap();
        mean.1 = (&mean.1 + 1e-3).unwrap();
    };
    assert_eq!(key(|_| ()), key(|_| ()));
    assert_ne!(key(|_| ()), key(other));
}
