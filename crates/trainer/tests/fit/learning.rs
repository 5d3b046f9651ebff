//! Tests the results of training, and saved weights.

use candle_core::Device;
use classifier::Classifier;
use mnist_data::{BadImage, Fit, Interpolation, NoProgress, TEST};
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ModelDescription, Precision, weights};
use trainer::config::{
    CheckpointPolicy, ClassWeights, CrossEntropyConfig, FocalConfig, LossConfig, Monitor,
};
use trainer::{Ending, Event, InferenceOptions, Outcome};

use crate::scene::{Scene, arena, predictions, statistics};

#[test]
fn a_run_learns_and_leaves_its_best_weights() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 16;
    let (outcome, recorder) = scene.run();
    assert_eq!(outcome.ending, Ending::Completed);
    let epochs = recorder.epochs();
    assert_eq!(epochs.len(), 16);
    assert!(
        epochs[15].train_loss < 0.6 * epochs[0].train_loss,
        "{epochs:?}"
    );
    for epoch in &epochs {
        assert_eq!(epoch.seconds, epoch.times.total());
        for (part, seconds) in epoch.times.parts() {
            assert!(seconds > 0.0, "{part} of {epoch:?}");
        }
    }
    let best = outcome.best.unwrap();
    let top = epochs.iter().map(|e| e.val_accuracy).fold(0.0, f64::max);
    assert_eq!(best.score, top);
    assert!(top > 0.9, "{epochs:?}");
    // The returned network, the file, and the file's metadata agree.
    assert_eq!(scene.weights_in("run-001"), vec![best.weights.clone()]);
    let (network, metadata) = weights::load(&best.weights, &Device::Cpu).unwrap();
    assert_eq!(arena(&network), arena(outcome.network.as_ref()));
    assert_eq!(
        (metadata.epoch, metadata.score),
        (Some(best.epoch), Some(best.score))
    );
    assert_eq!(metadata, outcome.metadata);
    let name = best.weights.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        name,
        format!(
            "mobilenet_v3_small_e{}_{:.5}.safetensors",
            best.epoch, best.score
        )
    );
    // On the validation split, the file gives the score that it was saved with.
    let options = InferenceOptions::default();
    let val = scene.root().join("val");
    let classifier = Classifier::open(&best.weights).unwrap();
    let result = trainer::evaluate(&classifier, &val, options, &NoProgress).unwrap();
    assert!((result.accuracy - best.score).abs() < 1e-12);
    assert!((result.loss - epochs[best.epoch - 1].val_loss).abs() < 1e-6);
    assert_eq!(result.images, 16);
}

/// On a processor without bf16 instructions the run ends before its first batch.
#[test]
fn a_run_in_bf16_learns_too() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 16;
    scene.config.train.precision = Precision::Bf16.into();
    if mobilenet::Isa::best().with_bf16().is_err() {
        let error = scene.error().to_string();
        assert!(error.contains("AVX-512 BF16"), "{error}");
        return;
    }
    let (_, recorder) = scene.run();
    let top = recorder.epochs().into_iter().map(|e| e.val_accuracy);
    assert!(top.fold(0.0, f64::max) > 0.9);
}

#[test]
fn a_run_in_f16_is_for_gpus() {
    let mut scene = Scene::new();
    scene.config.train.precision = Precision::F16.into();
    let error = scene.error().to_string();
    assert!(error.contains("f16 for CUDA GPUs; use f32"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 2;
    let bytes = |outcome: Outcome| std::fs::read(outcome.best.unwrap().weights).unwrap();
    let first = bytes(scene.run().0);
    let second = bytes(scene.run().0);
    assert!(first == second);
    scene.config.train.seed = 2;
    assert!(first != bytes(scene.run().0));
}

#[test]
fn a_frozen_backbone_stands_still_while_the_head_learns() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 2;
    scene.config.train.freeze_epochs = 2;
    let ModelDescription::MobileNet(model) = scene.config.model(2) else {
        panic!("no MobileNet")
    };
    let start = mobilenet::Network::new(&model, scene.config.train.seed, &Device::Cpu);
    let start = start.unwrap();
    let (outcome, recorder) = scene.run();
    let (before, after) = (arena(&start), arena(outcome.network.as_ref()));
    let parameters = start.parameters();
    assert_eq!(before[parameters.backbone()], after[parameters.backbone()]);
    assert_ne!(before[parameters.head()], after[parameters.head()]);
    assert_eq!(statistics(&start), statistics(outcome.network.as_ref()));
    assert!(recorder.events.contains(&Event::Frozen { epoch: 1 }));
    assert!(
        !recorder
            .events
            .iter()
            .any(|e| matches!(e, Event::Unfrozen { .. }))
    );

    scene.config.train.freeze_epochs = 1;
    scene.config.train.monitor = Monitor::ValLoss;
    scene.config.train.checkpoints = CheckpointPolicy::EveryEpoch;
    let (_, recorder) = scene.run();
    assert!(recorder.events.contains(&Event::Unfrozen { epoch: 2 }));
    let [first, second] = &scene.weights_in("run-002")[..] else {
        panic!("two epochs, two files")
    };
    let [first, second] =
        [first, second].map(|path| arena(&weights::load(path, &Device::Cpu).unwrap().0));
    assert_eq!(before[parameters.backbone()], first[parameters.backbone()]);
    assert_ne!(before[parameters.backbone()], second[parameters.backbone()]);
}

/// The logged loss is a mean over images: with `drop_last` off, the last batch of 40 is smaller.
#[test]
fn the_training_loss_is_a_mean_over_images() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.train.drop_last = false;
    scene.config.data.batch_size = 15;
    let (_, recorder) = scene.run();
    let batches: Vec<(usize, f64)> = recorder
        .events
        .iter()
        .filter_map(|event| match event {
            Event::BatchDone { images, loss, .. } => Some((*images, *loss)),
            _ => None,
        })
        .collect();
    let images: Vec<usize> = batches.iter().map(|(images, _)| *images).collect();
    assert_eq!(images, [15, 15, 10]);
    let mean = batches
        .iter()
        .map(|(n, loss)| *n as f64 * loss)
        .sum::<f64>()
        / 40.0;
    assert!((recorder.epochs()[0].train_loss - mean).abs() < 1e-12);
}

/// 41 images in batches of 8 leave a last batch of one image, whose 1x1 maps have no variance.
#[test]
fn an_image_left_alone_in_its_batch_is_left_out() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.train.drop_last = false;
    let train = scene.root().join("train/0");
    let one = std::fs::read_dir(&train)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::copy(one, train.join("extra.png")).unwrap();
    let (outcome, recorder) = scene.run();
    let images = recorder.events.iter().filter_map(|event| match event {
        Event::BatchDone { images, .. } => Some(*images),
        _ => None,
    });
    assert_eq!(images.sum::<usize>(), 40);
    assert!(
        arena(outcome.network.as_ref())
            .iter()
            .all(|value| value.is_finite())
    );
}

#[test]
fn every_option_of_the_recipe_runs() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.loss = LossConfig::CrossEntropy(CrossEntropyConfig {
        label_smoothing: 0.1,
        class_weights: ClassWeights::Balanced,
    });
    scene.config.train.clip_gradient_norm = Some(0.5);
    scene.config.data.limit = Some(16);
    let (outcome, recorder) = scene.run();
    assert!(outcome.epochs[0].train_loss.is_finite());
    let images = recorder.events.iter().find_map(|event| match event {
        Event::RunStarted { train_images, .. } => Some(*train_images),
        _ => None,
    });
    assert_eq!(images, Some(16));

    scene.config.loss = LossConfig::Focal(FocalConfig {
        alpha: ClassWeights::Overrides(vec![1.0, 2.0, 3.0]),
        ..FocalConfig::default()
    });
    assert!(scene.error().to_string().contains("2 classes"));
}

#[test]
fn pretrained_weights_are_the_start() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let (first, _) = scene.run();
    scene.config.model.pretrained = Some(first.best.unwrap().weights);
    scene.config.train.seed = 9;
    scene.config.train.freeze_epochs = 1;
    let (second, recorder) = scene.run();
    let backbone = first.network.parameters().backbone();
    assert_eq!(
        arena(first.network.as_ref())[backbone.clone()],
        arena(second.network.as_ref())[backbone]
    );
    let told = recorder
        .events
        .iter()
        .any(|e| matches!(e, Event::PretrainedLoaded { .. }));
    assert!(told);

    let garbage = scene.dir.path().join("garbage.safetensors");
    std::fs::write(&garbage, "no weights at all").unwrap();
    scene.config.model.pretrained = Some(garbage.clone());
    assert!(
        scene
            .error()
            .to_string()
            .contains(garbage.to_str().unwrap())
    );
}

/// The file is replaced at the end of an epoch that decoded anything, so an unchanged file shows
/// that nothing was decoded.
#[test]
fn an_evaluation_uses_the_decoded_images_on_disk() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let (outcome, _) = scene.run();
    let test = scene.root().join(TEST);
    let evaluate = |disk_cache| {
        let options = InferenceOptions {
            disk_cache,
            ..InferenceOptions::default()
        };
        let classifier = outcome.classifier().unwrap();
        trainer::evaluate(&classifier, &test, options, &NoProgress).unwrap()
    };
    let metadata = &outcome.metadata;
    let size = metadata.image_size;
    // Images written just now are not cached until the file system's clock has ticked.
    std::thread::sleep(std::time::Duration::from_millis(150));
    let expected = evaluate(None);
    assert_eq!(trainer::kept_images(&test, metadata), None);

    let cache = scene
        .config
        .data
        .disk_cache(TEST, size, metadata.framing)
        .unwrap();
    let written = || std::fs::metadata(&cache.path).unwrap().modified().unwrap();
    assert_eq!(evaluate(Some(cache.clone())), expected);
    let first = written();
    assert_eq!(evaluate(Some(cache.clone())), expected);
    assert_eq!(written(), first);

    // Other commands find the cache by the folder, and only read it.
    let kept = trainer::kept_images(&test, metadata).unwrap();
    assert_eq!(
        (&kept.path, kept.read_only),
        (&std::path::absolute(&cache.path).unwrap(), true)
    );
    let other = |change: fn(&mut WeightsMetadata)| {
        let mut other = metadata.clone();
        change(&mut other);
        trainer::kept_images(&test, &other)
    };
    assert_eq!(other(|m| m.image_size.width += 1), None);
    assert_eq!(other(|m| m.framing.fit = Fit::Letterbox), None);
    assert_eq!(
        other(|m| m.framing.interpolation = Interpolation::Bicubic),
        None
    );
    assert_eq!(trainer::kept_images(&test.join(".."), metadata), None);
    std::fs::write(&kept.path, "no pixels").unwrap();
    assert_eq!(evaluate(Some(kept.clone())), expected);
    assert_eq!(std::fs::read(&kept.path).unwrap(), b"no pixels");
}

#[test]
fn predictions_keep_the_order_of_the_images_and_sum_to_one() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let (outcome, _) = scene.run();
    let test = scene.root().join("test");
    let images = mnist_data::list_images(&test).unwrap();
    let ids: Vec<String> = images.iter().map(|image| image.id().to_owned()).collect();
    let predict = |batch_size| {
        let options = InferenceOptions {
            batch_size,
            ..InferenceOptions::default()
        };
        let classifier = outcome.classifier().unwrap();
        predictions(&classifier, images.clone(), options)
    };
    let predictions = predict(5);
    assert_eq!(
        predictions.iter().map(|p| p.id.clone()).collect::<Vec<_>>(),
        ids
    );
    for (one, other) in predictions.iter().zip(predict(16)) {
        assert_eq!(one.label, other.label);
        assert!((one.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    // Predictions are returned while images are still being read, so a bad image at the end does not lose the earlier
    // predictions.
    std::fs::write(images[ids.len() - 1].path(), "no image").unwrap();
    let options = InferenceOptions {
        batch_size: 1,
        on_bad_image: BadImage::Fail,
        ..InferenceOptions::default()
    };
    let classifier = outcome.classifier().unwrap();
    let mut answers = trainer::predict(&classifier, images, options, &NoProgress).unwrap();
    for expected in &predictions[..ids.len() - 1] {
        assert_eq!(answers.next().unwrap().unwrap().id, expected.id);
    }
    assert!(answers.next().unwrap().is_err());
    assert!(answers.next().is_none());
}
