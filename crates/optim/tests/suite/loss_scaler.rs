//! Compares dynamic loss scaling with torch.

use optim::{Error, LossScaler, LossScalerConfig, LossScalerState};
use serde::Deserialize;

use crate::formulas::uniform;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: LossScalerConfig,
    /// After each step: the scale, and the value of a gradient of 3 after unscaling. The second is
    /// `None` if the gradient was infinite.
    steps: Vec<(f32, Option<f32>)>,
}

/// Must equal `torch.amp.GradScaler`'s `unscale_`, `step` and `update` to the last bit.
#[test]
fn every_scale_is_that_of_torch() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/loss_scales.json")).unwrap();
    assert_eq!(golden.cases.len(), 4);
    for Case { config, steps } in golden.cases {
        assert_eq!(steps.len(), 300);
        let mut scaler = LossScaler::new(&config).unwrap();
        for (index, (scale, gradient)) in steps.into_iter().enumerate() {
            let mut ours = [if gradient.is_some() {
                3.0
            } else {
                f32::INFINITY
            }];
            let finite = scaler.unscale(&mut ours).unwrap();
            assert_eq!(finite, gradient.is_some(), "{config:?}: step {index}");
            if let Some(gradient) = gradient {
                assert_eq!(ours, [gradient], "{config:?}: step {index}");
            }
            assert_eq!(scaler.scale(), scale, "{config:?}: step {index}");
        }
    }
}

#[test]
fn one_bad_number_anywhere_leaves_the_step_out() {
    let mut scaler = LossScaler::new(&LossScalerConfig::default()).unwrap();
    for len in [1, 16 * 1024, 100_003] {
        for place in [0, len / 2, len - 1] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let scale = scaler.scale();
                let mut gradient: Vec<f32> =
                    (0..len as u32).map(|i| uniform(1, i) as f32).collect();
                assert!(scaler.unscale(&mut gradient.clone()).unwrap());
                gradient[place] = bad;
                assert!(!scaler.unscale(&mut gradient).unwrap());
                assert_eq!(scaler.scale(), scale / 2.0);
            }
        }
    }
    assert!(scaler.unscale(&mut []).unwrap());
}

#[test]
fn a_gradient_that_overflows_at_every_scale_is_an_error() {
    let mut scaler = LossScaler::new(&LossScalerConfig::default()).unwrap();
    let error = (0..100).find_map(|_| scaler.unscale(&mut [f32::NAN]).err());
    let error = error.unwrap().to_string();
    assert!(error.contains("lower the learning rate"), "{error}");
}

#[test]
fn settings_and_states_outside_their_domains_are_refused() {
    for (text, key) in [
        (r#"{ "init_scale": 0 }"#, "init_scale"),
        (r#"{ "init_scale": 1e39 }"#, "init_scale"),
        (r#"{ "init_scale": 1e-44 }"#, "init_scale"),
        (r#"{ "growth_factor": 1 }"#, "growth_factor"),
        (r#"{ "backoff_factor": 1 }"#, "backoff_factor"),
        (r#"{ "backoff_factor": 0 }"#, "backoff_factor"),
        (r#"{ "growth_interval": 0 }"#, "growth_interval"),
    ] {
        let config: LossScalerConfig = serde_json::from_str(text).unwrap();
        let error = LossScaler::new(&config).unwrap_err();
        let named = matches!(&error, Error::Setting { key: found, .. } if *found == key);
        assert!(named, "{text}: {error}");
    }
    let mut scaler = LossScaler::new(&LossScalerConfig::default()).unwrap();
    for scale in [0.0, 1e-44, -1.0, f32::NAN, f32::INFINITY] {
        let state = LossScalerState {
            scale,
            good_steps: 3,
        };
        assert!(matches!(scaler.load_state(state), Err(Error::State(_))));
    }
    assert_eq!(scaler.scale(), 65536.0);
}

#[test]
fn a_count_of_good_steps_does_not_overflow() {
    for growth_interval in [2000, u32::MAX] {
        let config = LossScalerConfig {
            growth_interval,
            ..LossScalerConfig::default()
        };
        let mut scaler = LossScaler::new(&config).unwrap();
        let state = LossScalerState {
            scale: 8.0,
            good_steps: u32::MAX,
        };
        scaler.load_state(state).unwrap();
        assert!(scaler.unscale(&mut [1.0]).unwrap());
        let state = LossScalerState {
            scale: 16.0,
            good_steps: 0,
        };
        assert_eq!(scaler.state(), state, "every {growth_interval} steps");
    }
}

#[test]
fn a_scale_never_becomes_so_small_that_it_makes_the_gradient_infinite() {
    let config = LossScalerConfig {
        backoff_factor: 1e-300,
        ..LossScalerConfig::default()
    };
    let mut scaler = LossScaler::new(&config).unwrap();
    assert!(!scaler.unscale(&mut [f32::NAN]).unwrap());
    let mut gradient = [scaler.scale(), 0.0];
    assert!(scaler.unscale(&mut gradient).unwrap());
    assert_eq!(gradient, [1.0, 0.0]);
}
