//! Tests of accumulated gradients and of the moving average.

use optim::{Accumulator, Ema, EmaConfig, EmaState, Error};

use crate::optimizer::values;

/// The expected values, in f64: torch.optim.swa_utils.get_ema_multi_avg_fn
/// (`lerp_(ema, values, 1 - decay)`), with the decay of TensorFlow's ExponentialMovingAverage with
/// `num_updates`.
#[test]
fn an_average_is_that_of_the_formula() {
    for (decay, warmup) in [(0.9, false), (0.9, true), (0.3, true), (0.999, true)] {
        let mut ema = Ema::new(&EmaConfig { decay, warmup }, &values(0, 50)).unwrap();
        let mut exact: Vec<f64> = values(0, 50).into_iter().map(f64::from).collect();
        for step in 1..=100 {
            let new = values(step, 50);
            ema.update(&new).unwrap();
            let n = f64::from(step);
            let limit = if warmup { (1.0 + n) / (10.0 + n) } else { 1.0 };
            let decay = if decay > limit { limit } else { decay };
            for (exact, new) in exact.iter_mut().zip(new) {
                *exact = decay * *exact + (1.0 - decay) * f64::from(new);
            }
            for (ours, exact) in ema.average().iter().zip(&exact) {
                let off = (f64::from(*ours) - exact).abs();
                assert!(
                    off < 1e-6,
                    "{decay}, {warmup}: step {step} is off by {off:e}"
                );
            }
        }
    }
}

#[test]
fn a_warm_up_forgets_the_start_first() {
    let mut ema = Ema::new(&EmaConfig::default(), &[0.0]).unwrap();
    let mut exact = 0.0;
    for step in 1..=20 {
        ema.update(&[1.0]).unwrap();
        exact = 1.0 - (1.0 - exact) * f64::from(1 + step) / f64::from(10 + step);
        assert!((f64::from(ema.average()[0]) - exact).abs() < 1e-6);
    }
    let slow = EmaConfig {
        warmup: false,
        ..EmaConfig::default()
    };
    let mut slow = Ema::new(&slow, &[0.0]).unwrap();
    slow.update(&[1.0]).unwrap();
    assert!((slow.average()[0] - 0.001).abs() < 1e-6);
}

#[test]
fn a_state_or_values_of_something_else_are_refused() {
    let mut ema = Ema::new(&EmaConfig::default(), &values(0, 9)).unwrap();
    ema.update(&values(1, 9)).unwrap();
    let before = ema.clone();
    let other = Ema::new(&EmaConfig::default(), &[0.0; 8]).unwrap();
    assert!(matches!(
        ema.load_state(other.state()),
        Err(Error::Length { .. })
    ));
    assert!(matches!(ema.update(&[0.0; 8]), Err(Error::Length { .. })));
    assert_eq!(ema, before);
    let counted = EmaState {
        updates: u64::MAX,
        average: vec![0.0; 9],
    };
    ema.load_state(counted).unwrap();
    ema.update(&[1.0; 9]).unwrap();
    assert!((ema.average()[0] - 0.001).abs() < 1e-6);
    let config = EmaConfig {
        decay: 1.0,
        ..EmaConfig::default()
    };
    let error = Ema::new(&config, &[]).unwrap_err().to_string();
    assert!(error.contains("`decay` is 1"), "{error}");
}

#[test]
fn gradients_of_parts_make_that_of_the_whole() {
    // Mean gradients over 3, 1 and 4 images, and over all 8.
    let parts = [
        (3.0, values(1, 20)),
        (1.0, values(2, 20)),
        (4.0, values(3, 20)),
    ];
    let mut gradients = Accumulator::default();
    for round in 0..2 {
        for (weight, part) in &parts {
            gradients.add(part, *weight).unwrap();
        }
        for (index, ours) in gradients.mean().iter().enumerate() {
            let sum: f64 = parts
                .iter()
                .map(|(w, part)| w * f64::from(part[index]))
                .sum();
            assert!((f64::from(*ours) - sum / 8.0).abs() < 1e-6, "round {round}");
        }
    }
    assert_eq!(gradients.mean(), [0.0; 20]);
}

#[test]
fn the_mean_does_not_depend_on_how_large_all_weights_are() {
    for scale in [1e-300, 1e-39, 1.0, 1e39, 1e300] {
        let mut gradients = Accumulator::default();
        gradients.add(&[1.0, 0.0, 3e38], 3.0 * scale).unwrap();
        assert_eq!(gradients.clone().mean(), [1.0, 0.0, 3e38], "{scale:e}");
        gradients.add(&[5.0, 2.0, 3e38], scale).unwrap();
        assert_eq!(gradients.mean(), [2.0, 0.5, 3e38], "{scale:e}");
    }
}

#[test]
fn a_gradient_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut gradients = Accumulator::default();
    gradients.add(&[1.0, 2.0], 1.0).unwrap();
    for wrong in [vec![], vec![1.0], vec![1.0; 3]] {
        let error = gradients.add(&wrong, 1.0);
        let (expected, found) = (2, wrong.len());
        let what = "gradients".to_owned();
        assert_eq!(
            error,
            Err(Error::Length {
                what,
                expected,
                found
            })
        );
    }
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = gradients.add(&[1.0, 2.0], weight).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`weight` is {weight}, expected")),
            "{error}"
        );
    }
    assert_eq!(gradients.mean(), [1.0, 2.0]);
    assert!(matches!(
        gradients.add(&[1.0], 1.0),
        Err(Error::Length { .. })
    ));
    assert_eq!(gradients.mean(), [0.0, 0.0]);
}

/// If a gradient overflowed, the mean shows it even after more gradients are added.
#[test]
fn a_mean_of_infinite_values_is_not_finite() {
    for (first, second) in [(f32::INFINITY, 1.0), (1.0, f32::NAN), (1.0, f32::INFINITY)] {
        let mut gradients = Accumulator::default();
        for value in [first, second, 1.0] {
            gradients.add(&[value, 1.0], 1.0).unwrap();
        }
        let mean = gradients.mean();
        assert!(!mean[0].is_finite() && mean[1] == 1.0, "{mean:?}");
    }
}

#[test]
fn one_thread_and_many_give_the_same_bits() {
    let len = 100_001;
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut ema = Ema::new(&EmaConfig::default(), &values(0, len)).unwrap();
            let mut gradients = Accumulator::default();
            for step in 1..4 {
                ema.update(&values(step, len)).unwrap();
                gradients.add(&values(step, len), 0.3).unwrap();
            }
            (ema.average().to_vec(), gradients.mean().to_vec())
        })
    };
    let alone = run(1);
    assert!(alone == run(2) && alone == run(7));
}
