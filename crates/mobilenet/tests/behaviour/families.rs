//! Files of every family: heads for other classes, rows of classes, half precision, other projects' peculiarities.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use mobilenet::weights::{Loaded, Overrides, Source, WeightsMetadata, save, save_as};
use mobilenet::{ImageSize, ModelConfig, Network, Padding, Scheme, Variant};
use tempfile::TempDir;

use crate::{arena, statistics, values};

/// The smallest network of each family, ordered by size.
const SMALLEST: [&str; 10] = [
    "shufflenet_v2_x0_5",
    "mobilenetv4_conv_small",
    "convnext_atto",
    "efficientnet_b0",
    "regnet_y_400mf",
    "densenet121",
    "resnet18",
    "xception",
    "se_resnext50_32x4d",
    "swin_t",
];

fn variant(name: &str) -> Variant {
    name.parse().unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

struct Trained {
    folder: TempDir,
    network: Network,
    metadata: WeightsMetadata,
}

impl Trained {
    /// An untrained network for bears, cats and dogs, with unequal biases.
    fn new(config: &ModelConfig) -> Trained {
        let network = Network::new(config, 8, &Device::Cpu).unwrap();
        let biases = |values: &mut [f32]| {
            let first = values.len() - 3;
            values[first..].copy_from_slice(&[1.0, 2.0, 3.0]);
        };
        network.parameters().change(biases).unwrap();
        let size = ImageSize::square(64);
        let classes = names(&["bear", "cat", "dog"]);
        Trained {
            folder: tempfile::tempdir().unwrap(),
            metadata: WeightsMetadata::new(config.clone().into(), classes, size),
            network,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file without metadata, with a project's names behind a prefix.
    fn bare(
        &self,
        scheme: Scheme,
        prefix: &str,
        dtype: DType,
    ) -> (PathBuf, HashMap<String, Tensor>) {
        let path = self.path("bare.safetensors");
        save_as(&path, &self.network, &self.metadata, scheme).unwrap();
        let tensors = safetensors::load(&path, &Device::Cpu).unwrap();
        let tensors: HashMap<_, _> = (tensors.into_iter())
            .map(|(name, tensor)| {
                let tensor = match tensor.dtype() {
                    DType::F32 => tensor.to_dtype(dtype).unwrap(),
                    _ => tensor,
                };
                (format!("{prefix}{name}"), tensor)
            })
            .collect();
        safetensors::save(&tensors, &path).unwrap();
        (path, tensors)
    }
}

fn load(path: &Path) -> Loaded {
    let source = Source::open(path, Overrides::default()).unwrap();
    source.load(&Device::Cpu).unwrap()
}

/// Runs a check for each of these networks, on two threads.
fn each(names: &[&str], check: impl Fn(Variant) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..2 {
            let check = &check;
            let half = names.iter().skip(first).step_by(2);
            scope.spawn(move || half.for_each(|name| check(variant(name))));
        }
    });
}

#[test]
fn the_head_is_found_whatever_its_name() {
    each(&SMALLEST, |name| {
        let config = ModelConfig::new(name, 3);
        let trained = Trained::new(&config);
        let path = trained.path("own.safetensors");
        save(&path, &trained.network, &trained.metadata).unwrap();
        let loaded = load(&path);
        assert_eq!(loaded.network.config(), &config, "{name}");
        assert_eq!(arena(&loaded.network), arena(&trained.network), "{name}");
        drop(loaded);

        // A head for other classes takes the rows of the classes that it shares.
        let other = ModelConfig::new(name, 2);
        let mut source = Source::open(&path, Overrides::default()).unwrap();
        let mut network = Network::new(&source.adapt(&other).unwrap(), 9, &Device::Cpu).unwrap();
        let report = source
            .load_classes(&mut network, &names(&["dog", "bird"]))
            .unwrap();
        let rows = report.classes.unwrap();
        assert_eq!(rows.kept, ["dog"], "{name}");
        assert_eq!(rows.dropped, ["bear", "cat"], "{name}");
        assert_eq!(
            (report.missing.len(), report.mismatched.len()),
            (0, 2),
            "{name}"
        );
        let plan = network.plan();
        let [ours, theirs] = [&network, &trained.network].map(arena);
        let backbone = plan.backbone.clone();
        assert!(ours[backbone.clone()] == theirs[backbone], "{name}");
        assert_eq!(ours[ours.len() - 2], 3.0, "{name}: the bias of dogs");
        let width = plan.classifier().in_features;
        // The first of two rows, and the last of three.
        let row = &ours[ours.len() - 2 - 2 * width..][..width];
        let dogs = &theirs[theirs.len() - 3 - width..][..width];
        assert!(row == dogs, "{name}: the row of dogs");
    });
}

#[test]
fn half_precision_and_prefixes_load() {
    // The larger networks take long, and their files are no different.
    each(&SMALLEST[..7], |name| {
        let trained = Trained::new(&ModelConfig::new(name, 3));
        let scheme = match name.name() {
            "mobilenetv4_conv_small" => Scheme::Timm,
            _ => Scheme::Torchvision,
        };
        let (path, tensors) = trained.bare(scheme, "state_dict.module.", DType::F16);
        let loaded = load(&path);
        assert!(loaded.report.is_complete(), "{name}: {}", loaded.report);
        assert_eq!(loaded.report.matched.len(), tensors.len(), "{name}");
        assert_eq!(loaded.report.prefix, "state_dict.module.", "{name}");
        let metadata = loaded.metadata;
        assert_eq!(metadata.model.name().to_string(), name.name());
        assert_eq!(metadata.image_size, ImageSize::square(name.image_size()));
        assert_eq!(metadata.class_names, ["0", "1", "2"]);
        let rounded = trained
            .network
            .parameters()
            .arena()
            .unwrap()
            .to_dtype(DType::F16)
            .unwrap();
        let rounded = rounded.to_dtype(DType::F32).unwrap();
        assert!(arena(&loaded.network) == values(&rounded), "{name}");
        assert_eq!(
            statistics(&loaded.network),
            statistics(&trained.network),
            "{name}"
        );
    });
}

#[test]
fn networks_for_blue_green_red_get_red_green_blue() {
    let trained = Trained::new(&ModelConfig::new(variant("regnet_y_400mf"), 3));
    let (path, tensors) = trained.bare(Scheme::Pycls, "model_state.", DType::F32);
    let loaded = load(&path);
    assert_eq!(loaded.report.scheme, Scheme::Pycls);
    assert!(arena(&loaded.network) == arena(&trained.network));
    let stem = &trained.network.parameters().named().unwrap()["stem.0.weight"];
    let theirs = &tensors["model_state.stem.conv.weight"];
    for (colour, place) in [(0, 2), (1, 1), (2, 0)] {
        let [ours, theirs] = [(stem, colour), (theirs, place)].map(|(weight, index)| {
            let channel = weight.narrow(1, index, 1).unwrap();
            values(&channel.contiguous().unwrap())
        });
        assert!(ours == theirs, "colour {colour}");
    }
}

#[test]
fn the_first_names_of_densenets_are_read_and_written() {
    let trained = Trained::new(&ModelConfig::new(variant("densenet121"), 3));
    let (path, tensors) = trained.bare(Scheme::OldTorchvision, "", DType::F32);
    assert!(tensors.contains_key("features.denseblock1.denselayer1.norm.1.weight"));
    let loaded = load(&path);
    assert_eq!(loaded.report.scheme, Scheme::OldTorchvision);
    assert!(arena(&loaded.network) == arena(&trained.network));
}

#[test]
fn projects_without_a_network_are_named() {
    let trained = Trained::new(&ModelConfig::new(variant("mobilenetv4_conv_small"), 3));
    let path = trained.path("bare.safetensors");
    let saved = save_as(
        &path,
        &trained.network,
        &trained.metadata,
        Scheme::Torchvision,
    );
    let error = saved.unwrap_err().to_string();
    let says = "torchvision has no such network as mobilenetv4_conv_small";
    assert!(error.ends_with(says), "{error}");
    for (name, expected) in [("efficientnet_b5", true), ("efficientnet_b6", false)] {
        let schemes = variant(name).schemes();
        assert_eq!(schemes.contains(&Scheme::Pycls), expected, "{name}");
    }
    let adversarial = variant("adv-efficientnet_b0").schemes();
    assert!(!adversarial.contains(&Scheme::Pycls));
}

#[test]
fn networks_that_differ_in_their_images_alone_are_told_apart_by_the_model() {
    let adversarial = ModelConfig::new(variant("adv-efficientnet_b0"), 3);
    let trained = Trained::new(&adversarial);
    let (path, _) = trained.bare(Scheme::Timm, "", DType::F32);
    let source = Source::open(&path, Overrides::default()).unwrap();
    assert_eq!(source.model().unwrap().name, variant("efficientnet_b0"));
    let adapted = source.adapt(&adversarial).unwrap();
    assert_eq!(adapted.name, variant("adv-efficientnet_b0"));
    assert_eq!(
        (adapted.padding, adapted.batch_norm_epsilon),
        (Padding::Same, 1e-3)
    );
    let error = source.adapt(&ModelConfig::new(variant("efficientnet_b1"), 3));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("it holds efficientnet_b0")
    );
}
