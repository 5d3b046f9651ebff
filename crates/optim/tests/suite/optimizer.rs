//! Tests of groups, freezing, mismatched states, and threads.

use std::ops::Range;

use optim::{Error, Matrix, Optimizer, OptimizerConfig, ParameterGroup, SgdConfig};
use proptest::prelude::*;

use crate::formulas::uniform;

/// Every rule, with every combination of state buffers.
pub(crate) fn configs() -> Vec<OptimizerConfig> {
    let options = [
        r#"{ "type": "sgd", "momentum": 0.9, "dampening": 0.1 }"#,
        r#"{ "type": "adam", "amsgrad": true }"#,
        r#"{ "type": "rmsprop", "momentum": 0.9 }"#,
        r#"{ "type": "rmsprop", "centered": true }"#,
        r#"{ "type": "rmsprop", "momentum": 0.9, "centered": true }"#,
        r#"{ "type": "adabelief", "rectify": false, "amsgrad": true }"#,
        r#"{ "type": "ranger", "k": 2 }"#,
    ];
    let options = options.map(|text| serde_json::from_str(text).unwrap());
    OptimizerConfig::all().into_iter().chain(options).collect()
}

pub(crate) fn values(stream: u32, len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| uniform(stream, i) as f32).collect()
}

fn halves(len: usize) -> Vec<ParameterGroup> {
    vec![
        ParameterGroup::new("backbone", 0..len / 2),
        ParameterGroup::new("head", len / 2..len),
    ]
}

fn steps(optimizer: &mut Optimizer, parameters: &mut [f32], steps: Range<u32>) {
    for step in steps {
        let gradients = values(100 + step, parameters.len());
        optimizer.step(parameters, &gradients, 0.01).unwrap();
    }
}

fn step_counts(optimizer: &Optimizer) -> Vec<u64> {
    let groups = optimizer.counters().groups;
    groups.iter().map(|group| group.steps).collect()
}

#[test]
fn a_frozen_group_stands_still_and_then_starts_afresh() {
    for config in configs() {
        let mut optimizer = Optimizer::new(&config, 20, halves(20)).unwrap();
        let start = values(1, 20);
        let mut parameters = start.clone();
        optimizer.set_frozen("backbone", true).unwrap();
        steps(&mut optimizer, &mut parameters, 0..3);
        assert_eq!(parameters[..10], start[..10], "{config:?}");
        assert!((10..20).all(|i| parameters[i] != start[i]), "{config:?}");
        assert_eq!(step_counts(&optimizer), [0, 3]);
        for (name, buffer) in optimizer.state().buffers {
            assert!(
                buffer[..10].iter().all(|&v| v == 0.0),
                "{name} of {config:?}"
            );
            assert!(
                buffer[10..].iter().all(|&v| v != 0.0),
                "{name} of {config:?}"
            );
        }

        optimizer.set_frozen("backbone", false).unwrap();
        steps(&mut optimizer, &mut parameters, 3..5);
        assert_eq!(step_counts(&optimizer), [2, 5]);
        // After it is unfrozen, the group continues like one that has taken no steps.
        let mut fresh = Optimizer::new(&config, 20, halves(20)).unwrap();
        let mut expected = start.clone();
        steps(&mut fresh, &mut expected, 3..5);
        assert_eq!(parameters[..10], expected[..10], "{config:?}");
    }
}

#[test]
fn a_state_of_something_else_is_refused_and_changes_nothing() {
    let [adam, adamw, sgd, momentum] = [
        r#"{ "type": "adam" }"#,
        r#"{ "type": "adamw" }"#,
        r#"{ "type": "sgd" }"#,
        r#"{ "type": "sgd", "momentum": 0.9 }"#,
    ]
    .map(|text| serde_json::from_str::<OptimizerConfig>(text).unwrap());
    let new = |config, len| Optimizer::new(config, len, halves(len)).unwrap();
    let one_group = |config| Optimizer::new(config, 20, halves(20)[..1].to_vec()).unwrap();
    let mut optimizer = new(&adam, 20);
    steps(&mut optimizer, &mut values(1, 20), 0..2);
    let before = optimizer.state();
    for (other, part) in [
        (new(&adamw, 20).state(), "`adamw`"),
        (new(&sgd, 20).state(), "`sgd`"),
        (
            new(&adam, 18).state(),
            "exp_avg hold 18 values, expected 20",
        ),
        (one_group(&adam).state(), "`backbone`, `head`"),
    ] {
        let error = optimizer.load_state(other).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(optimizer.state(), before);
    }
    let mut counted = before;
    counted.counters.groups[0].steps = u64::MAX;
    optimizer.load_state(counted).unwrap();
    steps(&mut optimizer, &mut values(1, 20), 0..1);
    assert_eq!(step_counts(&optimizer), [u64::MAX, 3]);
    let error = new(&momentum, 20).load_state(new(&sgd, 20).state());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("momentum_buffer"), "{error}");
}

#[test]
fn one_thread_and_many_give_the_same_bits() {
    let len = 300_001;
    let gradients = values(2, len);
    for config in configs() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                // Rows that are longer and rows that are shorter than one task.
                let matrix = |range, row| Matrix {
                    range,
                    row,
                    is_convolution: true,
                };
                let matrices = [matrix(0..100_000, 25_000), matrix(200_000..300_000, 10)];
                let mut optimizer = Optimizer::new(&config, len, halves(len))
                    .and_then(|optimizer| optimizer.with_matrices(&matrices))
                    .unwrap();
                let mut parameters = values(1, len);
                // From the sixth step on, a rectified rule divides by the variance.
                for _ in 0..10 {
                    optimizer.step(&mut parameters, &gradients, 0.01).unwrap();
                }
                parameters
            })
        };
        let alone = run(1);
        assert_ne!(alone, values(1, len));
        assert!(alone == run(2) && alone == run(7), "{config:?}");
    }
}

#[test]
fn a_nan_gradient_stays_visible_in_its_parameter() {
    for config in configs() {
        let new = || Optimizer::new(&config, 20, halves(20)).unwrap();
        let (mut clean, mut optimizer) = (new(), new());
        let mut expected = values(1, 20);
        let mut parameters = expected.clone();
        for step in 0..12 {
            steps(&mut clean, &mut expected, step..step + 1);
            let mut gradients = values(100 + step, 20);
            if step == 1 {
                gradients[7] = f32::NAN;
            }
            optimizer.step(&mut parameters, &gradients, 0.01).unwrap();
            assert_eq!(parameters[7].is_nan(), step >= 1, "{config:?}");
            assert_eq!(parameters[..7], expected[..7], "{config:?}");
            assert_eq!(parameters[8..], expected[8..], "{config:?}");
        }
    }
    // The variance is infinity minus infinity, which is NaN.
    let centered = serde_json::from_str(r#"{ "type": "rmsprop", "centered": true }"#).unwrap();
    let mut optimizer = Optimizer::new(&centered, 4, halves(4)).unwrap();
    let mut parameters = [1.0; 4];
    optimizer.step(&mut parameters, &[1e30; 4], 0.01).unwrap();
    assert!(parameters.iter().all(|p| p.is_nan()), "{parameters:?}");
}

#[test]
fn groups_with_rate_zero_and_values_outside_groups_stay() {
    let groups = vec![ParameterGroup {
        learning_rate_multiplier: 0.0,
        ..ParameterGroup::new("still", 0..2)
    }];
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), 4, groups).unwrap();
    let mut parameters = [1.0, 2.0, 3.0, 4.0];
    optimizer.step(&mut parameters, &[1.0; 4], 0.1).unwrap();
    assert_eq!(parameters, [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn groups_that_do_not_fit_are_refused_by_name() {
    let new = |groups| {
        let made = Optimizer::new(&OptimizerConfig::default(), 10, groups);
        made.unwrap_err().to_string()
    };
    let group = ParameterGroup::new;
    let twice = ParameterGroup {
        ranges: vec![0..5, 2..3],
        ..group("a", 0..0)
    };
    for (groups, parts) in [
        (
            vec![group("a", 0..5), group("b", 4..10)],
            ["`b`", "overlaps range 0..5 of group `a`"],
        ),
        (vec![twice], ["`a`", "overlaps"]),
        (vec![group("a", 5..11)], ["`a`", "within the 10 parameters"]),
        (
            vec![group("a", 0..1), group("a", 1..2)],
            ["`a`", "two groups have this name"],
        ),
    ] {
        let error = new(groups);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let mut wrong = group("a", 0..5);
    wrong.learning_rate_multiplier = f64::NAN;
    let error = new(vec![wrong]);
    assert!(
        error.contains("group a: `learning_rate_multiplier` is NaN"),
        "{error}"
    );
    let mut wrong = group("a", 0..5);
    wrong.weight_decay = Some(-1.0);
    let error = new(vec![wrong]);
    assert!(error.contains("group a: `weight_decay` is -1"), "{error}");
}

#[test]
fn matrices_that_do_not_fit_are_refused() {
    let ranger = serde_json::from_str(r#"{ "type": "ranger" }"#).unwrap();
    let with = |config: &OptimizerConfig, range, row| {
        let matrix = Matrix {
            range,
            row,
            is_convolution: false,
        };
        Optimizer::new(config, 20, halves(20))
            .unwrap()
            .with_matrices(&[matrix])
    };
    for (range, row, part) in [
        (0..9, 2, "whole rows"),
        (0..8, 0, "whole rows"),
        (12..24, 2, "whole rows"),
        (8..12, 2, "`backbone`"),
    ] {
        let error = with(&ranger, range, row).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(with(&ranger, 2..8, 3).is_ok());
    let inner = |first, second| {
        let group = ParameterGroup {
            ranges: vec![first, second],
            ..ParameterGroup::new("inner", 0..0)
        };
        let matrix = Matrix {
            range: 4..12,
            row: 2,
            is_convolution: false,
        };
        let optimizer = Optimizer::new(&ranger, 20, vec![group]).unwrap();
        optimizer.with_matrices(&[matrix])
    };
    // A matrix outside every group is accepted, and its values never change. A matrix that is half
    // inside a group is refused.
    let mut parameters = values(1, 20);
    let mut outside = inner(0..4, 12..20).unwrap();
    steps(&mut outside, &mut parameters, 0..3);
    assert_eq!(parameters[4..12], values(1, 20)[4..12]);
    assert!(inner(0..12, 15..20).is_ok());
    for (first, second) in [(0..8, 12..20), (0..4, 8..20), (4..8, 8..12)] {
        let error = inner(first, second).unwrap_err().to_string();
        assert!(error.contains("`inner`"), "{error}");
    }
    // A rule that ignores matrices accepts any matrix.
    assert!(with(&OptimizerConfig::default(), 8..12, 2).is_ok());
}

#[test]
fn a_call_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), 4, halves(4)).unwrap();
    let mut parameters = [1.0; 4];
    let short = optimizer.step(&mut parameters[..3], &[1.0; 4], 0.1);
    assert!(matches!(
        short,
        Err(Error::Length {
            expected: 4,
            found: 3,
            ..
        })
    ));
    let long = optimizer.step(&mut parameters, &[1.0; 5], 0.1);
    assert!(matches!(
        long,
        Err(Error::Length {
            expected: 4,
            found: 5,
            ..
        })
    ));
    for rate in [-0.1, f64::NAN, f64::INFINITY] {
        let error = optimizer
            .step(&mut parameters, &[1.0; 4], rate)
            .unwrap_err();
        assert!(error.to_string().contains("`learning_rate`"), "{error}");
    }
    let error = optimizer.set_frozen("neck", true).unwrap_err().to_string();
    assert!(
        error.contains("`neck`") && error.contains("`backbone`, `head`"),
        "{error}"
    );
    assert_eq!(
        (parameters, step_counts(&optimizer)),
        ([1.0; 4], vec![0, 0])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any division of the buffer into groups, each element changes as if it were alone in the
    /// buffer. Elements outside every group do not change.
    #[test]
    fn any_cut_into_groups_steps_the_same_elements(
        cuts in prop::collection::btree_set(0usize..60_000, 2..12),
        used in prop::collection::vec(any::<bool>(), 12),
    ) {
        let len = 60_000;
        let cuts: Vec<usize> = cuts.into_iter().collect();
        let (mut even, mut odd) = (Vec::new(), Vec::new());
        for (index, pair) in cuts.windows(2).enumerate().filter(|(index, _)| used[*index]) {
            [&mut even, &mut odd][index % 2].push(pair[0]..pair[1]);
        }
        let inside = |i: &usize| even.iter().chain(&odd).any(|range| range.contains(i));
        let is_inside: Vec<bool> = (0..len).map(|i| inside(&i)).collect();
        let config = OptimizerConfig::Sgd(SgdConfig::default());
        let group = |name, ranges| ParameterGroup { ranges, ..ParameterGroup::new(name, 0..0) };
        let groups = vec![group("even", even), group("odd", odd)];
        let mut optimizer = Optimizer::new(&config, len, groups).unwrap();
        let (start, gradients) = (values(1, len), values(2, len));
        let mut parameters = start.clone();
        optimizer.step(&mut parameters, &gradients, 0.5).unwrap();
        for i in 0..len {
            let step = if is_inside[i] { 0.5 * gradients[i] } else { 0.0 };
            prop_assert_eq!(parameters[i], start[i] - step, "element {}", i);
        }
    }
}
