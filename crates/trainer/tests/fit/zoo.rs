//! Tests a frozen backbone of candle-transformers.

use classifier::Classifier;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use mnist_data::NoProgress;
use trainer::config::DistillationConfig;
use trainer::{Ending, Event, InferenceOptions, RunConfig};

use crate::scene::{Scene, arena};

/// A file of RepVGG-A0's tensors, with shapes from the golden data and numbers that
/// distinguish the images.
fn backbone(folder: &Path) -> PathBuf {
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/zoo_repvgg_a0.safetensors");
    let bytes = std::fs::read(golden).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let header = &rest[..u64::from_le_bytes(*length) as usize];
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let case = header["__metadata__"]["case"].as_str().unwrap();
    let case: serde_json::Value = serde_json::from_str(case).unwrap();
    let tensors: Vec<(String, Vec<usize>)> =
        serde_json::from_value(case["tensors"].clone()).unwrap();
    let mut state = 1_u32;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let filled = tensors.into_iter().map(|(name, shape)| {
        let (centre, spread) = match (name.rsplit('.').next(), &shape[..]) {
            (Some("running_var"), _) | (Some("weight"), [_]) => (1.0, 0.2),
            (_, [_, inputs @ ..]) if !inputs.is_empty() => {
                (0.0, (6.0 / inputs.iter().product::<usize>() as f32).sqrt())
            }
            _ => (0.0, 0.02),
        };
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| centre + spread * uniform()).collect();
        (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    });
    let path = folder.join("repvgg_a0.safetensors");
    candle_core::safetensors::save(&filled.collect(), &path).unwrap();
    path
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    let text = format!(
        "
        data.source = 'folder'
        data.root = 'set below'
        data.batch_size = 8
        data.image_size = 64
        data.normalisation = {{ mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}
        model = {{ name = 'repvgg_a0', head = 'linear', dropout = 0.0, pretrained = '{}' }}
        train.epochs = 12
        train.learning_rate = 0.03
        schedule.type = 'constant'
        ",
        backbone(scene.dir.path()).display()
    );
    let root = scene.root();
    scene.config = RunConfig::from_toml(&text, "test").unwrap();
    scene.config.data.root = Some(root);
    std::thread::sleep(std::time::Duration::from_millis(150));
    scene
}

#[test]
fn a_run_with_a_frozen_backbone_learns_and_leaves_a_whole_model() {
    let mut scene = scene();
    let (outcome, recorder) = scene.run();
    let epochs = recorder.epochs();
    assert!(
        epochs[11].train_loss < 0.95 * epochs[0].train_loss,
        "{epochs:?}"
    );
    let ready = |computed| Event::FeaturesReady {
        images: 56,
        computed,
    };
    assert!(recorder.events.contains(&ready(56)));
    let best = outcome.best.unwrap();
    let name = best.weights.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("repvgg_a0_e"), "{name}");
    // The weights file needs no other information.
    let classifier = Classifier::open(&best.weights).unwrap();
    let val = scene.root().join("val");
    let options = InferenceOptions::default();
    let result = trainer::evaluate(&classifier, &val, options, &NoProgress).unwrap();
    assert!((result.accuracy - best.score).abs() < 1e-12);
    // The run's recorded configuration is valid.
    let written = best.weights.with_file_name("config.toml");
    let written = RunConfig::read(&written).unwrap();
    assert_eq!(written.model.name, scene.config.model.name);
    // The model can be the teacher of a network that is trained as a whole.
    let mut student = Scene::new();
    student.config.train.epochs = 1;
    student.config.data.image_size = mobilenet::ImageSize::square(64);
    student.config.data.normalisation = scene.config.data.normalisation;
    let alone = arena(student.run().0.network.as_ref());
    student.config.distillation = Some(DistillationConfig::new(&best.weights));
    assert!(arena(student.run().0.network.as_ref()) != alone);
    // A second run starts from the first run's weights file and finds the features on disk. Early stopping works,
    // although its backbone never unfreezes.
    scene.config.model.pretrained = Some(best.weights);
    scene.config.train.patience = Some(2);
    scene.config.train.learning_rate = 1e-12;
    let (outcome, recorder) = scene.run();
    assert!(recorder.events.contains(&ready(0)));
    assert_eq!(
        (outcome.ending, outcome.epochs.len()),
        (Ending::StoppedEarly, 3)
    );
}

#[test]
fn without_kept_features_the_numbers_are_the_same() {
    let mut scene = scene();
    scene.config.train.epochs = 2;
    let losses = |scene: &Scene| -> Vec<f64> {
        let epochs = scene.run().0.epochs;
        epochs
            .iter()
            .map(|epoch| epoch.train_loss + epoch.val_loss)
            .collect()
    };
    let kept = losses(&scene);
    scene.config.train.cache_features = false;
    for (kept, recomputed) in kept.into_iter().zip(losses(&scene)) {
        // candle's matrix products may round a row differently in another batch.
        assert!((kept - recomputed).abs() < 1e-4, "{kept} and {recomputed}");
    }
}

#[test]
fn weights_of_another_model_are_refused_by_name() {
    let mut scene = scene();
    let path = scene.dir.path().join("other.safetensors");
    let tensor = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
    let one = [("stem.conv_kxk.conv.weights".to_owned(), tensor)];
    candle_core::safetensors::save(&one.into_iter().collect(), &path).unwrap();
    scene.config.model.pretrained = Some(path);
    let error = scene.error().to_string();
    assert!(error.contains("other.safetensors"), "{error}");
    assert!(
        error.contains("nearest are stem.conv_kxk.conv.weights"),
        "{error}"
    );
}
