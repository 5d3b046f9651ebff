//! Tests runs of few steps on few images, like a user's first run.

use std::path::Path;

use candle_core::Device;
use mnist_data::{Compression, IdxImages, IdxLabels, NoProgress, UnpackOptions, Validation};
use mobilenet::weights::{self, WeightsMetadata};
use mobilenet::{Model, ModelDescription, Network};
use trainer::{Event, Recorder, RunConfig};

use crate::scene::{Scene, statistics};

const SIDE: usize = 32;

/// 72 training and 24 validation images of three textures: horizontal stripes, vertical stripes and checks, each
/// shifted and with noise.
fn textures(dir: &Path) -> RunConfig {
    let root = dir.join("textures");
    for (split, count) in [("train", 96), ("t10k", 3)] {
        let path = |what: &str| dir.join(format!("{split}-{what}-ubyte"));
        let pixels = (0..count).flat_map(texture).collect();
        let images = IdxImages::new(SIDE, SIDE, pixels).unwrap();
        let images = images.write(&path("images-idx3"), Compression::None);
        images.unwrap();
        let labels = (0..count).map(|i| (i % 3) as u8).collect();
        let labels = IdxLabels::new(labels).write(&path("labels-idx1"), Compression::None);
        labels.unwrap();
    }
    let options = UnpackOptions {
        validation: Validation {
            count: 24,
            ..Validation::default()
        },
        class_names: None,
    };
    mnist_data::unpack(dir, &root, &options, &NoProgress).unwrap();
    // The README's settings for custom images.
    let text = "data = { source = 'folder', root = 'set below', image_size = 32, batch_size = 16 }";
    let mut config = RunConfig::from_toml(text, "test").unwrap();
    config.data.root = Some(root);
    config
}

fn texture(image: usize) -> Vec<u8> {
    let (dark, light) = (40 + image * 7 % 50, 150 + image * 11 % 60);
    let stripe = |along: usize| (along + image * 5) % 12 < 6;
    let pixels = (0..SIDE * SIDE).map(|at| {
        let (row, column) = (at / SIDE, at % SIDE);
        let is_dark = match image % 3 {
            0 => stripe(row),
            1 => stripe(column),
            _ => stripe(row) != stripe(column),
        };
        let grain = (at * 31 + image * 17) % 23;
        (if is_dark { dark } else { light } + grain) as u8
    });
    pixels.collect()
}

fn accuracies(recorder: &Recorder) -> Vec<f64> {
    let epochs = recorder.epochs().into_iter();
    epochs.map(|epoch| epoch.val_accuracy).collect()
}

fn warnings(recorder: &Recorder) -> Vec<&Event> {
    let events = recorder.events.iter();
    let is_warning = |event: &&Event| matches!(event, Event::StatisticsUnsettled { .. });
    events.filter(is_warning).collect()
}

#[test]
fn the_default_recipe_validates_well_after_two_dozen_steps() {
    let mut scene = Scene::new();
    scene.config = textures(scene.dir.path());
    for seed in 1..=3 {
        scene.config.train.seed = seed;
        let (outcome, recorder) = scene.run();
        let best = outcome.best.unwrap();
        assert!(best.score >= 0.9, "{seed}: {:?}", accuracies(&recorder));
        let batches = outcome.network.parameters().batches_tracked();
        assert_eq!(batches, 4 * best.epoch as i64);
    }
}

/// The initial weights of a network, for another run to start from.
fn saved(config: &RunConfig, path: &Path) -> Vec<f32> {
    let ModelDescription::MobileNet(model) = config.model(2) else {
        panic!("no MobileNet")
    };
    let network = Network::new(&model, 1, &Device::Cpu).unwrap();
    let metadata = WeightsMetadata::new(
        model.into(),
        vec!["0".to_owned(), "1".to_owned()],
        mobilenet::ImageSize::square(16),
    );
    weights::save(path, &network, &metadata).unwrap();
    statistics(&network)
}

#[test]
fn pretrained_statistics_are_kept_and_a_warning_says_that_they_do_not_suit() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 8;
    scene.config.model.batch_norm_momentum = Some(1e-9);
    let path = scene.dir.path().join("start.safetensors");
    let start = saved(&scene.config, &path);
    let far = |network: &dyn Model| {
        let statistics = statistics(network);
        let pairs = start.iter().zip(&statistics);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };

    let (outcome, recorder) = scene.run();
    assert!(far(outcome.network.as_ref()) > 0.1);
    assert_eq!(warnings(&recorder), [] as [&Event; 0]);

    scene.config.model.pretrained = Some(path);
    let (outcome, recorder) = scene.run();
    assert!(far(outcome.network.as_ref()) < 1e-4);
    let [
        Event::StatisticsUnsettled {
            epoch,
            training,
            inference,
        },
    ] = warnings(&recorder)[..]
    else {
        panic!("{:?}", accuracies(&recorder))
    };
    let report = recorder.epochs()[epoch - 1];
    assert_eq!(*training, report.train_accuracy);
    assert!(
        *training > 0.8 && *inference < 0.65,
        "{training} {inference}"
    );
}

#[test]
fn a_low_score_alone_is_no_reason_for_a_warning() {
    let mut scene = Scene::new();
    scene.swap_validation();
    scene.config.train.epochs = 8;
    let (_, recorder) = scene.run();
    let last = recorder.epochs()[7];
    assert!(
        last.train_accuracy > 0.8 && last.val_accuracy < 0.5,
        "{last:?}"
    );
    assert_eq!(warnings(&recorder), [] as [&Event; 0]);
}
