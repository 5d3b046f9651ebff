//! Tests distillation.

use trainer::config::{ConfigError, DistillationConfig};
use trainer::{Error, InferenceOptions, Outcome};

use crate::scene::{Scene, arena, named, predictions, stripes, unpack};

#[test]
fn a_student_comes_closer_to_its_teacher() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 8;
    // A wrong teacher: it confuses horizontal and vertical stripes.
    let mut wrong = Scene::new();
    wrong.config = scene.config.clone();
    let root = wrong.dir.path().join("wrong");
    unpack(wrong.dir.path(), &root, |image| stripes(image + 1));
    wrong.config.data.root = Some(root);
    let (taught_by, _) = wrong.run();
    let teacher = taught_by.best.clone().unwrap().weights;
    scene.config.distillation = Some(DistillationConfig {
        weight: 1.0,
        ..DistillationConfig::new(&teacher)
    });
    // The mean difference between the probabilities of two networks on unseen images.
    let images = mnist_data::list_images(&scene.root().join("test")).unwrap();
    let answers = |outcome: &Outcome| -> Vec<f32> {
        let classifier = outcome.classifier().unwrap();
        let options = InferenceOptions::default();
        let predictions = predictions(&classifier, images.clone(), options).into_iter();
        predictions.flat_map(|p| p.probabilities).collect()
    };
    let taught_by = answers(&taught_by);
    // The mean of four seeds: a single short run may end anywhere.
    let distance = |scene: &mut Scene| {
        let of_a_seed = |seed| {
            scene.config.train.seed = seed;
            let answers = answers(&scene.run().0);
            let differences = answers.iter().zip(&taught_by).map(|(a, b)| (a - b).abs());
            differences.sum::<f32>() / answers.len() as f32
        };
        (1..=4).map(of_a_seed).sum::<f32>() / 4.0
    };
    let with = distance(&mut scene);
    let distillation = scene.config.distillation.take();
    let without = distance(&mut scene);
    assert!(
        with < 0.8 * without,
        "{with} with a teacher, {without} without"
    );
    scene.config.distillation = distillation;

    // If the loss is only the teacher's term, labels do not matter, so class weights change nothing.
    let alone = arena(scene.run().0.network.as_ref());
    scene.config.loss = named(r#"{ "type": "focal", "alpha": [1, 5] }"#);
    assert_eq!(arena(scene.run().0.network.as_ref()), alone);
    let alone_with = scene.config.distillation.clone();

    // A teacher with other classes is refused, and the message names it.
    let mut other = Scene::new();
    other.config.train.epochs = 1;
    for split in ["train", "val", "test"] {
        let folder = other.root().join(split);
        std::fs::rename(folder.join("0"), folder.join("zero")).unwrap();
    }
    let (outcome, _) = other.run();
    scene.config.distillation = Some(DistillationConfig::new(outcome.best.unwrap().weights));
    // Numbers are class names too, if the weights file says so.
    other.config.distillation = Some(DistillationConfig::new(teacher));
    for error in [scene.error(), other.error()] {
        assert!(
            matches!(&error, Error::Config(ConfigError::Invalid { key, .. }) if *key == "distillation.teacher"),
            "{error}"
        );
        assert!(error.to_string().contains("zero"), "{error}");
    }

    // The teacher sees the mixed images too.
    scene.config.distillation = alone_with;
    scene.config.mix.cutmix_alpha = 1.0;
    assert!(arena(scene.run().0.network.as_ref()) != alone);
}
