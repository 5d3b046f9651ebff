//! Tests that training, validation, evaluation and fine-tuning frame images in the same way.

use std::sync::Arc;

use classifier::Classifier;
use mnist_data::{Fit, Framing, ImageSize, Interpolation, NoProgress, Orientation, VALIDATION};
use mobilenet::weights::{Normalisation, WeightsMetadata, describe};
use trainer::{Event, InferenceOptions};

use crate::scene::Scene;

const SIZE: ImageSize = ImageSize {
    height: 16,
    width: 24,
};

/// A short run on images that are cropped to a rectangle.
fn cropped() -> Scene {
    let mut scene = Scene::new();
    scene.config.data.image_size = SIZE;
    scene.config.data.fit = Some(Fit::Crop);
    scene.config.data.interpolation = Some(Interpolation::Bicubic);
    scene.config.data.crop_pct = Some(0.8);
    scene
}

fn expected() -> Framing {
    Framing {
        crop_pct: 0.8,
        ..Framing::TIMM
    }
}

#[test]
fn weights_say_what_they_were_trained_on_and_are_evaluated_on_the_same() {
    let scene = cropped();
    let (outcome, _) = scene.run();
    let best = outcome.best.unwrap();
    let metadata = describe(&best.weights).unwrap().unwrap();
    assert_eq!((metadata.image_size, metadata.framing), (SIZE, expected()));
    assert_eq!(metadata.orientation, Orientation::Apply);

    let evaluate = |metadata: &WeightsMetadata| {
        let network = Arc::clone(&outcome.network);
        let classifier = Classifier::new(network, metadata.clone()).unwrap();
        let val = scene.root().join(VALIDATION);
        trainer::evaluate(&classifier, &val, InferenceOptions::default(), &NoProgress).unwrap()
    };
    let same = evaluate(&metadata);
    assert_eq!(same.accuracy, best.scores.accuracy);
    assert!((same.loss - best.scores.loss).abs() < 1e-6, "{same:?}");
    let mut squashed = metadata.clone();
    squashed.framing = Framing::default();
    assert!((evaluate(&squashed).loss - same.loss).abs() > 1e-4);
}

#[test]
fn a_run_that_starts_from_weights_goes_on_as_they_were_trained() {
    let mut first = cropped();
    first.config.train.epochs = 1;
    let half = Normalisation {
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    first.config.data.normalisation = half.into();
    let weights = first.run().0.best.unwrap().weights;
    let mut second = Scene::new();
    second.config.train.epochs = 1;
    second.config.data.normalisation = Default::default();
    second.config.model.pretrained = Some(weights);
    let metadata = second.run().0.metadata;
    assert_eq!(
        (metadata.framing, metadata.normalisation),
        (expected(), half)
    );
    // The size comes from the configuration.
    assert_eq!(metadata.image_size, ImageSize::square(16));
}

#[test]
fn validation_may_be_of_some_images_alone() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let images = |scene: &Scene| {
        let (_, recorder) = scene.run();
        let started = recorder.events.iter().find_map(|event| match event {
            Event::RunStarted { val_images, .. } => Some(*val_images),
            _ => None,
        });
        started.unwrap()
    };
    assert_eq!(images(&scene), 16);
    scene.config.data.val_limit = Some(5);
    assert_eq!(images(&scene), 5);
}
