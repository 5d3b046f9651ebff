//! Tests that a run with cached features equals a run without them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mnist_data::{BadImage, Fit, ImageSize};
use trainer::{Ending, EpochReport, Event, EventSink, Outcome, Recorder};

use crate::scene::{Scene, arena};

/// The results of a run that are compared: each epoch's scores, and the final weights.
type Numbers = (Vec<[f64; 5]>, Vec<f32>);

fn numbers(outcome: &Outcome) -> Numbers {
    let figures = |epoch: &EpochReport| {
        [
            epoch.train_loss,
            epoch.train_accuracy,
            epoch.val_loss,
            epoch.val_accuracy,
            epoch.val_macro_f1,
        ]
    };
    let epochs = outcome.epochs.iter().map(figures).collect();
    (epochs, arena(outcome.network.as_ref()))
}

/// A run of three epochs with a frozen backbone, and images old enough for caching.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.config.train.freeze_epochs = 3;
    // The last weights are compared, since they depend on all steps before.
    scene.config.train.monitor = trainer::config::Monitor::ValLoss;
    settle();
    scene
}

/// An image written just now has no reliable stamp until the file system's clock has ticked.
fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}

/// The number of images that went through the network and the number of all images, if features were cached.
fn computed(recorder: &Recorder) -> Option<(usize, usize)> {
    recorder.events.iter().find_map(|event| match event {
        Event::FeaturesReady { images, computed } => Some((*computed, *images)),
        _ => None,
    })
}

/// The results of a run, and the number of images that went through its network.
fn run(scene: &Scene) -> (Numbers, usize) {
    let (outcome, recorder) = scene.run();
    let (computed, images) = computed(&recorder).unwrap();
    assert_eq!(images, 56);
    (numbers(&outcome), computed)
}

fn without_features(scene: &mut Scene) -> Numbers {
    scene.config.train.cache_features = false;
    let (outcome, recorder) = scene.run();
    assert_eq!(computed(&recorder), None);
    scene.config.train.cache_features = true;
    numbers(&outcome)
}

fn files(scene: &Scene) -> Vec<PathBuf> {
    let entries = fs::read_dir(scene.root().join(".classify-cache")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "features"))
        .collect();
    files.sort();
    files
}

#[test]
fn features_change_no_number_and_a_second_run_computes_none() {
    let mut scene = scene();
    // The run has a partial batch, and a backbone that unfreezes.
    scene.config.train.drop_last = false;
    scene.config.data.batch_size = 12;
    scene.config.train.epochs = 4;
    let expected = without_features(&mut scene);
    assert_ne!(expected.0[0], expected.0[1]);
    scene.config.data.disk_cache_mb = 0;
    assert_eq!(run(&scene), (expected.clone(), 56));
    assert_eq!(run(&scene), (expected.clone(), 56));
    scene.config.data.disk_cache_mb = 64;
    assert_eq!(run(&scene), (expected.clone(), 56));
    assert_eq!(run(&scene), (expected, 0));
}

#[test]
fn an_image_is_known_by_its_contents() {
    let scene = scene();
    run(&scene);
    let images = |class: &str| {
        let entries = fs::read_dir(scene.root().join("train").join(class)).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let lying = images("0");
    // The same image contents are rewritten under another name.
    let bytes = fs::read(&lying[0]).unwrap();
    fs::remove_file(&lying[0]).unwrap();
    fs::write(lying[0].with_file_name("moved.png"), bytes).unwrap();
    settle();
    assert_eq!(run(&scene).1, 0);
    // Other image contents are written under the same name.
    fs::copy(&images("1")[0], &lying[1]).unwrap();
    let bytes = fs::read(&lying[1]).unwrap();
    fs::write(&lying[1], [bytes.as_slice(), b"and more"].concat()).unwrap();
    settle();
    assert_eq!(run(&scene).1, 1);
    assert_eq!(run(&scene).1, 0);
}

#[test]
fn another_backbone_and_other_pixels_have_features_of_their_own() {
    let mut scene = scene();
    let first = run(&scene).0;
    // Settings of the head and the loop change no feature.
    scene.config.model.dropout = Some(0.5);
    scene.config.train.learning_rate = 0.01;
    assert_eq!(run(&scene).1, 0);
    scene.config.train.seed += 1;
    assert_eq!(run(&scene).1, 56);
    let mut normalisation = scene.config.data.normalisation();
    normalisation.mean[2] = 0.2;
    scene.config.data.normalisation = normalisation.into();
    assert_eq!(run(&scene).1, 56);
    scene.config.model.stem_stride = 1;
    assert_eq!(run(&scene).1, 56);
    scene.config.data.image_size = ImageSize::square(24);
    assert_eq!(run(&scene).1, 56);
    scene.config.data.fit = Some(Fit::Letterbox);
    assert_eq!(run(&scene).1, 56);
    // Each setting has one feature file per split. The first setting's files are still valid.
    assert_eq!(files(&scene).len(), 12);
    let again = self::scene().config;
    scene.config.model = again.model;
    scene.config.train = again.train;
    scene.config.data.normalisation = again.data.normalisation;
    scene.config.data.image_size = again.data.image_size;
    scene.config.data.fit = again.data.fit;
    assert_eq!(run(&scene), (first, 0));
}

#[test]
fn a_damaged_or_foreign_file_is_rewritten() {
    let scene = scene();
    let (expected, _) = run(&scene);
    let [train, val] = &files(&scene)[..] else {
        panic!("a file for either split")
    };
    let whole = fs::read(train).unwrap();
    let mut damages: Vec<(String, Vec<u8>)> = vec![
        ("empty".to_owned(), Vec::new()),
        ("twice".to_owned(), whole.repeat(2)),
        ("garbage".to_owned(), vec![7; whole.len()]),
    ];
    for length in [8, 20, whole.len() / 2, whole.len() - 1] {
        damages.push((format!("cut to {length}"), whole[..length].to_vec()));
    }
    // The damage is in the magic, the index's length, the index, the rows or the checksum.
    for at in [
        0,
        9,
        60,
        whole.len() / 2,
        whole.len() - 100,
        whole.len() - 1,
    ] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        damages.push((format!("bit flipped at {at}"), bytes));
    }
    for (what, bytes) in damages {
        fs::write(train, bytes).unwrap();
        assert_eq!(run(&scene), (expected.clone(), 40), "{what}");
        assert!(fs::read(train).unwrap() == whole, "{what}");
    }
    // Valid feature files of another model, under this model's file names.
    let mut other = self::scene();
    other.config.train.seed += 1;
    run(&other);
    for (ours, theirs) in [train, val].into_iter().zip(files(&other)) {
        fs::copy(theirs, ours).unwrap();
    }
    assert_eq!(run(&scene), (expected, 56));
}

#[test]
fn unreadable_images_are_left_out_too() {
    let mut scene = scene();
    scene.config.data.on_bad_image = BadImage::Skip;
    fs::write(scene.root().join("train/1/broken.png"), "no image").unwrap();
    let expected = without_features(&mut scene);
    for computed in [56, 0] {
        let (outcome, recorder) = scene.run();
        assert_eq!(numbers(&outcome), expected);
        let ready = Event::FeaturesReady {
            images: 57,
            computed,
        };
        assert!(recorder.events.contains(&ready), "{computed}");
        assert!(recorder.events.contains(&Event::ImagesSkipped { count: 1 }));
    }
    scene.config.data.on_bad_image = BadImage::Fail;
    assert!(scene.error().to_string().contains("broken.png"));
}

#[test]
fn room_is_respected_in_memory_and_on_disk() {
    let mut scene = scene();
    // Without memory for features the backbone runs in every epoch, and the results are the same.
    scene.config.data.cache_mb = 0;
    let (outcome, recorder) = scene.run();
    assert_eq!(computed(&recorder), None);
    scene.config.data.cache_mb = 1;
    let expected = numbers(&outcome);
    assert_eq!(run(&scene), (expected.clone(), 56));
    // A folder that cannot be created affects the later run, not this one.
    let cache = scene.root().join(".classify-cache");
    fs::remove_dir_all(&cache).unwrap();
    fs::write(&cache, "in the way").unwrap();
    assert_eq!(run(&scene), (expected.clone(), 56));
    assert_eq!(run(&scene), (expected, 56));
}

/// Sets the interrupt flag when the first features are computed.
struct InterruptAtOnce<'a>(&'a AtomicBool);

impl EventSink for InterruptAtOnce<'_> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        if matches!(event, Event::FeaturesComputed { .. }) {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn an_interruption_keeps_the_features_so_far() {
    let scene = scene();
    let flag = AtomicBool::new(false);
    let outcome = scene.run_with(&mut InterruptAtOnce(&flag), &flag).unwrap();
    assert_eq!(outcome.ending, Ending::Interrupted);
    // A batch of 8 was computed. All 20 images of its class have one of these contents, so they need no computation.
    assert_eq!(run(&scene).1, 36);
}
