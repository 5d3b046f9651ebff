//! Tests that a saved state, restored into a new object, continues the run to the last bit.

use optim::Interval::{Epoch, Step};
use optim::{
    Ema, EmaConfig, EmaState, LossScaler, LossScalerConfig, LrSchedule, LrScheduleConfig, Matrix,
    Optimizer, OptimizerConfig, OptimizerState, ParameterGroup, PlateauConfig, Warmup,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::formulas::metric;
use crate::optimizer::{configs, values};
use crate::schedule;

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

const LEN: usize = 64;

/// An optimizer with two groups, one of them in several ranges, and with a matrix in each group.
fn optimizer(config: &OptimizerConfig) -> Optimizer {
    let groups = vec![
        ParameterGroup {
            ranges: vec![40..LEN, 0..10],
            ..ParameterGroup::new("outer", 0..0)
        },
        ParameterGroup {
            learning_rate_multiplier: 0.3,
            weight_decay: Some(0.02),
            ..ParameterGroup::new("inner", 10..40)
        },
    ];
    let matrices = [(2..10, 4, false), (16..32, 8, true)];
    let matrices = matrices.map(|(range, row, is_convolution)| Matrix {
        range,
        row,
        is_convolution,
    });
    let optimizer = Optimizer::new(config, LEN, groups).unwrap();
    optimizer.with_matrices(&matrices).unwrap()
}

/// Takes a step. Halfway through the run it freezes a group, so that a restored optimizer must keep
/// the flag.
fn take_step(optimizer: &mut Optimizer, parameters: &mut [f32], step: u32) {
    match step {
        4 => optimizer.set_frozen("inner", true).unwrap(),
        8 => optimizer.set_frozen("inner", false).unwrap(),
        _ => {}
    }
    let rate = 0.01 / f64::from(1 + step);
    let gradients = values(100 + step, LEN);
    optimizer.step(parameters, &gradients, rate).unwrap();
}

#[test]
fn an_optimizer_continues_from_any_step() {
    // The slow weights of this Ranger synchronise rarely, so most states are saved between two
    // synchronisations.
    let slow = serde_json::from_str(r#"{ "type": "ranger", "k": 5 }"#).unwrap();
    for config in configs().into_iter().chain([slow]) {
        let steps = 18;
        let mut straight = optimizer(&config);
        let mut parameters = values(1, LEN);
        let mut saved = Vec::new();
        for step in 0..steps {
            saved.push((straight.state(), parameters.clone()));
            take_step(&mut straight, &mut parameters, step);
            assert_ne!(parameters, saved[step as usize].1, "{config:?}");
        }
        for (at, (state, mut others)) in (0..).zip(saved) {
            let state = OptimizerState {
                counters: through_json(&state.counters),
                buffers: through_json(&state.buffers),
            };
            let mut resumed = optimizer(&config);
            resumed.load_state(state).unwrap();
            for step in at..steps {
                take_step(&mut resumed, &mut others, step);
            }
            assert_eq!(others, parameters, "{config:?} from step {at}");
            assert_eq!(resumed.state(), straight.state(), "{config:?} from {at}");
        }
    }
}

#[test]
fn a_schedule_continues_from_any_step_and_from_between_step_and_epoch() {
    let (epochs, steps) = (12, 5);
    let tired = LrScheduleConfig::Plateau(PlateauConfig {
        patience: 0,
        factor: 0.7,
        cooldown: 2,
        ..PlateauConfig::default()
    });
    let configs = schedule::all(Step).into_iter().chain(schedule::all(Epoch));
    // Takes the next step, or ends the epoch after its last step.
    let advance = |schedule: &mut LrSchedule, event: usize| match event % (steps + 1) {
        last if last == steps => schedule.epoch_end(metric((event / (steps + 1)) as u32)),
        _ => schedule.step(),
    };
    let events = epochs * (steps + 1);
    let (mut cooling, mut reduced) = (0, 0);
    for config in configs.chain([tired]) {
        for warmup in [None, Some(Warmup::steps(7))] {
            let new = || LrSchedule::new(&config, warmup.as_ref(), 0.1, epochs, steps).unwrap();
            let mut straight = new();
            let (mut saved, mut rates) = (Vec::new(), Vec::new());
            for event in 0..events {
                saved.push(straight.state());
                rates.push(straight.learning_rate());
                advance(&mut straight, event);
            }
            for (at, state) in saved.iter().enumerate() {
                if let Some(plateau) = &state.plateau {
                    cooling += usize::from(plateau.cooldown_counter > 1);
                    reduced += usize::from(plateau.learning_rate < 0.1);
                }
                let mut resumed = new();
                resumed.load_state(through_json(state)).unwrap();
                for (event, rate) in rates.iter().enumerate().skip(at) {
                    let ours = resumed.learning_rate();
                    assert_eq!(ours, *rate, "{config:?} from {at}: {event}");
                    advance(&mut resumed, event);
                }
                assert_eq!(resumed, straight, "{config:?} from {at}");
            }
        }
    }
    assert!(cooling > 0 && reduced > 0, "{cooling} {reduced}");
}

#[test]
fn an_average_continues_from_any_step() {
    // The warm-up ends after the eighth step.
    let decay = 0.5;
    for warmup in [true, false] {
        let config = EmaConfig { decay, warmup };
        let mut straight = Ema::new(&config, &values(0, LEN)).unwrap();
        let mut saved = Vec::new();
        for step in 1..=20 {
            saved.push(straight.state());
            straight.update(&values(step, LEN)).unwrap();
        }
        for (at, state) in (1..).zip(saved) {
            let state = EmaState {
                updates: through_json(&state.updates),
                average: through_json(&state.average),
            };
            let mut resumed = Ema::new(&config, &[0.0; LEN]).unwrap();
            resumed.load_state(state).unwrap();
            for step in at..=20 {
                resumed.update(&values(step, LEN)).unwrap();
            }
            assert_eq!(resumed, straight, "from step {at}, warm-up: {warmup}");
        }
    }
}

#[test]
fn a_loss_scaler_continues_from_any_step() {
    let config = LossScalerConfig {
        growth_factor: 1.7,
        growth_interval: 4,
        ..LossScalerConfig::default()
    };
    let gradient = |step| match step % 11 {
        9 => [f32::INFINITY],
        _ => [3.0],
    };
    let mut straight = LossScaler::new(&config).unwrap();
    let (mut saved, mut ours) = (Vec::new(), Vec::new());
    for step in 0..40 {
        saved.push(straight.state());
        let mut gradient = gradient(step);
        straight.unscale(&mut gradient).unwrap();
        ours.push(gradient);
    }
    assert!((0..4).all(|n| saved.iter().any(|state| state.good_steps == n)));
    for (at, state) in saved.iter().enumerate() {
        let mut resumed = LossScaler::new(&config).unwrap();
        resumed.load_state(through_json(state)).unwrap();
        for (step, expected) in ours.iter().enumerate().skip(at) {
            let mut gradient = gradient(step);
            resumed.unscale(&mut gradient).unwrap();
            assert_eq!(gradient, *expected, "from step {at}: {step}");
        }
        assert_eq!(resumed, straight, "from step {at}");
    }
}
