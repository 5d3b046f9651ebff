//! Compares the rates of each schedule with torch's. Schedules are read from a configuration.

use optim::{LrSchedule, LrScheduleConfig, PlateauMode, Warmup};
use serde::Deserialize;

use crate::formulas::metric;

#[derive(Deserialize)]
struct Golden {
    base_learning_rate: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    schedule: LrScheduleConfig,
    warmup: Option<Warmup>,
    epochs: usize,
    steps_per_epoch: usize,
    /// The rate of each optimizer step.
    rates: Vec<f64>,
}

#[test]
fn every_schedule_has_the_rates_of_torch() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/schedules.json")).unwrap();
    assert_eq!(golden.cases.len(), 30);
    for case in &golden.cases {
        let name = format!("{:?} behind {:?}", case.schedule, case.warmup);
        let (config, warmup) = (&case.schedule, case.warmup.as_ref());
        let (epochs, steps) = (case.epochs, case.steps_per_epoch);
        let base = golden.base_learning_rate;
        let mut schedule = LrSchedule::new(config, warmup, base, epochs, steps).unwrap();
        let watched = |epoch| match config {
            LrScheduleConfig::Plateau(plateau) if plateau.mode == Some(PlateauMode::Max) => {
                2.0 - metric(epoch)
            }
            _ => metric(epoch),
        };
        assert_eq!(case.rates.len(), epochs * steps, "{name}");
        for (index, torch) in case.rates.iter().enumerate() {
            let ours = schedule.learning_rate();
            let difference = (ours - torch).abs() / torch;
            assert!(
                difference <= 1e-12,
                "{name}: step {index}: {ours:e}, torch {torch:e}"
            );
            schedule.step();
            if (index + 1) % steps == 0 {
                schedule.epoch_end(watched((index / steps) as u32));
            }
        }
    }
}
