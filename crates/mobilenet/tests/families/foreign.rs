//! Loads files with each project's names, filled by the formula, and compares names, shapes and logits.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use mobilenet::weights::{Overrides, Source, WeightsMetadata, save_as};
use mobilenet::{Composed, Design, ImageSize, ModelConfig, Network};

use crate::fill::images;
use crate::golden::{Case, Golden, fill, off, values};

/// Checks one case.
pub(crate) fn check(golden: &Golden, index: usize) -> Result<(), String> {
    let case = &golden.cases[index];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write(&path, case, golden.classes)?;
    let overrides = match case.tensorflow {
        true => Overrides::tensorflow(),
        false => Overrides::default(),
    };
    let error = |e: mobilenet::Error| format!("{}: {e}", case.name());
    let source = Source::open(&path, overrides).map_err(error)?;
    // Several projects may use the same names.
    let mut same = golden
        .cases
        .iter()
        .filter(|other| (&other.variant, &other.names) == (&case.variant, &case.names));
    let scheme = source.scheme();
    if !same.any(|case| case.scheme() == scheme) {
        return Err(format!("{}: recognised as {scheme}", case.name()));
    }
    let mut network = load(source, case, golden.classes)?;
    std::fs::remove_file(&path).unwrap();
    let expected = values(golden.answer(&format!("{}.logits", case.name())));
    let images = images(expected.len() / golden.classes, case.side);
    let mut failures = String::new();
    let mut compare = |network: &Network| {
        let found = network.infer(&images).map(|logits| values(&logits));
        let off = found.map_or(f32::INFINITY, |found| off(&found, &expected));
        if off > 1e-4 || off.is_nan() {
            let (name, executor) = (case.name(), network.executor());
            writeln!(failures, "{name}, {executor}: logits off by {off:e}").unwrap();
        }
    };
    compare(&network);
    let own = network.executor();
    network.set_executor(Box::new(Composed::new(Arc::new(network.plan().clone()))));
    if network.executor() != own {
        compare(&network);
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures),
    }
}

/// Loads a file as the network of the case. The file of a network that differs from another one only in the images that its
/// weights expect is recognised as either.
fn load(mut source: Source, case: &Case, classes: usize) -> Result<Network, String> {
    let error = |e: mobilenet::Error| format!("{}: {e}", case.name());
    let found = source.model().map_err(error)?;
    let (network, report) = if found.name == case.variant() {
        let loaded = source.load(&Device::Cpu).map_err(error)?;
        (loaded.network, loaded.report)
    } else {
        let wanted = ModelConfig::new(case.variant(), classes);
        let model = source.adapt(&wanted).map_err(error)?;
        let mut network = Network::new(&model, 0, &Device::Cpu).map_err(error)?;
        let report = source.load_into(&mut network).map_err(error)?;
        (network, report)
    };
    let model = network.config();
    if (model.name, model.classes) != (case.variant(), classes) {
        return Err(format!("{}: loaded as {model:?}", case.name()));
    }
    match report.is_complete() {
        true => Ok(network),
        false => Err(format!("{}: {report}", case.name())),
    }
}

/// Writes a file with the project's names and without metadata. Fails if names or shapes differ from the project's.
fn write(path: &Path, case: &Case, classes: usize) -> Result<(), String> {
    let scheme = case.scheme();
    let config = ModelConfig {
        design: Design::of(scheme),
        ..ModelConfig::new(case.variant(), classes)
    };
    let network = Network::new(&config, 0, &Device::Cpu).unwrap();
    let names = (0..classes).map(|class| class.to_string()).collect();
    let metadata = WeightsMetadata::new(config.into(), names, ImageSize::square(case.side as u32));
    save_as(path, &network, &metadata, scheme).map_err(|e| format!("{}: {e}", case.name()))?;
    drop(network);
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let mut lines: Vec<String> = (tensors.iter())
        .map(|(name, tensor)| format!("{name} {:?}", tensor.dims()))
        .collect();
    lines.sort();
    let mut checksum = files::Checksum::default();
    checksum.update(lines.join("\n").as_bytes());
    if checksum.finish() != case.names {
        let (name, expected, found) = (case.name(), case.tensors, lines.len());
        return Err(format!(
            "{name}: the project's state has {expected} tensors, ours {found}:\n{}",
            lines.join("\n")
        ));
    }
    let filled: HashMap<String, Tensor> = (tensors.into_iter())
        .map(|(name, tensor)| {
            let filled = match tensor.dtype() {
                DType::F32 if !is_constant(&name) => {
                    let values: Vec<f32> = fill(&name, tensor.dims(), case.gain, None).collect();
                    Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap()
                }
                _ => tensor,
            };
            (name, filled)
        })
        .collect();
    candle_core::safetensors::save(&filled, path).unwrap();
    Ok(())
}

/// Whether a tensor is not learned, so that the formula does not fill it.
fn is_constant(name: &str) -> bool {
    name.ends_with("attn_mask")
}
