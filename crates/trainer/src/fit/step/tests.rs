//! Steps with loss scaling.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use mobilenet::weights::{self, WeightsMetadata};
use mobilenet::{Composed, Images, ModelConfig, Network, Variant};

use super::*;
use crate::model::start;
use crate::{Objective, Targets};

const EPOCHS: usize = 30;

/// A network with f16 products, as on a GPU, and its stepper.
fn scene(settings: &str) -> (Network, Stepper) {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 2)
    };
    let mut network = Network::new(&config, 1, &Device::Cpu).unwrap();
    let plan = Arc::new(network.plan().clone());
    network.set_executor(Box::new(Composed::new(plan).with_f16()));
    let text = format!("train = {{ precision = 'f16', epochs = {EPOCHS}, {settings} }}");
    let config = RunConfig::from_toml(&text, "test").unwrap();
    let schedule = LrSchedule::new(&config.schedule, None, 3e-3, EPOCHS, 1).unwrap();
    let stepper = Stepper::new(&config, network.parameters(), schedule).unwrap();
    (network, stepper)
}

/// Runs a batch of dark and bright images forward, then backward with the loss scaled by `scale`. Returns the loss.
fn learn(network: &mut Network, step: usize, scale: f32) -> f64 {
    let labels: Vec<u32> = (0..8).map(|image| image % 2).collect();
    let pixels: Vec<f32> = (0..8 * 16 * 16 * 3)
        .map(|i| (i % 7) as f32 / 7.0 + (i / 768 % 2) as f32 - 0.5)
        .collect();
    let pixels = Tensor::from_vec(pixels, (8, 16, 16, 3), &Device::Cpu).unwrap();
    let images = Images::normalised(&pixels).unwrap();
    let pass = network.forward_step(&images, step as u64, false).unwrap();
    let targets = Targets::of(&labels, &[1.0; 8]);
    let loss = Objective::cross_entropy(2)
        .apply(pass.logits(), &targets)
        .unwrap();
    loss.backward_scaled(pass, scale).unwrap();
    loss.mean
}

fn arena(network: &Network) -> Vec<f32> {
    network.parameters().arena().unwrap().to_vec1().unwrap()
}

#[test]
fn a_network_learns_in_f16() {
    for settings in ["", "accumulate_batches = 2", "clip_gradient_norm = 1.0"] {
        let (mut network, mut stepper) = scene(settings);
        let mut losses = Vec::new();
        for step in 0..EPOCHS {
            let scale = stepper.loss_scale().unwrap();
            losses.push(learn(&mut network, step, scale));
            stepper.take(network.parameters(), 8.0).unwrap();
        }
        assert!(
            losses[EPOCHS - 1] < 0.9 * losses[0],
            "{settings}: {losses:?}"
        );
    }
}

#[test]
fn a_step_that_overflows_is_left_out_and_the_schedule_goes_on() {
    let (mut network, mut stepper) = scene("");
    let (before, rate) = (arena(&network), stepper.learning_rate());
    assert_eq!(stepper.loss_scale(), Some(65536.0));
    learn(&mut network, 0, 1e30);
    assert!(!stepper.take(network.parameters(), 8.0).unwrap());
    assert!(arena(&network) == before);
    assert_eq!(stepper.loss_scale(), Some(32768.0));
    assert!(stepper.learning_rate() > rate);
    learn(&mut network, 1, 32768.0);
    assert!(stepper.take(network.parameters(), 8.0).unwrap());
    assert!(arena(&network) != before);
}

#[test]
fn the_loss_scale_goes_on_where_a_weights_file_left_it() {
    let (mut network, mut stepper) = scene("");
    learn(&mut network, 0, 1e30);
    stepper.take(network.parameters(), 8.0).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let metadata = WeightsMetadata {
        training: stepper.state(),
        ..WeightsMetadata::new(
            network.config().clone().into(),
            vec!["dark".to_owned(), "bright".to_owned()],
            mobilenet::ImageSize::square(16),
        )
    };
    weights::save(&path, &network, &metadata).unwrap();

    let mut config = RunConfig::default();
    config.model.width = 0.25;
    config.model.pretrained = Some(path);
    let training = start(&config, &metadata.class_names, &Device::Cpu);
    let training = training.unwrap().training;
    let (_, mut next) = scene("");
    next.go_on_from(training);
    assert_eq!(next.loss_scale(), Some(32768.0));
    assert_eq!(next.state(), stepper.state());
    next.go_on_from(Some(
        serde_json::json!({ "loss_scaler": { "scale": -1.0, "good_steps": 0 } }),
    ));
    assert_eq!(next.loss_scale(), Some(32768.0));
}
