//! Temperatures in weights files.

use classifier::Classifier;
use mnist_data::NoProgress;
use trainer::{Evaluation, InferenceOptions, Splits, TEMPERATURES};

use crate::scene::{Scene, named};

/// The scores on the validation images with this temperature.
fn scores(scene: &Scene, classifier: Classifier) -> Evaluation {
    let splits = Splits::open(&scene.config).unwrap();
    let (images, name) = splits.measured(trainer::Measured::Validation);
    let options = InferenceOptions::default();
    trainer::evaluate_images(&classifier, images, name, options, &NoProgress).unwrap()
}

/// Each file has the temperature with the smallest loss on the validation images for its own weights.
#[test]
fn each_weights_file_has_its_own_temperature() {
    let mut scene = Scene::digits();
    scene.config.ema = Some(named(r#"{ "decay": 0.9 }"#));
    // Enough images to learn from: temperatures of a network that guesses are at the end of their range.
    scene.config.data.limit = None;
    scene.config.train.checkpoints = named(r#""every_epoch""#);
    let (outcome, _) = scene.run();
    let run = outcome.best.as_ref().unwrap().weights.parent().unwrap();
    let files = scene.weights_in(run.file_name().unwrap().to_str().unwrap());
    assert_eq!(files.len(), 6, "{files:?}");
    let mut temperatures = Vec::new();
    for file in &files {
        let plain = Classifier::open(file).unwrap();
        let fitted = plain.metadata().temperature.unwrap();
        let loss =
            |temperature| scores(&scene, plain.clone().with_temperature(temperature).unwrap()).loss;
        let least = loss(fitted);
        for other in [fitted * 1.05, fitted / 1.05] {
            let is_worse = loss(other) > least;
            assert!(
                is_worse || !TEMPERATURES.contains(&other),
                "{file:?}: {fitted} {other}"
            );
        }
        let calibrated = scores(&scene, plain.clone().calibrated().unwrap());
        assert_eq!(
            (calibrated.temperature, calibrated.loss),
            (Some(fitted), least)
        );
        let uncalibrated = scores(&scene, plain);
        assert_eq!(uncalibrated.temperature, None);
        assert_eq!(uncalibrated.confusion, calibrated.confusion);
        assert!(uncalibrated.loss >= least);
        temperatures.push(fitted);
    }
    let is_inside = |temperature: &f64| (0.06..19.0).contains(temperature);
    temperatures.retain(is_inside);
    temperatures.dedup();
    assert!(temperatures.len() > 3, "{temperatures:?}");
    let best = Classifier::open(&outcome.best.as_ref().unwrap().weights).unwrap();
    assert_eq!(outcome.metadata.temperature, best.metadata().temperature);
}
