//! Tests that rten runs the exported files.

use std::sync::Arc;

use candle_core::Tensor;
use mobilenet::onnx::{OnnxOptions, check, export, to_bytes};
use mobilenet::{
    Composed, Design, Error, Executor, HeadKind, Images, ModelConfig, Network, Padding, Parameters,
    Tape, TrainingStep, Variant,
};

use rten_onnx::onnx::{ModelProto, TensorProto};

use crate::{CLOSE, metadata, network, pictures};

/// Every combination of options.
fn all_options() -> impl Iterator<Item = OnnxOptions> {
    (0..16).map(|bits| OnnxOptions {
        preprocess: bits & 1 != 0,
        softmax: bits & 2 != 0,
        fold_batch_norm: bits & 4 != 0,
        calibrated: bits & 8 != 0,
    })
}

/// Exports and checks a network with every combination of options, at batch sizes 1 and 3.
fn agrees(config: &ModelConfig, image_size: usize) {
    let network = network(config);
    let metadata = metadata(config, image_size);
    let shown = [
        pictures(1, image_size, image_size),
        pictures(3, image_size + 13, image_size),
    ];
    // The logits must differ between classes. Otherwise they would agree with any constant.
    let table = Arc::new(metadata.normalisation.table());
    let logits = network
        .infer(&Images::bytes(&shown[1], table).unwrap())
        .unwrap();
    let spread = logits
        .var(1)
        .unwrap()
        .min_all()
        .unwrap()
        .to_scalar::<f32>()
        .unwrap()
        .sqrt();
    assert!(spread > 1000.0 * CLOSE, "{spread}");
    for options in all_options() {
        let bytes = to_bytes(&network, &metadata, options).unwrap();
        let found = check(&bytes, &network, &metadata, options, &shown)
            .unwrap_or_else(|error| panic!("{config:?} {options:?}: {error}"));
        assert_eq!(found.pictures, 4);
        assert!(found.largest_difference <= CLOSE, "{found:?}");
    }
}

#[test]
fn small_with_either_head() {
    for head in [HeadKind::Torchvision, HeadKind::Linear] {
        agrees(
            &ModelConfig {
                head,
                ..ModelConfig::new(Variant::SMALL, 7)
            },
            32,
        );
    }
}

#[test]
fn large_with_either_head() {
    for head in [HeadKind::Torchvision, HeadKind::Linear] {
        agrees(
            &ModelConfig {
                head,
                ..ModelConfig::new(Variant::LARGE, 7)
            },
            32,
        );
    }
}

#[test]
fn a_narrow_network_with_a_stem_of_stride_1_on_odd_sides() {
    let config = ModelConfig {
        width: 0.35,
        stem_stride: 1,
        batch_norm_epsilon: 1e-2,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    agrees(&config, 45);
}

#[test]
fn mobilenet_v2() {
    agrees(&ModelConfig::new(Variant::V2, 7), 32);
}

#[test]
fn tensorflows_padding_on_odd_and_even_sides() {
    let config = ModelConfig {
        padding: Padding::Same,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    agrees(&config, 64);
}

#[test]
fn squeeze_excite_before_the_activation() {
    for design in [Design::KuanWang, Design::DLi14] {
        let config = ModelConfig {
            design,
            ..ModelConfig::new(Variant::SMALL, 3)
        };
        agrees(&config, 32);
    }
}

#[test]
fn an_export_checks_itself_and_leaves_one_file() {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let (network, metadata) = (network(&config), metadata(&config, 40));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let options = OnnxOptions {
        softmax: true,
        ..OnnxOptions::default()
    };
    let alone = export(&path, &network, &metadata, options, &[]).unwrap();
    assert!(
        alone.pictures >= 4 && alone.largest_difference > 0.0,
        "{alone:?}"
    );
    let with = export(&path, &network, &metadata, options, &[pictures(2, 40, 40)]).unwrap();
    assert_eq!(with.pictures, alone.pictures + 2);
    let written = std::fs::read(&path).unwrap();
    assert_eq!(written, to_bytes(&network, &metadata, options).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = export(
        &path,
        &network,
        &metadata,
        options,
        &[pictures(1, 40, 40)
            .zeros_like()
            .unwrap()
            .to_dtype(candle_core::DType::F32)
            .unwrap()],
    );
    let error = error.unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("expected u8"), "{error}: {reason}");
}

/// The check must refuse a file of another network, even if only a single weight differs.
#[test]
fn a_changed_weight_is_found() {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let (network, metadata) = (network(&config), metadata(&config, 32));
    let shown = [pictures(2, 32, 32)];
    for options in all_options() {
        let bytes = to_bytes(&network, &metadata, options).unwrap();
        let snapshot = network.parameters().snapshot().unwrap();
        for name in [
            "features.4.block.2.fc1.bias",
            "features.0.1.weight",
            "classifier.3.bias",
        ] {
            change(network.parameters(), name);
            let error = check(&bytes, &network, &metadata, options, &shown).unwrap_err();
            assert!(matches!(error, Error::OnnxCheck(_)), "{error}");
            let says = match options.fold_batch_norm {
                true => "rten's logits differ",
                false => name,
            };
            assert!(error.to_string().contains(says), "{error}");
            network.parameters().restore(&snapshot).unwrap();
        }
        check(&bytes, &network, &metadata, options, &shown).unwrap();
    }
}

/// The check must refuse a file in which one number differs from the network's.
#[test]
fn a_file_with_one_weight_changed_is_refused() {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let (network, metadata) = (network(&config), metadata(&config, 32));
    let options = OnnxOptions::default();
    let bytes = to_bytes(&network, &metadata, options).unwrap();
    for name in [
        "features.0.0.weight",
        "features.0.1.running_mean",
        "features.4.block.2.fc1.bias",
        "features.12.1.weight",
        "classifier.3.weight",
    ] {
        let model = ModelProto::parse_buf(&bytes).unwrap();
        let tensors = &model.graph.as_ref().unwrap().initializer;
        let named = |tensor: &&TensorProto| tensor.name.as_deref() == Some(name);
        let tensor = tensors.iter().find(named).unwrap();
        let mut raw = tensor.raw_data.as_ref().unwrap().borrow_mut();
        let first: &mut [u8; 4] = (&mut raw[..4]).try_into().unwrap();
        *first = (f32::from_le_bytes(*first) + 1.0).to_le_bytes();
        drop(raw);
        let changed = model.write_buf().unwrap();
        let shown = [pictures(2, 32, 32)];
        let found = check(&changed, &network, &metadata, options, &shown);
        let error = found.expect_err(name);
        assert!(matches!(error, Error::OnnxCheck(_)), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

fn change(parameters: &Parameters, name: &str) {
    let [mut arena, statistics]: [Vec<f32>; 2] = [
        parameters.arena().unwrap(),
        parameters.statistics().unwrap(),
    ]
    .map(|flat| flat.to_vec1().unwrap());
    let segment = parameters
        .segments()
        .iter()
        .find(|s| s.name == name)
        .unwrap();
    arena[segment.range.start] += 0.25;
    parameters.set(arena, statistics).unwrap();
}

#[test]
fn foreign_graphs_are_refused() {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let (network, metadata) = (network(&config), metadata(&config, 32));
    let options = OnnxOptions::default();
    let bytes = to_bytes(&network, &metadata, options).unwrap();
    for (bad, says) in [
        (&[][..], "is not the network's"),
        (&bytes[..bytes.len() / 2], "rten cannot read it"),
        (b"not a model", "rten cannot read it"),
    ] {
        let error = check(bad, &network, &metadata, options, &[pictures(1, 32, 32)]).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// An executor that uses the parameters of another network.
struct Astray(Composed, Network);

impl Executor for Astray {
    fn name(&self) -> &'static str {
        "astray"
    }

    fn infer(&self, _: &Parameters, images: &Images) -> mobilenet::Result<Tensor> {
        self.0.infer(self.1.parameters(), images)
    }

    fn features(&self, parameters: &Parameters, images: &Images) -> mobilenet::Result<Tensor> {
        self.0.features(parameters, images)
    }

    fn infer_head(&self, parameters: &Parameters, features: &Tensor) -> mobilenet::Result<Tensor> {
        self.0.infer_head(parameters, features)
    }

    fn forward_head(
        &self,
        parameters: &Parameters,
        features: &Tensor,
        step: TrainingStep,
    ) -> mobilenet::Result<(Tensor, Box<dyn Tape>)> {
        self.0.forward_head(parameters, features, step)
    }

    fn forward(
        &self,
        parameters: &Parameters,
        images: &Images,
        step: TrainingStep,
    ) -> mobilenet::Result<(Tensor, Box<dyn Tape>)> {
        self.0.forward(parameters, images, step)
    }
}

#[test]
fn a_file_that_says_something_else_is_not_kept() {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let (mut ours, metadata) = (network(&config), metadata(&config, 32));
    let other = network(&config);
    change(other.parameters(), "classifier.3.bias");
    let composed = Composed::new(Arc::new(ours.plan().clone()));
    ours.set_executor(Box::new(Astray(composed, other)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, "the older file").unwrap();
    let error = export(&path, &ours, &metadata, OnnxOptions::default(), &[]).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    let error = error.to_string();
    assert!(error.contains("model.onnx was not written"), "{error}");
    assert!(reason.contains("rten's logits differ"), "{reason}");
    assert_eq!(std::fs::read(&path).unwrap(), b"the older file");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
