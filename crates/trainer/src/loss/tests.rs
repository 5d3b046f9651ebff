//! Tests losses. Comparisons with torch's results are in `tests/loss_golden.rs`.

use candle_core::{DType, Device};

use super::*;

#[test]
fn wrong_shapes_and_labels_are_errors() {
    let logits = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let loss = Objective::cross_entropy(3);
    let apply = |loss: &Objective, labels: &[u32], weights: &[f32]| {
        let error = loss.apply(&logits, &Targets::of(labels, weights));
        error.map(|loss| loss.mean).unwrap_err().to_string()
    };
    assert!(apply(&loss, &[0], &[1.0]).contains("1 labels"));
    assert!(apply(&loss, &[0, 1], &[1.0]).contains("1 image weights"));
    let four = Objective::cross_entropy(4);
    assert!(apply(&four, &[0, 1], &[1.0; 2]).contains("[n, 4]"));
    assert!(apply(&loss, &[0, 3], &[1.0; 2]).contains("label 3; expected 0 to 2"));
    assert!(apply(&loss, &[0, 1], &[0.0; 2]).contains("weighs 0"));
    let mixed = Targets {
        mixed: Some(Mixed {
            labels: &[0, 3],
            weights: &[1.0; 2],
            share: 0.5,
        }),
        ..Targets::of(&[0, 1], &[1.0; 2])
    };
    let error = loss.apply(&logits, &mixed).unwrap_err().to_string();
    assert!(error.contains("label 3; expected 0 to 2"), "{error}");
    let teacher = Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap();
    let distillation = Distillation {
        logits: &teacher,
        temperature: 2.0,
        weight: 0.5,
    };
    let targets = Targets::of(&[0, 1], &[1.0; 2]);
    let error = loss
        .taught(&logits, &targets, Some(distillation))
        .unwrap_err();
    assert!(error.to_string().contains("4 classes"), "{error}");
}

#[test]
fn balanced_weights_are_those_of_scikit_learn() {
    // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 1]) for the classes that occur.
    let weights = balanced_class_weights([0, 0, 0, 1], 2);
    assert_eq!(weights, vec![4.0 / 6.0, 2.0]);
    assert_eq!(balanced_class_weights([0], 2), vec![0.5, 0.0]);
}

#[test]
fn halves_of_a_mixture_count_as_the_images_they_come_from() {
    let rows = [[0.3f32, -0.2], [1.5, 0.4]];
    let logits = Tensor::new(&rows, &Device::Cpu).unwrap();
    for config in LossConfig::all() {
        let loss = Objective::new(&config, 2, []).unwrap();
        // The second image has weight 0. So one mixture has a weight of 0.75 left from the first image, and the other
        // 0.25.
        let mixed = Targets {
            mixed: Some(Mixed {
                labels: &[1, 0],
                weights: &[0.0, 1.0],
                share: 0.75,
            }),
            ..Targets::of(&[0, 1], &[1.0, 0.0])
        };
        let mixed = loss.apply(&logits, &mixed).unwrap();
        let alone = Targets::of(&[0, 0], &[0.75, 0.25]);
        let alone = loss.apply(&logits, &alone).unwrap();
        assert!((mixed.mean - alone.mean).abs() < 1e-12, "{config:?}");
        assert!((mixed.weight - alone.weight).abs() < 1e-12, "{config:?}");
    }
}

#[test]
fn an_image_weight_of_two_equals_the_image_twice() {
    let rows = [[0.3f32, -0.2], [1.5, 0.4]];
    let once = Tensor::new(&rows, &Device::Cpu).unwrap();
    let twice = Tensor::new(&[rows[0], rows[1], rows[1]], &Device::Cpu).unwrap();
    for mut config in LossConfig::all() {
        if let LossConfig::CrossEntropy(loss) = &mut config {
            loss.class_weights = ClassWeights::Overrides(vec![1.0, 3.0]);
        }
        let loss = Objective::new(&config, 2, []).unwrap();
        let weighted = loss
            .apply(&once, &Targets::of(&[0, 1], &[1.0, 2.0]))
            .unwrap();
        let repeated = loss
            .apply(&twice, &Targets::of(&[0, 1, 1], &[1.0; 3]))
            .unwrap();
        assert!((weighted.mean - repeated.mean).abs() < 1e-12, "{config:?}");
        assert_eq!(weighted.weight, repeated.weight);
    }
}

#[test]
fn each_gradient_is_that_of_its_loss() {
    for config in LossConfig::all() {
        let loss = Objective::new(&config, 3, []).unwrap();
        let mean = |logits: [[f32; 3]; 2]| {
            let logits = Tensor::new(&logits, &Device::Cpu).unwrap();
            let loss = loss
                .apply(&logits, &Targets::of(&[0, 2], &[1.0, 0.5]))
                .unwrap();
            (loss.mean, loss.gradient().to_vec2::<f32>().unwrap())
        };
        let logits = [[0.5f32, -1.0, 0.25], [1.5, 0.0, -0.75]];
        let (_, gradient) = mean(logits);
        for at in 0..6 {
            let moved = |by: f32| {
                let mut moved = logits;
                moved[at / 3][at % 3] += by;
                mean(moved).0
            };
            // These values are exact in f32.
            let slope = (moved(1.0 / 256.0) - moved(-1.0 / 256.0)) * 128.0;
            let ours = f64::from(gradient[at / 3][at % 3]);
            assert!(
                (ours - slope).abs() < 1e-4,
                "{config:?}: {ours}, not {slope}"
            );
        }
    }
}

#[test]
fn batches_with_a_teacher_accumulate_to_one_batch() {
    // The loss is entirely the teacher's, so class weights must not affect accumulation.
    let config = LossConfig::CrossEntropy(CrossEntropyConfig {
        class_weights: ClassWeights::Overrides(vec![1.0, 7.0]),
        ..CrossEntropyConfig::default()
    });
    let loss = Objective::new(&config, 2, []).unwrap();
    let rows = [[0.3f32, -0.2], [1.5, 0.4], [-2.0, 1.0]];
    let taught = |rows: &[[f32; 2]], labels: &[u32]| {
        let logits: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
        let logits = Tensor::new(logits, &Device::Cpu).unwrap();
        let teacher = (&logits * 0.5).unwrap();
        let distillation = Distillation {
            logits: &teacher,
            temperature: 2.0,
            weight: 1.0,
        };
        let targets = Targets::of(labels, &[1.0; 3][..labels.len()]);
        loss.taught(&logits, &targets, Some(distillation)).unwrap()
    };
    let whole = taught(&rows, &[0, 1, 1]);
    let parts = [taught(&rows[..1], &[0]), taught(&rows[1..], &[1, 1])];
    let sum: f64 = parts.iter().map(|part| part.mean * part.weight).sum();
    let weight: f64 = parts.iter().map(|part| part.weight).sum();
    assert!((sum / weight - whole.mean).abs() < 1e-12);
    assert_eq!(weight, whole.weight);
}
