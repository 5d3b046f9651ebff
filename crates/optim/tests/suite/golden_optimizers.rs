//! Compares a hundred steps of each optimizer with torch or the package pytorch-optimizer.

use std::collections::BTreeMap;

use optim::{Matrix, Optimizer, OptimizerConfig, ParameterGroup};
use serde::Deserialize;

use crate::formulas::{SIZES, gradients, parameters};

#[derive(Deserialize)]
struct Golden {
    frozen_until: u32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: OptimizerConfig,
    learning_rate: f64,
    /// The parameters after each stored step.
    parameters: BTreeMap<u32, Vec<f32>>,
}

/// Differences are relative to the value. For values smaller than this, they are relative to this.
const SMALLEST: f32 = 0.1;

#[test]
fn every_optimizer_follows_its_reference_for_a_hundred_steps() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/optimizers.json")).unwrap();
    assert!(golden.cases.len() >= 33);
    for rule in OptimizerConfig::all() {
        let mut names = golden.cases.iter().map(|case| case.config.name());
        assert!(names.any(|name| name == rule.name()), "{}", rule.name());
    }
    for case in &golden.cases {
        let worst = follow(case, golden.frozen_until);
        println!("{}: {worst:.1e}", case.name);
    }
}

/// Compares every stored step, value by value, and returns the largest relative difference.
fn follow(case: &Case, frozen_until: u32) -> f32 {
    let first = SIZES[0] + SIZES[1];
    let len = SIZES.iter().sum();
    let groups = vec![
        ParameterGroup::new("first", 0..first),
        ParameterGroup {
            learning_rate_multiplier: 0.1,
            weight_decay: Some(0.02),
            // Two ranges in any order act as one range.
            ranges: vec![first + SIZES[2]..len, first..first + SIZES[2]],
            ..ParameterGroup::new("second", 0..0)
        },
    ];
    // A 4 × 6 matrix, and a convolution of 2 × 4 × 2 × 2.
    let matrices = [(8..32, 6, false), (32..64, 16, true)];
    let matrices = matrices.map(|(range, row, is_convolution)| Matrix {
        range,
        row,
        is_convolution,
    });
    let mut optimizer = Optimizer::new(&case.config, len, groups)
        .and_then(|optimizer| optimizer.with_matrices(&matrices))
        .unwrap();
    let mut ours = parameters();
    let (mut worst, mut compared) = (0.0f32, 0);
    for step in 1..=100 {
        let frozen = case.name.ends_with("_frozen") && step <= frozen_until;
        optimizer.set_frozen("second", frozen).unwrap();
        let rate = case.learning_rate * (1.0 - f64::from(step) / 200.0);
        optimizer.step(&mut ours, &gradients(step), rate).unwrap();
        if let Some(torch) = case.parameters.get(&step) {
            assert_eq!(torch.len(), len);
            for (index, (a, b)) in ours.iter().zip(torch).enumerate() {
                let difference = (a - b).abs() / b.abs().max(SMALLEST);
                // Compared value by value, because `f32::max` would ignore NaN.
                assert!(
                    difference <= 1e-6,
                    "{}: value {index} is {a:e} after step {step}, not {b:e}",
                    case.name
                );
                worst = worst.max(difference);
            }
            compared += 1;
        }
    }
    assert_eq!(
        compared, 5,
        "{}: a stored step was never reached",
        case.name
    );
    worst
}
