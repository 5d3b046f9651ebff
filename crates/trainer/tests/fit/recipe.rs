//! The switches of a recipe, each against what it says it does.

use std::sync::atomic::AtomicBool;

use candle_core::Device;
use mobilenet::{ModelConfig, Network, Precision, Variant, weights};
use optim::{EmaConfig, LrScheduleConfig, OptimizerConfig, Warmup};
use trainer::config::{ConfigError, DistillationConfig, LossConfig, Monitor};
use trainer::{Classifier, Error, InferenceOptions, LrRange, RunDir, Splits};

use crate::scene::{Scene, arena};

fn last_loss(scene: &Scene) -> f64 {
    scene.run().1.epochs().last().unwrap().train_loss
}

fn named<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// The precisions this machine computes in; `learning` tests what is said of the others.
fn precisions() -> Vec<Precision> {
    let config = ModelConfig::new(Variant::Small, 2);
    let mut network = Network::new(&config, 0, &Device::Cpu).unwrap();
    let all = Precision::ALL.into_iter();
    all.filter(|&precision| network.set_precision(precision).is_ok())
        .collect()
}

/// Every optimizer with every schedule, loss and precision, for a few steps: the loss falls.
#[test]
fn every_optimizer_learns_by_every_schedule_and_loss() {
    let optimizers: [(OptimizerConfig, f64); 7] = [
        (named(r#"{ "type": "adam" }"#), 3e-3),
        (named(r#"{ "type": "adamw" }"#), 3e-3),
        (named(r#"{ "type": "sgd", "momentum": 0.9 }"#), 0.15),
        (named(r#"{ "type": "rmsprop" }"#), 1e-3),
        (named(r#"{ "type": "lion" }"#), 2e-3),
        (named(r#"{ "type": "adabelief", "rectify": false }"#), 3e-3),
        (named(r#"{ "type": "ranger", "k": 2 }"#), 0.2),
    ];
    assert_eq!(optimizers.len(), OptimizerConfig::all().len());
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
    let losses: [LossConfig; 3] = [
        r#"{ "type": "cross_entropy", "label_smoothing": 0.1 }"#,
        r#"{ "type": "focal" }"#,
        r#"{ "type": "binary_cross_entropy" }"#,
    ]
    .map(named);
    let precisions = precisions();
    assert!(precisions.contains(&Precision::F32));
    let mut scene = Scene::new();
    scene.config.train.epochs = 4;
    for (optimizer, learning_rate) in &optimizers {
        for schedule in &schedules {
            let cases = losses
                .iter()
                .flat_map(|loss| precisions.iter().map(move |p| (loss, p)));
            for (loss, precision) in cases {
                scene.config.optimizer = optimizer.clone();
                scene.config.train.learning_rate = *learning_rate;
                scene.config.train.precision = *precision;
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

#[test]
fn small_batches_that_accumulate_are_one_large_batch() {
    let mut scene = Scene::new();
    // Batch normalisation sees the small batches, and dropout its own masks: hold both still.
    let pretrained = scene.run().0.best.unwrap().weights;
    scene.config.model.pretrained = Some(pretrained);
    scene.config.train.epochs = 1;
    scene.config.train.freeze_epochs = 1;
    scene.config.model.dropout = 0.0;
    scene.config.optimizer = named(r#"{ "type": "sgd" }"#);
    scene.config.data.batch_size = 20;
    let large = arena(scene.run().0.network.as_ref());
    scene.config.data.batch_size = 5;
    scene.config.train.accumulate_batches = 4;
    let small = arena(scene.run().0.network.as_ref());
    let largest = large.iter().zip(&small).map(|(a, b)| (a - b).abs());
    let largest = largest.fold(0.0f32, f32::max);
    assert!(largest < 1e-6, "{largest}");
    scene.config.train.accumulate_batches = 1;
    let apart = arena(scene.run().0.network.as_ref());
    assert!(large.iter().zip(&apart).any(|(a, b)| (a - b).abs() > 1e-5));
}

#[test]
fn steps_that_are_left_over_at_the_end_of_an_epoch_are_taken() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    // Five batches: a step of three, and one of two.
    scene.config.train.accumulate_batches = 3;
    scene.config.schedule = named(r#"{ "type": "cosine", "interval": "step" }"#);
    let report = scene.run().1.epochs()[0].clone();
    let rate = scene.config.train.learning_rate;
    assert!(
        (report.learning_rate - rate * 0.5).abs() < 1e-12,
        "{report:?}"
    );
}

#[test]
fn clipping_holds_the_step_of_plain_descent() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.data.batch_size = 40;
    scene.config.optimizer = named(r#"{ "type": "sgd" }"#);
    scene.config.train.learning_rate = 1.0;
    let start = {
        let mut still = Scene::new();
        still.config.train.epochs = 1;
        still.config.train.learning_rate = 1e-30;
        still.config.optimizer = named(r#"{ "type": "sgd" }"#);
        arena(still.run().0.network.as_ref())
    };
    let moved = |scene: &Scene| -> Vec<f32> {
        let end = arena(scene.run().0.network.as_ref());
        end.iter().zip(&start).map(|(a, b)| a - b).collect()
    };
    let norm = |values: &[f32]| {
        values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let free = moved(&scene);
    assert!(norm(&free) > 0.2, "{}", norm(&free));
    scene.config.train.clip_gradient_norm = Some(0.1);
    let length = norm(&moved(&scene));
    assert!((length - 0.1).abs() < 1e-3, "{length}");
    scene.config.train.clip_gradient_norm = None;
    scene.config.train.clip_gradient_value = Some(0.01);
    let clipped = moved(&scene);
    let largest = clipped.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    assert!((largest - 0.01).abs() < 1e-5, "{largest}");
}

#[test]
fn the_backbones_rate_and_layer_decay_slow_what_lies_behind() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.optimizer = named(r#"{ "type": "sgd" }"#);
    scene.config.train.backbone_learning_rate = 0.0;
    let (outcome, _) = scene.run();
    scene.config.train.learning_rate = 1e-30;
    let (still, _) = scene.run();
    let backbone = still.network.parameters().backbone();
    let (ours, still) = (
        arena(outcome.network.as_ref()),
        arena(still.network.as_ref()),
    );
    assert_eq!(ours[backbone.clone()], still[backbone.clone()]);
    assert_ne!(ours[backbone.end..], still[backbone.end..]);
}

#[test]
fn the_average_is_measured_and_saved_beside_the_weights() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 4;
    scene.config.train.monitor = Monitor::ValLoss;
    scene.config.ema = Some(EmaConfig {
        decay: 0.9,
        warmup: false,
    });
    let (outcome, recorder) = scene.run();
    let files = scene.weights_in("run-001");
    let names: Vec<String> = files
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(
        names.iter().any(|name| name.contains("_ema_e")),
        "{names:?}"
    );
    let ema: Vec<f64> = recorder
        .epochs()
        .iter()
        .map(|e| e.ema.unwrap().loss)
        .collect();
    let own: Vec<f64> = recorder.epochs().iter().map(|e| e.val_loss).collect();
    assert!(ema.iter().zip(&own).all(|(a, b)| a != b));
    // The file is what was measured, and the best of both is what the run ends with.
    let file = files
        .iter()
        .find(|path| path.to_string_lossy().contains("_ema_e"))
        .unwrap();
    let (network, metadata) = weights::load(file, &Device::Cpu).unwrap();
    let val = scene.root().join("val");
    let classifier = Classifier::new(&network, &metadata);
    let options = InferenceOptions::default();
    let result = trainer::evaluate(&classifier, &val, options, &mnist_data::NoProgress).unwrap();
    let best = ema.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        (result.loss - best).abs() < 1e-6,
        "{} and {ema:?}",
        result.loss
    );
    let all = ema.into_iter().chain(own).fold(f64::INFINITY, f64::min);
    assert!((outcome.best.unwrap().score - all).abs() < 1e-12);
    assert_eq!(outcome.metadata.score, Some(all));
}

#[test]
fn a_student_comes_closer_to_its_teacher() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 8;
    let (teacher, _) = scene.run();
    let teacher = teacher.best.unwrap().weights;
    scene.config.train.epochs = 3;
    scene.config.train.seed = 5;
    scene.config.distillation = Some(DistillationConfig {
        weight: 1.0,
        ..DistillationConfig::new(&teacher)
    });
    assert!(last_loss(&scene).is_finite());

    // With all of the loss the teacher's, labels do not matter: class weights change nothing.
    let alone = arena(scene.run().0.network.as_ref());
    scene.config.loss = named(r#"{ "type": "focal", "alpha": [1, 5] }"#);
    assert_eq!(arena(scene.run().0.network.as_ref()), alone);

    // A teacher for other classes is refused by name.
    let mut other = Scene::new();
    other.config.train.epochs = 1;
    for split in ["train", "val"] {
        let folder = other.root().join(split);
        std::fs::rename(folder.join("0"), folder.join("zero")).unwrap();
    }
    let (other, _) = other.run();
    scene.config.distillation = Some(DistillationConfig::new(other.best.unwrap().weights));
    let error = scene.error();
    assert!(
        matches!(&error, Error::Config(ConfigError::Invalid { key, .. }) if *key == "distillation.teacher"),
        "{error}"
    );
    assert!(error.to_string().contains("zero"), "{error}");
}

#[test]
fn a_warm_up_never_trains_at_rate_zero() {
    let mut scene = Scene::new();
    scene.config.warmup = Some(Warmup::epochs(2.0));
    let (_, recorder) = scene.run();
    let rates: Vec<f64> = recorder.epochs().iter().map(|e| e.learning_rate).collect();
    assert!(rates.iter().all(|rate| *rate > 0.0), "{rates:?}");
    assert!(rates[0] < rates[1], "{rates:?}");
}

#[test]
fn a_range_test_tries_growing_rates_and_changes_no_weights_on_disk() {
    let scene = Scene::new();
    let splits = Splits::open(&scene.config).unwrap();
    let run = RunDir::next(scene.dir.path(), "lr-find").unwrap();
    let range = LrRange {
        from: 1e-6,
        to: 10.0,
        steps: 40,
    };
    let interrupt = AtomicBool::new(false);
    let find = |range| {
        let run = RunDir::next(scene.dir.path(), "lr-find").unwrap();
        trainer::find_learning_rate(&scene.config, range, &splits, &run, &mut (), &interrupt)
    };
    let curve = find(range).unwrap();
    assert!(curve.points.len() > 20, "{}", curve.points.len());
    let rates: Vec<f64> = curve.points.iter().map(|p| p.learning_rate).collect();
    assert!(rates.is_sorted() && (rates[0] - 1e-6).abs() < 1e-18);
    let suggestion = curve.suggestion().unwrap();
    assert!((1e-6..10.0).contains(&suggestion), "{suggestion}");
    let csv = run.path().join("lr-find.csv");
    curve.write_csv(&csv).unwrap();
    let text = std::fs::read_to_string(csv).unwrap();
    assert!(
        text.starts_with("learning_rate,loss,smoothed_loss\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), curve.points.len() + 1);
    let error = find(LrRange { to: 1e-9, ..range }).unwrap_err().to_string();
    assert!(error.contains("0 < from < to"), "{error}");
}

#[test]
fn networks_that_answer_together_answer_with_their_mean() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let (first, _) = scene.run();
    scene.config.train.seed = 3;
    let (second, _) = scene.run();
    let images = mnist_data::list_images(&scene.root().join("test")).unwrap();
    let predict = |classifier: &Classifier<'_>| {
        let options = InferenceOptions::default();
        trainer::predict(classifier, images.clone(), options, &mnist_data::NoProgress).unwrap()
    };
    let one = Classifier::new(first.network.as_ref(), &first.metadata);
    let other = Classifier::new(second.network.as_ref(), &second.metadata);
    let both = Classifier::new(first.network.as_ref(), &first.metadata)
        .with(second.network.as_ref(), &second.metadata)
        .unwrap();
    let (one, other, both) = (predict(&one), predict(&other), predict(&both));
    for ((a, b), mean) in one.iter().zip(&other).zip(&both) {
        for ((a, b), mean) in a
            .probabilities
            .iter()
            .zip(&b.probabilities)
            .zip(&mean.probabilities)
        {
            assert!(((a + b) / 2.0 - mean).abs() < 1e-6);
        }
    }
    let mut metadata = second.metadata.clone();
    metadata.class_names.reverse();
    let error = Classifier::new(first.network.as_ref(), &first.metadata)
        .with(second.network.as_ref(), &metadata)
        .err()
        .unwrap();
    assert!(error.to_string().contains("classes differ"), "{error}");
}
