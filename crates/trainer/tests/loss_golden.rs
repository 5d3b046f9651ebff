//! Tests that losses and gradients equal torch's for every setting in `golden/loss.json`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{Device, Tensor};
use serde::Deserialize;
use trainer::config::LossConfig;
use trainer::{Distillation, Mixed, Objective, Targets};

#[derive(Deserialize)]
struct Golden {
    batches: Vec<Batch>,
}

#[derive(Deserialize)]
struct Batch {
    name: String,
    logits: Vec<Vec<f32>>,
    labels: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    loss: LossConfig,
    /// The share of each image in its mixture; the previous image has the rest.
    mixed: Option<f32>,
    /// Weights of the first images of the batch; 1 if missing.
    image_weights: Option<Vec<f32>>,
    temperature: Option<f64>,
    /// The teacher's share of the loss. The teacher's logits are half the student's, in reverse order.
    teacher: Option<f64>,
    value: f64,
    gradient: Vec<Vec<f32>>,
}

#[test]
fn every_loss_and_its_gradient_are_torchs() {
    let golden: Golden = serde_json::from_str(include_str!("golden/loss.json")).unwrap();
    assert_eq!(golden.batches.len(), 4);
    let mut worst = 0.0f64;
    for batch in &golden.batches {
        assert!(batch.cases.len() >= 30);
        for (name, _) in LossConfig::NAMES {
            let mut names = batch.cases.iter().map(|case| case.loss.name());
            assert!(names.any(|loss| loss == *name), "{name}");
        }
        for case in &batch.cases {
            let (value, gradient) = ours(batch, case);
            let said = format!(
                "{}, {:?}: {value}, not {}",
                batch.name, case.loss, case.value
            );
            let difference = (value - case.value).abs() / case.value.abs().max(1e-6);
            assert!(difference < 1e-6, "{said}");
            worst = worst.max(difference);
            assert_eq!(gradient.len(), case.gradient.len());
            for (ours, torch) in gradient
                .iter()
                .flatten()
                .zip(case.gradient.iter().flatten())
            {
                let difference = (ours - torch).abs() / torch.abs().max(1e-6);
                assert!(difference < 1e-6, "{said}; gradient {ours}, not {torch}");
                worst = worst.max(difference.into());
            }
        }
    }
    println!("largest relative difference {worst:.1e}");
}

fn ours(batch: &Batch, case: &Case) -> (f64, Vec<Vec<f32>>) {
    let logits = Tensor::new(batch.logits.clone(), &Device::Cpu).unwrap();
    let mut before = batch.labels.clone();
    before.rotate_right(1);
    let weights = case.image_weights.clone().unwrap_or_else(|| vec![1.0; 7]);
    let weights = &weights[..batch.labels.len()];
    let targets = Targets {
        mixed: case.mixed.map(|share| Mixed {
            labels: &before,
            weights,
            share,
        }),
        ..Targets::of(&batch.labels, weights)
    };
    let reversed: Vec<Vec<f32>> = batch
        .logits
        .iter()
        .map(|row| row.iter().rev().map(|z| z * 0.5).collect())
        .collect();
    let teacher = Tensor::new(reversed, &Device::Cpu).unwrap();
    let distillation = case.temperature.zip(case.teacher);
    let distillation = distillation.map(|(temperature, weight)| Distillation {
        logits: &teacher,
        temperature,
        weight,
    });
    let loss = Objective::new(&case.loss, 5, [])
        .unwrap()
        .taught(&logits, &targets, distillation)
        .unwrap();
    (loss.mean, loss.gradient().to_vec2().unwrap())
}
