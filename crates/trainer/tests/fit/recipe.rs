//! Tests that settings of a recipe do what their documentation says.

use classifier::Classifier;
use std::sync::atomic::AtomicBool;

use optim::{EmaConfig, LrSchedule, Warmup};
use trainer::config::Monitor;
use trainer::{InferenceOptions, LrRange, RunDir, Splits};

use crate::scene::{Scene, arena, named, predictions};

#[test]
fn small_batches_that_accumulate_are_one_large_batch() {
    let mut scene = Scene::new();
    // Batch normalisation and dropout depend on the division into batches, so the backbone is frozen and dropout is
    // off.
    let pretrained = scene.run().0.best.unwrap().weights;
    scene.config.model.pretrained = Some(pretrained);
    scene.config.train.epochs = 1;
    scene.config.train.freeze_epochs = 1;
    scene.config.model.dropout = Some(0.0);
    scene.config.optimizer = named(r#"{ "type": "sgd" }"#);
    scene.config.data.batch_size = 20;
    let large = arena(scene.run().0.network.as_ref());
    scene.config.data.batch_size = 5;
    scene.config.train.accumulate_batches = 4;
    let small = arena(scene.run().0.network.as_ref());
    for (a, b) in large.iter().zip(&small) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }
    scene.config.train.accumulate_batches = 1;
    let apart = arena(scene.run().0.network.as_ref());
    assert!(large.iter().zip(&apart).any(|(a, b)| (a - b).abs() > 1e-5));
}

#[test]
fn steps_that_are_left_over_at_the_end_of_an_epoch_are_taken() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    // Five batches make two steps: one of three batches, one of two.
    scene.config.train.accumulate_batches = 3;
    scene.config.schedule = named(r#"{ "type": "cosine", "interval": "step" }"#);
    let report = scene.run().1.epochs()[0].clone();
    let rate = scene.config.train.learning_rate;
    assert!(
        (report.learning_rate - rate * 0.5).abs() < 1e-12,
        "{report:?}"
    );
    let way = |accumulate| {
        let mut scene = Scene::new();
        scene.config.train.epochs = 1;
        scene.config.train.accumulate_batches = accumulate;
        // A step of plain gradient descent at rate 1 has the length of the clipped gradient.
        scene.config.optimizer = named(r#"{ "type": "sgd" }"#);
        scene.config.train.clip_gradient_norm = Some(1e-4);
        scene.config.train.learning_rate = 1.0;
        moved(&scene)
    };
    let (one, two) = (norm(&way(5)), norm(&way(3)));
    assert!((one - 1e-4).abs() < 1e-6, "{one}");
    assert!(two > 1.2e-4 && two < 2.01e-4, "{two}");
}

/// The initial weights, from a run with a rate that changes nothing.
fn start_of(scene: &Scene) -> Vec<f32> {
    let mut still = Scene::one_step(1e-30);
    still.config.model = scene.config.model.clone();
    arena(still.run().0.network.as_ref())
}

/// How far a run moves each parameter.
fn moved(scene: &Scene) -> Vec<f32> {
    let end = arena(scene.run().0.network.as_ref());
    let start = start_of(scene);
    end.iter().zip(&start).map(|(a, b)| a - b).collect()
}

fn norm(values: &[f32]) -> f64 {
    let squares = values.iter().map(|v| f64::from(*v).powi(2));
    squares.sum::<f64>().sqrt()
}

#[test]
fn clipping_holds_the_step_of_plain_descent() {
    let mut scene = Scene::one_step(1.0);
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
fn the_backbones_rate_and_layer_decay_slow_earlier_blocks() {
    let mut scene = Scene::one_step(0.5);
    let (outcome, _) = scene.run();
    let parameters = outcome.network.parameters();
    let part = |name: &str| {
        let segments = parameters.segments().iter();
        let mut found = segments.filter(|segment| segment.name.starts_with(name));
        found.next().unwrap().range.clone()
    };
    let (stem, first, head) = (
        part("features.0."),
        part("features.1."),
        part("classifier."),
    );
    let plain = moved(&scene);
    scene.config.train.backbone_learning_rate = 0.0;
    let held = moved(&scene);
    assert!(norm(&held[parameters.backbone()]) < 1e-20);
    assert_eq!(held[parameters.head()], plain[parameters.head()]);
    scene.config.train.backbone_learning_rate = 1.0;
    scene.config.train.layer_decay = 0.8;
    let decayed = moved(&scene);
    // The stem is block 0, the last block of the backbone is 12, and the head counts as 13.
    for (range, factor) in [
        (stem, 0.8f64.powi(13)),
        (first, 0.8f64.powi(12)),
        (head, 1.0),
    ] {
        let (plain, decayed) = (norm(&plain[range.clone()]), norm(&decayed[range.clone()]));
        assert!(plain > 0.0);
        let ratio = decayed / plain / factor;
        assert!((ratio - 1.0).abs() < 0.01, "{range:?}: {ratio}");
    }
}

#[test]
fn the_plateau_follows_the_monitored_score() {
    for (monitor, mode) in [(Monitor::ValLoss, "min"), (Monitor::ValAccuracy, "max")] {
        let mut scene = Scene::new();
        scene.config.train.epochs = 8;
        scene.config.train.monitor = monitor;
        // Improvements are rare here, so the rate falls.
        let schedule = format!(
            r#"{{ "type": "plateau", "mode": "{mode}", "patience": 1, "threshold": 0.1 }}"#
        );
        scene.config.schedule = named(&schedule);
        let (_, recorder) = scene.run();
        let epochs = recorder.epochs();
        let rate = scene.config.train.learning_rate;
        let mut expected = LrSchedule::new(&scene.config.schedule, None, rate, 8, 5).unwrap();
        for epoch in &epochs {
            assert_eq!(epoch.learning_rate, expected.learning_rate());
            (0..5).for_each(|_| expected.step());
            expected.epoch_end(match monitor {
                Monitor::ValLoss => epoch.val_loss,
                _ => epoch.val_accuracy,
            });
        }
        assert!(epochs[7].learning_rate < rate, "{monitor:?}: {epochs:?}");
    }
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
    // The file contains the averaged weights that were validated. The run ends with the better of weights and average.
    let file = files
        .iter()
        .find(|path| path.to_string_lossy().contains("_ema_e"))
        .unwrap();
    let val = scene.root().join("val");
    let classifier = Classifier::open(file).unwrap();
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
    let files = std::fs::read_dir(scene.dir.path()).unwrap();
    let runs = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for run in runs.filter(|name| name.starts_with("lr-find")) {
        assert_eq!(
            scene.weights_in(&run),
            [""; 0].map(std::path::PathBuf::from)
        );
    }
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
    let predict = |classifier: &Classifier| {
        let options = InferenceOptions::default();
        predictions(classifier, images.clone(), options)
    };
    let (one, other) = (first.classifier().unwrap(), second.classifier().unwrap());
    let both = one.clone().with(other.clone()).unwrap();
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
    let reversed = Classifier::new(second.network, metadata).unwrap();
    let error = first.classifier().unwrap().with(reversed).unwrap_err();
    assert!(error.to_string().contains("classes differ"), "{error}");
}
