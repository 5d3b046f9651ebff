//! Tests of counting, warm-up and state of the schedules.

use optim::{
    CosineConfig, Error, ExponentialConfig, Interval, LrSchedule, LrScheduleConfig,
    LrScheduleState, MultiStepConfig, OneCycleConfig, PlateauConfig, PlateauMode, PlateauState,
    PolynomialConfig, SgdrConfig, StepConfig, Warmup,
};
use proptest::prelude::*;

use crate::formulas::metric;

pub(crate) fn all(interval: Interval) -> Vec<LrScheduleConfig> {
    vec![
        LrScheduleConfig::Constant,
        LrScheduleConfig::Plateau(PlateauConfig {
            patience: 1,
            cooldown: 1,
            ..PlateauConfig::default()
        }),
        LrScheduleConfig::Step(StepConfig {
            step_size: 2,
            gamma: 0.5,
        }),
        LrScheduleConfig::MultiStep(MultiStepConfig {
            milestones: vec![1, 4],
            gamma: 0.1,
        }),
        LrScheduleConfig::Sgdr(SgdrConfig {
            t_0: 2,
            t_mult: 2,
            eta_min: 0.0,
            interval,
        }),
        LrScheduleConfig::Cosine(CosineConfig {
            eta_min: 0.0,
            interval,
        }),
        LrScheduleConfig::OneCycle(OneCycleConfig::default()),
        LrScheduleConfig::Polynomial(PolynomialConfig {
            power: 2.0,
            interval,
        }),
        LrScheduleConfig::Exponential(ExponentialConfig { gamma: 0.9 }),
    ]
}

/// The rates in these epochs, starting from the schedule's current state.
fn rates(schedule: &mut LrSchedule, epochs: std::ops::Range<u32>, steps: usize) -> Vec<f64> {
    let mut rates = Vec::new();
    for epoch in epochs {
        for _ in 0..steps {
            rates.push(schedule.learning_rate());
            schedule.step();
        }
        schedule.epoch_end(metric(epoch));
    }
    rates
}

#[test]
fn a_warm_up_rises_step_by_step_and_meets_the_schedule() {
    for config in all(Interval::Step).into_iter().chain(all(Interval::Epoch)) {
        let warmup = Warmup {
            start_factor: 0.1,
            ..Warmup::epochs(1.0)
        };
        let plain = LrSchedule::new(&config, None, 0.1, 8, 5).unwrap();
        let mut warmed = LrSchedule::new(&config, Some(&warmup), 0.1, 8, 5).unwrap();
        let first = plain.learning_rate();
        for step in 0..5 {
            let expected = first * (0.1 + 0.9 * f64::from(step) / 5.0);
            let ours = warmed.learning_rate();
            assert!((ours / expected - 1.0).abs() < 1e-12, "{config:?}: {ours}");
            warmed.step();
        }
        warmed.epoch_end(metric(0));
        assert_eq!(warmed.learning_rate(), first, "{config:?}");
    }
}

#[test]
fn a_schedule_stepped_by_epochs_begins_with_the_first_whole_epoch_after_the_warm_up() {
    let milestones = vec![1];
    let config = LrScheduleConfig::MultiStep(MultiStepConfig {
        milestones,
        gamma: 0.5,
    });
    let warmup = Warmup {
        start_factor: 0.5,
        ..Warmup::steps(3)
    };
    let mut schedule = LrSchedule::new(&config, Some(&warmup), 1.0, 4, 2).unwrap();
    let ours = rates(&mut schedule, 0..4, 2);
    let sixth = 1.0 / 6.0;
    let expected = [0.5, 0.5 + sixth, 0.5 + 2.0 * sixth, 1.0, 1.0, 1.0, 0.5, 0.5];
    let close = ours
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(close, "{ours:?}");
}

#[test]
fn a_plateau_does_not_count_the_epochs_of_the_warm_up() {
    let config = LrScheduleConfig::Plateau(PlateauConfig {
        patience: 0,
        ..PlateauConfig::default()
    });
    let warmup = Warmup::epochs(2.0);
    let mut schedule = LrSchedule::new(&config, Some(&warmup), 1.0, 9, 1).unwrap();
    for metric in [1.0, 2.0, 3.0] {
        schedule.epoch_end(metric); // two epochs of warm-up, then the first epoch of the plateau
    }
    assert_eq!(schedule.learning_rate(), 1.0);
    schedule.epoch_end(3.0);
    assert_eq!(schedule.learning_rate(), 0.1);
}

#[test]
fn a_plateau_watches_in_the_direction_it_is_told() {
    use PlateauMode::{Max, Min};
    for (own, told, rises) in [
        (None, None, false),
        (None, Some(Min), false),
        (None, Some(Max), true),
        (Some(Min), Some(Max), false),
        (Some(Max), Some(Min), true),
    ] {
        let mut config = LrScheduleConfig::Plateau(PlateauConfig {
            mode: own,
            patience: 0,
            ..PlateauConfig::default()
        });
        if let Some(told) = told {
            config.resolve_mode(told);
        }
        for (metrics, improves) in [([1.0, 2.0], rises), ([2.0, 1.0], !rises)] {
            let mut schedule = LrSchedule::new(&config, None, 1.0, 9, 1).unwrap();
            for metric in metrics {
                schedule.epoch_end(metric);
            }
            let rate = if improves { 1.0 } else { 0.1 };
            assert_eq!(schedule.learning_rate(), rate, "{own:?}, told {told:?}");
        }
    }
    let mut constant = LrScheduleConfig::Constant;
    constant.resolve_mode(Max);
    assert_eq!(constant, LrScheduleConfig::Constant);
}

#[test]
fn an_infinite_metric_is_never_an_improvement() {
    let config = LrScheduleConfig::Plateau(PlateauConfig {
        patience: 1,
        ..PlateauConfig::default()
    });
    let mut schedule = LrSchedule::new(&config, None, 1.0, 9, 1).unwrap();
    schedule.epoch_end(f64::NAN);
    schedule.epoch_end(f64::NEG_INFINITY);
    assert_eq!(schedule.learning_rate(), 0.1);
    let state = schedule.state().plateau.unwrap();
    assert_eq!(state.best, None);
}

#[test]
fn a_short_epoch_does_not_shift_those_after_it() {
    for config in all(Interval::Step) {
        let mut full = LrSchedule::new(&config, None, 0.1, 6, 4).unwrap();
        let mut short = full.clone();
        rates(&mut full, 0..1, 4);
        rates(&mut short, 0..1, 3);
        assert_eq!(
            rates(&mut full, 1..6, 4),
            rates(&mut short, 1..6, 4),
            "{config:?}"
        );
    }
}

#[test]
fn behind_the_end_of_the_run_the_last_rate_stays() {
    let cosine = CosineConfig {
        eta_min: 1e-3,
        interval: Interval::Step,
    };
    let cosine = LrScheduleConfig::Cosine(cosine);
    let mut schedule = LrSchedule::new(&cosine, None, 0.1, 3, 2).unwrap();
    rates(&mut schedule, 0..3, 2);
    assert_eq!(rates(&mut schedule, 3..6, 2), [1e-3; 6]);

    let cycle = LrScheduleConfig::OneCycle(OneCycleConfig::default());
    let mut schedule = LrSchedule::new(&cycle, None, 0.1, 3, 2).unwrap();
    let last = rates(&mut schedule, 0..3, 2)[5];
    assert_eq!(rates(&mut schedule, 3..6, 2), [last; 6]);
}

#[test]
fn a_state_of_another_schedule_is_refused() {
    let [constant, plateau, ..] = &all(Interval::Epoch)[..] else {
        panic!("the list of schedules is too short");
    };
    let new = |config| LrSchedule::new(config, None, 0.1, 10, 5).unwrap();
    for (config, other) in [(constant, plateau), (plateau, constant)] {
        let mut schedule = new(config);
        let error = schedule.load_state(new(other).state());
        assert!(matches!(error, Err(Error::State(_))));
        assert_eq!(schedule, new(config));
    }
}

#[test]
fn an_unreachable_state_is_refused() {
    let config = LrScheduleConfig::Plateau(PlateauConfig::default());
    let mut schedule = LrSchedule::new(&config, None, 0.1, 10, 5).unwrap();
    let before = schedule.clone();
    let load = |schedule: &mut LrSchedule, learning_rate, best, num_bad_epochs| {
        let plateau = PlateauState {
            learning_rate,
            best,
            num_bad_epochs,
            cooldown_counter: 0,
        };
        schedule.load_state(LrScheduleState {
            epoch: usize::MAX,
            step: usize::MAX,
            plateau: Some(plateau),
        })
    };
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    for (rate, best, part) in [
        (nan, None, "learning rate is NaN"),
        (infinite, None, "learning rate is inf"),
        (-0.1, None, "learning rate is -0.1"),
        (0.1, Some(nan), "best metric is NaN"),
        (0.1, Some(-infinite), "best metric is -inf"),
    ] {
        let error = load(&mut schedule, rate, best, 0).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(schedule, before);
    }
    // Even the largest counts do not overflow.
    load(&mut schedule, 0.1, Some(1.0), usize::MAX).unwrap();
    schedule.step();
    schedule.epoch_end(2.0);
    assert!((schedule.learning_rate() - 0.01).abs() < 1e-12);
}

#[test]
fn a_run_that_cannot_be_is_refused_by_key() {
    let new = |warmup: Option<Warmup>, base, epochs, steps| {
        LrSchedule::new(
            &LrScheduleConfig::Constant,
            warmup.as_ref(),
            base,
            epochs,
            steps,
        )
    };
    let long = Some(Warmup::steps(51));
    for (made, key) in [
        (new(None, 0.0, 10, 5), "learning_rate"),
        (new(None, f64::NAN, 10, 5), "learning_rate"),
        (new(None, 0.1, 0, 5), "epochs"),
        (new(None, 0.1, 10, 0), "steps_per_epoch"),
        (new(None, 0.1, usize::MAX, 2), "epochs"),
        (new(long, 0.1, 10, 5), "steps"),
        (new(Some(Warmup::epochs(11.0)), 0.1, 10, 5), "epochs"),
        (
            new(Some(Warmup::epochs(f64::INFINITY)), 0.1, 10, 5),
            "epochs",
        ),
    ] {
        let error = made.unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
    assert!(new(Some(Warmup::steps(50)), 0.1, 10, 5).is_ok());
}

#[test]
fn a_lowest_rate_above_the_base_rate_is_refused_by_key() {
    for (lowest, key) in [
        (r#"{ "type": "plateau", "min_lr": LOWEST }"#, "min_lr"),
        (
            r#"{ "type": "sgdr", "t_0": 2, "eta_min": LOWEST }"#,
            "eta_min",
        ),
        (r#"{ "type": "cosine", "eta_min": LOWEST }"#, "eta_min"),
    ] {
        let new = |rate: &str| {
            let config = serde_json::from_str(&lowest.replace("LOWEST", rate)).unwrap();
            LrSchedule::new(&config, None, 0.1, 10, 5)
        };
        assert!(new("0.1").is_ok(), "{lowest}");
        let error = new("0.2").unwrap_err().to_string();
        let found = format!("`{key}` is 0.2 with a learning rate of 0.1");
        assert!(error.contains(&found), "{error}");
    }
}

proptest! {
    /// In any run, with or without a warm-up, every rate is above zero and at most the base rate.
    /// No schedule panics after the end of the run.
    #[test]
    fn every_rate_is_above_zero_and_at_most_the_base(
        epochs in 1usize..9,
        steps in 1usize..7,
        warm in 0.0f64..1.0,
        by_step: bool,
    ) {
        let interval = if by_step { Interval::Step } else { Interval::Epoch };
        let warmup = Warmup::steps((warm * (epochs * steps) as f64) as usize);
        for config in all(interval) {
            for warmup in [None, Some(&warmup)] {
                let mut schedule = LrSchedule::new(&config, warmup, 0.1, epochs, steps).unwrap();
                for rate in rates(&mut schedule, 0..epochs as u32, steps) {
                    prop_assert!(rate > 0.0 && rate <= 0.1 + 1e-15, "{config:?}: {rate}");
                }
                let after = rates(&mut schedule, 0..3, steps + 1);
                prop_assert!(after.iter().all(|rate| rate.is_finite()));
            }
        }
    }
}
