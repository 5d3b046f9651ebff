use std::sync::Arc;

use candle_core::{Device, Tensor};
use mobilenet::{Composed, Error, HeadKind, Images, ModelConfig, Network};

use crate::{arena, config, images, network, statistics, values};

fn labels() -> Tensor {
    Tensor::new(&[0u32, 1, 2, 0], &candle_core::Device::Cpu).unwrap()
}

fn gradient(network: &mut Network, images: &Images, step: u64, freeze: bool) -> Vec<f32> {
    let logits = network.forward_train(images, step, freeze).unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &labels()).unwrap();
    loss.backward().unwrap();
    values(network.parameters().gradient().unwrap())
}

#[test]
fn a_frozen_backbone_stands_still() {
    let mut network = network(&config());
    let images = images(4, 64);
    let (before, backbone) = (statistics(&network), network.parameters().backbone());
    let frozen = gradient(&mut network, &images, 0, true);
    assert!(frozen[backbone.clone()].iter().all(|&g| g == 0.0));
    assert!(
        frozen[network.parameters().head()]
            .iter()
            .any(|&g| g != 0.0)
    );
    assert_eq!(statistics(&network), before);
    assert_eq!(network.parameters().batches_tracked(), 0);
    let thawed = gradient(&mut network, &images, 0, false);
    assert!(thawed[backbone].iter().any(|&g| g != 0.0));
    assert_ne!(statistics(&network), before);
    assert_eq!(network.parameters().batches_tracked(), 1);
}

/// With `torch.nn.BatchNorm2d(momentum=None)`, the running statistics are the mean over all batches
/// so far. With a momentum, each batch has that weight. This project uses the larger of the two
/// weights: first the weight in the mean, later the momentum.
#[test]
fn restarted_statistics_are_the_mean_of_the_batches_since() {
    let momentum = 0.25;
    let config = ModelConfig {
        batch_norm_momentum: momentum,
        ..config()
    };
    let batch = |seed: usize| {
        let pixels: Vec<f32> = (0..4 * 32 * 32 * 3)
            .map(|i| ((i * (37 + 2 * seed) % 101) as f32 / (50.0 + seed as f32)) - 1.0)
            .collect();
        let pixels = Tensor::from_vec(pixels, (4, 32, 32, 3), &Device::Cpu).unwrap();
        Images::normalised(&pixels).unwrap()
    };
    let batches: Vec<Images> = (0..6).map(batch).collect();
    for composed in [false, true] {
        let mut network = network(&config);
        if composed {
            let plan = Arc::new(network.plan().clone());
            network.set_executor(Box::new(Composed::new(plan)));
        }
        let mut moved = |batch: &Images, restart: bool| -> Vec<f64> {
            if restart {
                network.parameters().restart_statistics();
            }
            network.forward_train(batch, 0, false).unwrap();
            statistics(&network).into_iter().map(f64::from).collect()
        };
        let close = |found: &[f64], expected: &[f64]| {
            let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * b.abs().max(0.1);
            assert!(found.iter().zip(expected).all(near), "composed: {composed}");
        };
        let mix = |old: &[f64], new: &[f64], share: f64| -> Vec<f64> {
            let pairs = old.iter().zip(new);
            pairs.map(|(o, n)| (1.0 - share) * o + share * n).collect()
        };
        // A new network starts with zeros and ones, and updates them as torch does.
        let first = moved(&batches[0], false);
        let alone: Vec<Vec<f64>> = batches.iter().map(|batch| moved(batch, true)).collect();
        assert_ne!(alone[0], alone[1]);
        let start = statistics(&crate::network(&config));
        let start: Vec<f64> = start.into_iter().map(f64::from).collect();
        close(&first, &mix(&start, &alone[0], momentum));
        let mut expected = alone[0].clone();
        for (index, batch) in batches.iter().enumerate() {
            let found = moved(batch, index == 0);
            expected = match index {
                0..4 => (0..expected.len())
                    .map(|at| {
                        let seen = alone[..=index].iter().map(|of_batch| of_batch[at]);
                        seen.sum::<f64>() / (index + 1) as f64
                    })
                    .collect(),
                _ => mix(&expected, &alone[index], momentum),
            };
            close(&found, &expected);
        }
        // torch's batch counter is not restarted.
        assert_eq!(network.parameters().batches_tracked(), 13);
    }
}

#[test]
fn a_restart_waits_for_the_next_batch_that_moves_the_statistics() {
    let mut network = network(&config());
    let (first, second) = (images(4, 64), images(5, 48));
    network.forward_train(&second, 0, false).unwrap();
    let before = statistics(&network);
    network.parameters().restart_statistics();
    let restarted = network.parameters().snapshot().unwrap();
    network.forward_train(&first, 0, true).unwrap();
    assert_eq!(statistics(&network), before);
    network.forward_train(&first, 0, false).unwrap();
    let alone = statistics(&network);
    network.forward_train(&second, 0, false).unwrap();
    assert_ne!(statistics(&network), alone);
    // A snapshot remembers that the next batch is the first after a restart.
    network.parameters().restore(&restarted).unwrap();
    network.forward_train(&first, 0, false).unwrap();
    assert_eq!(statistics(&network), alone);
}

#[test]
fn a_gradient_of_other_parameters_is_refused() {
    let mut network = network(&config());
    let images = images(4, 64);
    gradient(&mut network, &images, 0, false);
    let logits = network.forward_train(&images, 1, false).unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &labels()).unwrap();
    network
        .parameters()
        .update(|values, _| values[0] += 1.0)
        .unwrap();
    let error = loss.backward().unwrap_err().to_string();
    assert!(error.contains("have changed since"), "{error}");
}

#[test]
fn every_step_has_its_own_dropout_and_inference_none() {
    let config = ModelConfig {
        dropout: 0.5,
        ..config()
    };
    let mut network = network(&config);
    let images = images(4, 64);
    // The backbone is frozen, so that the running statistics do not change between the calls.
    let mut logits = |step| values(&network.forward_train(&images, step, true).unwrap());
    let (first, again, second) = (logits(1), logits(1), logits(2));
    assert_eq!(first, again);
    assert_ne!(first, second);
    let inferred = values(&network.infer(&images).unwrap());
    assert_eq!(inferred, values(&network.infer(&images).unwrap()));
    // Dropout does not change the expected value: the average over many masks is near the logits
    // without dropout.
    let mut mean = vec![0.0; first.len()];
    for step in 0..400 {
        let logits = values(&network.forward_train(&images, step, true).unwrap());
        mean.iter_mut()
            .zip(logits)
            .for_each(|(mean, logit)| *mean += logit / 400.0);
    }
    let spread = |a: &[f32]| {
        a.iter()
            .zip(&inferred)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f32>()
    };
    assert!(
        spread(&mean) < 0.05 * spread(&first),
        "{mean:?} {inferred:?}"
    );
}

#[test]
fn gradients_are_slopes_for_every_head_and_stem() {
    for (head, stem_stride) in [
        (HeadKind::Linear, 1),
        (HeadKind::Torchvision, 1),
        (HeadKind::Linear, 2),
    ] {
        let config = ModelConfig {
            head,
            stem_stride,
            dropout: 0.0,
            ..config()
        };
        let mut network = network(&config);
        let images = images(4, 64);
        let gradient = gradient(&mut network, &images, 0, false);
        let length = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        // In the direction of the gradient, the slope of the loss is the length of the gradient.
        let start = network.parameters().snapshot().unwrap();
        let mut loss_at = |distance: f32| {
            network.parameters().restore(&start).unwrap();
            let mut moved = arena(&network);
            for (value, slope) in moved.iter_mut().zip(&gradient) {
                *value += distance * slope / length;
            }
            let statistics = statistics(&network);
            network.parameters().set(moved, statistics).unwrap();
            let logits = network.forward_train(&images, 0, false).unwrap();
            let loss = candle_nn::loss::cross_entropy(&logits, &labels()).unwrap();
            loss.to_scalar::<f32>().unwrap()
        };
        let step = 2e-3 / length.max(1.0);
        let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        let off = (slope / length - 1.0).abs();
        assert!(
            off < 0.02,
            "{head:?}, stride {stem_stride}: slope {slope}, gradient {length}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let run = |seed| {
        let mut network = Network::new(&config(), seed, &candle_core::Device::Cpu).unwrap();
        let gradient = gradient(&mut network, &images(4, 48), 3, false);
        (arena(&network), statistics(&network), gradient)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn snapshots_bring_everything_back() {
    let mut network = network(&config());
    let images = images(4, 64);
    let before = network.parameters().snapshot().unwrap();
    let logits = values(&network.infer(&images).unwrap());
    gradient(&mut network, &images, 0, false);
    network
        .parameters()
        .update(|values, gradient| {
            values
                .iter_mut()
                .zip(gradient)
                .for_each(|(value, slope)| *value -= 0.1 * slope);
        })
        .unwrap();
    assert_ne!(values(&network.infer(&images).unwrap()), logits);
    network.parameters().restore(&before).unwrap();
    assert_eq!(values(&network.infer(&images).unwrap()), logits);
    assert_eq!(network.parameters().batches_tracked(), 0);
}

#[test]
fn odd_sizes_run_and_rectangles_too() {
    let mut network = network(&config());
    for (height, width) in [(33, 47), (64, 32), (97, 35)] {
        let square = images(2, 97);
        let rows = square.pixels().narrow(1, 0, height).unwrap();
        let images = Images::normalised(&rows.narrow(2, 0, width).unwrap()).unwrap();
        assert_eq!(network.infer(&images).unwrap().dims(), [2, 3]);
        assert_eq!(
            network.forward_train(&images, 0, false).unwrap().dims(),
            [2, 3]
        );
    }
}

#[test]
fn one_value_per_channel_is_refused_by_name() {
    let mut network = network(&config());
    let error = network.forward_train(&images(1, 32), 0, false).unwrap_err();
    assert!(matches!(error, Error::OneValuePerChannel { .. }), "{error}");
    assert!(error.to_string().starts_with("features."), "{error}");
    // With a frozen backbone, no normalisation uses the statistics of the batch.
    network.forward_train(&images(1, 32), 0, true).unwrap();
}

#[test]
fn wrong_buffers_are_refused() {
    let network = network(&config());
    let error = network.parameters().set(vec![0.0; 3], vec![]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the buffer of parameters has 3 numbers"),
        "{error}"
    );
}

#[test]
fn an_update_needs_a_new_gradient() {
    let mut network = network(&config());
    let images = images(4, 64);
    let refused = |network: &Network| {
        let outcome = network.parameters().update(|_, _| unreachable!());
        assert!(matches!(outcome, Err(Error::NoGradient)));
    };
    refused(&network);
    gradient(&mut network, &images, 0, false);
    network.parameters().update(|_, _| ()).unwrap();
    refused(&network);
}

#[test]
fn a_known_gradient_of_the_logits_is_as_good_as_a_loss() {
    for (composed, freeze) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut networks = [network(&config()), network(&config())];
        if composed {
            for network in &mut networks {
                let plan = Arc::new(network.plan().clone());
                network.set_executor(Box::new(Composed::new(plan)));
            }
        }
        let [one, other] = &mut networks;
        let images = images(4, 64);
        let expected = gradient(one, &images, 3, freeze);
        let pass = other.forward_step(&images, 3, freeze).unwrap();
        // The gradient of the mean cross-entropy.
        let probabilities = candle_nn::ops::softmax(pass.logits(), 1).unwrap();
        let mut slope = probabilities.to_vec2::<f32>().unwrap();
        for (row, label) in slope.iter_mut().zip([0, 1, 2, 0]) {
            row[label] -= 1.0;
            row.iter_mut().for_each(|value| *value /= 4.0);
        }
        let slope = Tensor::new(slope, &Device::Cpu).unwrap();
        pass.backward(&slope).unwrap();
        let found = values(other.parameters().gradient().unwrap());
        let norm =
            |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let off = norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
        let length = norm(&mut expected.iter().copied());
        assert!(length > 0.0 && off < 1e-5 * length, "{off:e} of {length:e}");
        let changed = other.parameters().update(|_, gradient| gradient.len());
        assert_eq!(changed.unwrap(), expected.len());

        let pass = other.forward_step(&images, 3, freeze).unwrap();
        let error = pass.backward(&slope.t().unwrap()).unwrap_err();
        assert!(matches!(error, Error::GradientShape { .. }), "{error}");
    }
}

#[test]
fn a_second_backward_pass_is_an_error() {
    let mut network = network(&config());
    let logits = network.forward_train(&images(4, 64), 0, false).unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &labels()).unwrap();
    loss.backward().unwrap();
    assert!(
        loss.backward()
            .unwrap_err()
            .to_string()
            .contains("ran twice")
    );
}
