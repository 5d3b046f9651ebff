//! Tests of files with other networks that have most of a network's names.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use mobilenet::weights::{Overrides, Source};
use mobilenet::{Error, LoadReport, ModelConfig, Network, Result};

use crate::foreign::{saved, tensors};
use crate::{config, network};

fn source(path: &Path, overrides: Overrides) -> Source {
    Source::open(path, overrides).unwrap()
}

/// Loads the file as its own network, and into a network like this one.
fn loaded(path: &Path, like: &Network) -> [Result<LoadReport>; 2] {
    let whole = source(path, Overrides::default()).load(&Device::Cpu);
    let mut fresh = network(like.config());
    let filled = source(path, Overrides::default()).load_into(&mut fresh);
    [whole.map(|loaded| loaded.report), filled]
}

#[test]
fn tensors_inside_the_backbones_modules_are_of_another_network() {
    let trained = network(&config());
    for (name, is_other) in [
        ("features.2.se.fc.weight", true),
        ("features.0.0.bias", true),
        ("features.1.block.0.0.weight.mask", true),
        ("auxiliary.0.0.weight", false),
        ("classifier.5.weight", false),
        ("temperature", false),
    ] {
        let mut all = tensors(&trained);
        let extra = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        all.insert(name.to_owned(), extra);
        let (_folder, path) = saved(&all);
        for result in loaded(&path, &trained) {
            match result {
                Ok(report) => assert!(!is_other && report.unexpected == [name], "{report}"),
                Err(Error::OtherModel { report, .. }) => {
                    assert!(is_other && report.unexpected == [name], "{report}");
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

#[test]
fn a_network_without_any_tensor_of_a_kind_is_another_one() {
    let trained = network(&ModelConfig::new("convnext_atto".parse().unwrap(), 3));
    for (block, missing) in [("features.1.0.", 1), ("features.", 12)] {
        let mut all = tensors(&trained);
        let before = all.len();
        all.retain(|name, _| !(name.starts_with(block) && name.ends_with(".layer_scale")));
        assert_eq!(before - all.len(), missing);
        let (_folder, path) = saved(&all);
        let [whole, filled] = loaded(&path, &trained);
        assert!(matches!(whole, Err(Error::OtherModel { .. })));
        match filled {
            Ok(report) => assert_eq!((report.missing.len(), missing), (1, 1)),
            Err(Error::OtherModel { report, .. }) => assert_eq!(report.missing.len(), 12),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_empty_classifier_says_nothing_about_the_classes() {
    let trained = network(&config());
    let mut all = tensors(&trained);
    let name = all
        .keys()
        .find(|name| name.as_str() == "classifier.3.weight");
    let name = name.unwrap().clone();
    let empty = Tensor::zeros((1_usize << 58, 0_usize), DType::F32, &Device::Cpu);
    all.insert(name, empty.unwrap());
    let (_folder, path) = saved(&all);
    let [whole, filled] = loaded(&path, &trained);
    assert!(matches!(whole, Err(Error::OtherModel { .. })));
    assert!(filled.unwrap().new_classifier);
}

#[test]
fn networks_without_tensorflows_padding_refuse_its_weights() {
    let trained = network(&ModelConfig::new("shufflenet_v2_x0_5".parse().unwrap(), 3));
    let (_folder, path) = saved(&tensors(&trained));
    let [whole, filled] = loaded(&path, &trained);
    assert!(whole.unwrap().is_complete() && filled.unwrap().is_complete());
    let loaded = source(&path, Overrides::tensorflow()).load(&Device::Cpu);
    let error = loaded.err().expect("a refusal");
    assert!(error.is_usage());
    let error = error.to_string();
    assert!(error.contains("only torch's padding"), "{error}");
    let source = source(&path, Overrides::tensorflow());
    let adapted = source.adapt(trained.config()).unwrap();
    let error = Network::new(&adapted, 1, &Device::Cpu)
        .err()
        .expect("a refusal");
    assert!(
        matches!(error, Error::Setting { key: "padding", .. }),
        "{error}"
    );
}
