//! Tests how images and labels reach the network.

use std::fs;
use std::sync::atomic::AtomicBool;

use mnist_data::{ImageFolder, MixConfig, Preset, TtaConfig, WeightPattern};
use trainer::config::DataSource;
use trainer::{FoldsConfig, InferenceOptions, Prediction, RunDir, Splits};

use crate::scene::{SIDE, Scene, arena, predictions, stripes, unpack};

#[test]
fn augmented_runs_do_not_depend_on_the_number_of_threads_that_decode() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 2;
    let plain = arena(scene.run().0.network.as_ref());
    scene.config.augment = Preset::Digits.into();
    scene.config.mix = MixConfig {
        mixup_alpha: 0.2,
        cutmix_alpha: 1.0,
        ..MixConfig::default()
    };
    let mut weights = Vec::new();
    for workers in [1, 4] {
        scene.config.data.workers = Some(workers);
        let (outcome, recorder) = scene.run();
        assert!(recorder.epochs().iter().all(|e| e.train_loss.is_finite()));
        weights.push(arena(outcome.network.as_ref()));
    }
    assert_eq!(weights[0], weights[1]);
    assert_ne!(weights[0], plain);
}

#[test]
fn features_are_kept_only_of_images_that_do_not_change() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 2;
    scene.config.train.freeze_epochs = 2;
    let kept = |scene: &Scene| {
        let events = scene.run().1.events;
        events
            .iter()
            .any(|e| matches!(e, trainer::Event::FeaturesReady { .. }))
    };
    assert!(kept(&scene));
    scene.config.augment = Preset::Digits.into();
    assert!(!kept(&scene));
}

#[test]
fn images_that_weigh_nothing_teach_nothing() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.data.sample_weights.patterns = vec![WeightPattern {
        pattern: "1/**".to_owned(),
        weight: 0.0,
    }];
    // If the network learns from only one class, the bias of the other class only falls.
    let bias = |scene: &Scene| {
        let (outcome, _) = scene.run();
        let arena = arena(outcome.network.as_ref());
        arena[arena.len() - 2..].to_vec()
    };
    let one_sided = bias(&scene);
    assert!(one_sided[0] > one_sided[1] + 1e-3, "{one_sided:?}");
    // Images of weight 0 have no effect when mixed into others either.
    scene.config.mix.mixup_alpha = 1.0;
    let mixed = bias(&scene);
    assert!(mixed[0] > mixed[1] + 1e-3, "{mixed:?}");
    scene.config.mix = MixConfig::default();
    scene.config.data.sample_weights.patterns[0].pattern = "2/**".to_owned();
    assert!(scene.error().to_string().contains("matches no sample"));
}

#[test]
fn labels_come_from_csv_files_as_from_folders() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let expected = arena(scene.run().0.network.as_ref());
    let root = scene.root();
    for split in ["train", "val", "test"] {
        let images = mnist_data::list_images(&root.join(split)).unwrap();
        let rows = images.iter().map(|image| {
            let id = image.id();
            let class = id.split('/').next().unwrap();
            format!("{split}/{id},{class}\n")
        });
        let text = "path,label\n".to_owned() + &rows.collect::<String>();
        fs::write(root.join(format!("{split}.csv")), text).unwrap();
    }
    scene.config.data.source = DataSource::Csv;
    let (outcome, _) = scene.run();
    assert_eq!(arena(outcome.network.as_ref()), expected);
    let classifier = outcome.classifier().unwrap();
    let evaluate = |data: &str| {
        let options = InferenceOptions::default();
        trainer::evaluate(
            &classifier,
            &root.join(data),
            options,
            &mnist_data::NoProgress,
        )
        .unwrap()
    };
    let mut by_table = evaluate("test.csv");
    let by_folder = evaluate("test");
    // Ids are the paths as written in the CSV file.
    for (one, other) in by_table.mistakes.iter_mut().zip(&by_folder.mistakes) {
        one.id.clone_from(&other.id);
    }
    assert_eq!(by_table, by_folder);

    // A file of class names determines the label order.
    fs::write(root.join("names.txt"), "1\n0\n").unwrap();
    scene.config.data.class_names = Some(root.join("names.txt"));
    assert_eq!(scene.run().0.metadata.class_names, ["1", "0"]);
}

#[test]
fn a_tenth_is_held_out_where_there_is_no_validation_split() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    fs::remove_dir_all(scene.root().join("val")).unwrap();
    let splits = Splits::open(&scene.config).unwrap();
    assert_eq!(
        (splits.train.samples.len(), splits.val.samples.len()),
        (36, 4)
    );
    let ids = |images: &ImageFolder| -> Vec<String> {
        images
            .samples
            .iter()
            .map(|sample| sample.id().to_owned())
            .collect()
    };
    assert!(
        ids(&splits.val)
            .iter()
            .all(|id| !ids(&splits.train).contains(id))
    );
    scene.run();
}

#[test]
fn folds_are_trained_one_after_the_other_and_told_together() {
    let four = FoldsConfig { count: 4, seed: 0 };
    let mut scene = Scene::new();
    scene.config.train.epochs = 2;
    let splits = Splits::open(&scene.config).unwrap();
    let run = RunDir::next(scene.dir.path(), "folds").unwrap();
    let interrupt = AtomicBool::new(false);
    let validate = |run: &RunDir| {
        let (config, sink) = (&scene.config, &mut ());
        trainer::cross_validate(config, &splits, &four, run, None, sink, &interrupt).unwrap()
    };
    let result = validate(&run).unwrap();
    assert_eq!(result.folds.len(), 4);
    for (index, fold) in result.folds.iter().enumerate() {
        assert_eq!((fold.train_images, fold.val_images), (42, 14));
        assert!(
            fold.weights
                .starts_with(run.path().join(format!("fold-{}", index + 1)))
        );
        assert!(fold.weights.is_file());
    }
    let accuracies = result.folds.iter().map(|fold| fold.scores.accuracy);
    assert!((result.accuracy.mean - accuracies.sum::<f64>() / 4.0).abs() < 1e-12);
    interrupt.store(true, std::sync::atomic::Ordering::Relaxed);
    let run = RunDir::next(scene.dir.path(), "folds").unwrap();
    assert_eq!(validate(&run), None);
}

#[test]
fn views_of_an_image_are_averaged() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 8;
    let (outcome, _) = scene.run();
    let classifier = outcome.classifier().unwrap();
    // Two classes of images: brighter to the right, and brighter to the left.
    let shaded = |image: usize| -> Vec<u8> {
        let pixels = stripes(image).into_iter().enumerate();
        pixels
            .map(|(i, pixel)| pixel + (i % SIDE) as u8 * 3)
            .collect()
    };
    let mirrored = |image: usize| -> Vec<u8> {
        let pixels = shaded(image);
        let rows = pixels.chunks(SIDE);
        rows.flat_map(|row| row.iter().rev().copied()).collect()
    };
    let predict = |shown: &dyn Fn(usize) -> Vec<u8>, tta| {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("images");
        unpack(dir.path(), &root, shown);
        let images = mnist_data::list_images(&root.join("test")).unwrap();
        let options = InferenceOptions {
            tta,
            batch_size: 3,
            ..InferenceOptions::default()
        };
        predictions(&classifier, images, options)
    };
    let one = predict(&shaded, TtaConfig::None);
    let other = predict(&mirrored, TtaConfig::None);
    let views = predict(&shaded, TtaConfig::Flip);
    assert_eq!((one.len(), other.len()), (views.len(), views.len()));
    for ((one, other), both) in one.iter().zip(&other).zip(&views) {
        assert_eq!((&one.id, &other.id), (&both.id, &both.id));
        let pairs = one.probabilities.iter().zip(&other.probabilities);
        for ((a, b), mean) in pairs.zip(&both.probabilities) {
            let difference = ((a + b) / 2.0 - mean).abs();
            assert!(difference < 1e-6, "{}: {a}, {b}, {mean}", both.id);
        }
    }
    let differ =
        |(a, b): (&Prediction, &Prediction)| (a.probabilities[0] - b.probabilities[0]).abs() > 1e-5;
    assert!(one.iter().zip(&other).any(differ));
}
