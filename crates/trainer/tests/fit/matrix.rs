//! Tests every optimizer with every schedule, loss and precision.

use candle_core::Device;
use mobilenet::{ModelConfig, Network, Precision, Variant};
use optim::{LrScheduleConfig, OptimizerConfig};
use trainer::config::LossConfig;

use crate::scene::{Scene, named};

/// The precisions that this machine supports, each once: bf16 is one of those that name instructions. `learning` tests the
/// messages about unsupported ones.
fn precisions() -> Vec<Precision> {
    let config = ModelConfig::new(Variant::SMALL, 2);
    let mut network = Network::new(&config, 0, &Device::Cpu).unwrap();
    let all = Precision::ALL.into_iter();
    all.filter(|&precision| precision != Precision::Bf16)
        .filter(|&precision| network.set_precision(precision).is_ok())
        .collect()
}

/// After a few steps, the loss has fallen for every optimizer, schedule, loss and precision.
#[test]
fn every_optimizer_learns_by_every_schedule_and_loss() {
    let optimizers = OptimizerConfig::all()
        .into_iter()
        .map(|rule| match rule.name() {
            "sgd" => (named(r#"{ "type": "sgd", "momentum": 0.9 }"#), 0.15),
            "rmsprop" => (rule, 1e-3),
            "lion" => (rule, 2e-3),
            "adabelief" => (named(r#"{ "type": "adabelief", "rectify": false }"#), 3e-3),
            "ranger" => (named(r#"{ "type": "ranger", "k": 2 }"#), 0.2),
            _ => (rule, 3e-3),
        });
    let schedules: [LrScheduleConfig; 9] = [
        r#""constant""#,
        r#"{ "type": "plateau", "mode": "max" }"#,
        r#"{ "type": "step", "step_size": 3 }"#,
        r#"{ "type": "multi_step", "milestones": [3] }"#,
        r#"{ "type": "sgdr", "t_0": 4, "interval": "step" }"#,
        r#"{ "type": "cosine", "interval": "step" }"#,
        r#"{ "type": "one_cycle", "div_factor": 2 }"#,
        r#"{ "type": "polynomial", "interval": "step" }"#,
        r#"{ "type": "exponential", "gamma": 0.9 }"#,
    ]
    .map(named);
    assert_eq!(schedules.len(), LrScheduleConfig::all().len());
    let mut losses = LossConfig::all();
    losses[0] = named(r#"{ "type": "cross_entropy", "label_smoothing": 0.1 }"#);
    let precisions = precisions();
    assert!(precisions.contains(&Precision::F32));
    let mut scene = Scene::digits();
    scene.config.train.epochs = 4;
    for (optimizer, learning_rate) in optimizers {
        for schedule in &schedules {
            let cases = losses
                .iter()
                .flat_map(|loss| precisions.iter().map(move |p| (loss, p)));
            for (loss, precision) in cases {
                scene.config.optimizer = optimizer.clone();
                scene.config.train.learning_rate = learning_rate;
                scene.config.train.precision = (*precision).into();
                scene.config.schedule = schedule.clone();
                scene.config.loss = loss.clone();
                scene.config.validate().unwrap();
                let epochs: Vec<f64> = scene
                    .run()
                    .1
                    .epochs()
                    .iter()
                    .map(|e| e.train_loss)
                    .collect();
                let best = epochs[1..].iter().copied().fold(f64::INFINITY, f64::min);
                assert!(
                    best < epochs[0],
                    "{} by {} on {loss:?} in {precision}: {epochs:?}",
                    optimizer.name(),
                    schedule.name()
                );
            }
        }
    }
}
