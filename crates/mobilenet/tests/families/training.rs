//! Compares the first training step and ten steps of Adam with the projects'.

use std::fmt::Write as _;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use mobilenet::{Composed, ModelConfig, Network};
use optim::{AdamConfig, Optimizer, OptimizerConfig, ParameterGroup};

use crate::fill::{self, fnv1a, hash};
use crate::golden::{Golden, Training, fill_for_training, off, values};

/// Checks one training, with the default executor and with the composed one.
pub(crate) fn check(golden: &Golden, index: usize) -> Result<(), String> {
    let training = &golden.trainings[index];
    let mut network = network(training, golden.classes);
    let own = network.executor();
    let mut failures = String::new();
    compare(golden, training, &mut network, &mut failures);
    network.set_executor(Box::new(Composed::new(Arc::new(network.plan().clone()))));
    if network.executor() != own {
        compare(golden, training, &mut network, &mut failures);
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures),
    }
}

fn network(training: &Training, classes: usize) -> Network {
    let config = ModelConfig {
        dropout: 0.0,
        drop_path: 0.0,
        ..ModelConfig::new(training.variant.parse().unwrap(), classes)
    };
    Network::new(&config, 0, &Device::Cpu).unwrap()
}

fn compare(golden: &Golden, training: &Training, network: &mut Network, failures: &mut String) {
    let what = format!("{}, {}", training.variant, network.executor());
    let answer = |part: &str| golden.answer(&format!("{}.train.{part}", training.variant));
    let mut worst = |part: &str, off: f32, most: f32| {
        if off > most || off.is_nan() {
            writeln!(failures, "{what}: {part} off by {off:e}").unwrap();
        }
    };
    fill_for_training(network, training);
    network.parameters().restart_statistics();
    let images = fill::images(training.batch, training.side);
    let labels = labels(training.batch, golden.classes);

    let expected_after = values(answer("after"));
    let summaries: Vec<Vec<f32>> = answer("gradient").to_vec2().unwrap();
    let losses = values(answer("losses"));
    let count = network.parameters().len();
    let group = ParameterGroup::new("all", 0..count);
    let config = OptimizerConfig::Adam(AdamConfig::default());
    let mut adam = Optimizer::new(&config, count, vec![group]).unwrap();
    for (step, expected) in losses.into_iter().enumerate() {
        let logits = match network.forward_train(&images, step as u64, false) {
            Ok(logits) => logits,
            Err(e) => {
                writeln!(failures, "{what}: {e}").unwrap();
                return;
            }
        };
        let loss = candle_nn::loss::cross_entropy(&logits, &labels).unwrap();
        let found: f32 = loss.to_scalar().unwrap();
        worst(
            &format!("loss {step}"),
            (found / expected - 1.0).abs(),
            1e-3,
        );
        loss.backward().unwrap();
        if step == 0 {
            let expected = values(answer("logits"));
            worst("logits", off(&values(&logits), &expected), 1e-4);
            let first = fill::images(expected_after.len() / golden.classes, training.side);
            let after = values(&network.infer(&first).unwrap());
            worst(
                "logits with the batch's statistics",
                off(&after, &expected_after),
                1e-4,
            );
            for (name, off) in gradients(network, &summaries, &training.zero_gradients) {
                worst(&format!("gradient of {name}"), off as f32, 1e-3);
            }
        }
        network
            .parameters()
            .update(|values, gradient| adam.step(values, gradient, training.learning_rate).unwrap())
            .unwrap();
    }
}

/// Each parameter's error, norm-wise, relative to the gradient or, if that is larger, to a thousandth of the whole one.
/// Gradients that should be zero count relative to the whole gradient.
fn gradients(network: &Network, summaries: &[Vec<f32>], zero: &[String]) -> Vec<(String, f64)> {
    let gradient = values(network.parameters().gradient().unwrap());
    let mut segments: Vec<_> = network.parameters().segments().iter().collect();
    segments.sort_by_key(|segment| segment.name.as_bytes());
    assert_eq!(segments.len(), summaries.len());
    let total = norm(summaries.iter().map(|summary| summary[0]));
    let errors = segments.iter().zip(summaries).map(|(segment, summary)| {
        let ours = &gradient[segment.range.clone()];
        let length = norm(ours.iter().copied());
        let expected = f64::from(summary[0]);
        let off = if zero.contains(&segment.name) {
            // 1e-5 of the whole gradient is as far off as the limit of the others.
            length / total * 100.0
        } else {
            let squares = (summary[1..].iter().zip(projections(ours)))
                .map(|(&want, got)| (got - f64::from(want)).powi(2));
            let distance = (squares.sum::<f64>() / 8.0).sqrt();
            distance.max((length - expected).abs()) / expected.max(1e-3 * total)
        };
        (segment.name.clone(), off)
    });
    errors.collect()
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    let squares = values.map(|value| f64::from(value).powi(2));
    squares.sum::<f64>().sqrt()
}

/// The dot products with the Rademacher vectors of the golden data.
fn projections(values: &[f32]) -> [f64; 8] {
    let seed = fnv1a("projection");
    let mut sums = [0.0; 8];
    for (index, &value) in (0..).zip(values) {
        let bits = hash(seed, index);
        for (j, sum) in sums.iter_mut().enumerate() {
            let sign = if bits >> j & 1 == 1 { 1.0 } else { -1.0 };
            *sum += sign * f64::from(value);
        }
    }
    sums
}

fn labels(batch: usize, classes: usize) -> Tensor {
    let seed = fnv1a("label");
    let labels: Vec<u32> = (0..batch as u32)
        .map(|index| hash(seed, index) % classes as u32)
        .collect();
    Tensor::from_vec(labels, batch, &Device::Cpu).unwrap()
}
