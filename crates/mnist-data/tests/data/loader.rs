//! Tests batches: order, contents, and bad images.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mnist_data::{
    BadImage, Error, HostBatch, ImageFolder, ImageSize, Loader, LoaderOptions, Sample,
};
use tempfile::TempDir;

use crate::util::{folder, png};

/// `count` images of three classes; image `i` has the gray level `i`.
fn data_set(count: usize) -> (TempDir, Arc<[Sample]>) {
    let dir = folder();
    for index in 0..count {
        png(
            &dir.path().join(format!("{}/{index:03}.png", index % 3)),
            index as u8,
        );
    }
    let samples = ImageFolder::training(dir.path()).unwrap().samples;
    (dir, samples)
}

fn options() -> LoaderOptions {
    LoaderOptions {
        batch_size: 4,
        image_size: ImageSize::square(3),
        workers: 2,
        prefetch: 2,
        ..LoaderOptions::default()
    }
}

fn batches(loader: &Loader, epoch: u64) -> Vec<HostBatch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

fn ids(loader: &Loader, epoch: u64) -> Vec<String> {
    batches(loader, epoch)
        .into_iter()
        .flat_map(|batch| batch.ids)
        .collect()
}

fn refusal(samples: Arc<[Sample]>, options: LoaderOptions) -> String {
    Loader::new(samples, options).unwrap_err().to_string()
}

#[test]
fn batches_hold_resized_rgb_with_labels_and_ids() {
    let (_dir, samples) = data_set(10);
    let loader = Loader::new(samples.clone(), options()).unwrap();
    let batches = batches(&loader, 0);
    assert_eq!((loader.len(), loader.batches_per_epoch()), (10, 3));
    assert_eq!(
        batches.iter().map(|batch| batch.count).collect::<Vec<_>>(),
        [4, 4, 2]
    );
    let mut expected = samples.iter();
    for batch in &batches {
        assert_eq!((batch.height, batch.width), (3, 3));
        assert_eq!(batch.pixels.len(), batch.count * 3 * 3 * 3);
        assert_eq!(batch.weights, vec![1.0; batch.count]);
        for (place, id) in batch.ids.iter().enumerate() {
            let sample = expected.next().unwrap();
            assert_eq!(
                (id.as_str(), batch.labels[place] as usize),
                (sample.id(), sample.label)
            );
            let shade: u8 = id[2..5].parse().unwrap();
            assert_eq!(batch.pixels[place * 27..][..27], [shade; 27]);
        }
    }
    assert!(expected.next().is_none());
}

#[test]
fn the_shuffle_depends_on_seed_and_epoch_but_not_on_workers() {
    let (_dir, samples) = data_set(30);
    let loader = |seed, workers, prefetch| {
        let options = LoaderOptions {
            shuffle: Some(seed),
            workers,
            prefetch,
            ..options()
        };
        Loader::new(samples.clone(), options).unwrap()
    };
    let one = loader(1, 1, 1);
    let first = batches(&one, 0);
    for (workers, prefetch) in [(1, 9), (2, 1), (3, 4), (7, 2), (64, 64), (2, usize::MAX)] {
        assert_eq!(
            batches(&loader(1, workers, prefetch), 0),
            first,
            "{workers} workers"
        );
    }
    assert_eq!(batches(&one, 0), first, "an epoch repeats");
    let order = ids(&one, 0);
    assert_ne!(ids(&one, 1), order);
    assert_ne!(ids(&loader(2, 1, 1), 0), order);
    let all: BTreeSet<&String> = order.iter().collect();
    assert_eq!(
        (order.len(), all.len()),
        (30, 30),
        "every sample comes once"
    );
}

#[test]
fn the_last_batch_is_kept_or_dropped() {
    let (_dir, samples) = data_set(10);
    let loader = Loader::new(
        samples.clone(),
        LoaderOptions {
            drop_last: true,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(loader.batches_per_epoch(), 2);
    assert_eq!(ids(&loader, 0).len(), 8);
    let error = refusal(
        samples,
        LoaderOptions {
            drop_last: true,
            batch_size: 11,
            ..options()
        },
    );
    assert!(error.contains("drop_last"), "{error}");
}

#[test]
fn a_limit_keeps_the_same_mixed_samples_every_epoch() {
    let (_dir, samples) = data_set(60);
    let limited = |seed| {
        let options = LoaderOptions {
            limit: Some(20),
            shuffle: seed,
            ..options()
        };
        Loader::new(samples.clone(), options).unwrap()
    };
    let set = |loader: &Loader, epoch| ids(loader, epoch).into_iter().collect::<BTreeSet<_>>();
    let loader = limited(Some(3));
    assert_eq!(loader.len(), 20);
    assert_eq!(set(&loader, 0), set(&loader, 1));
    assert_ne!(ids(&loader, 0), ids(&loader, 1));
    assert_ne!(set(&loader, 0), set(&limited(Some(4)), 0));
    // The first 20 images of the folder are all of class 0.
    for loader in [loader, limited(None)] {
        let classes: BTreeSet<usize> = loader.samples().iter().map(|sample| sample.label).collect();
        assert_eq!(classes.len(), 3);
    }
    let unshuffled = ids(&limited(None), 0);
    assert!(unshuffled.is_sorted(), "without a shuffle the order stays");
    let beyond = Loader::new(
        samples.clone(),
        LoaderOptions {
            limit: Some(1000),
            ..options()
        },
    )
    .unwrap();
    assert_eq!(beyond.len(), 60);
}

#[test]
fn cached_images_are_not_read_again() {
    let (dir, samples) = data_set(12);
    let loader = Loader::new(samples.clone(), options()).unwrap();
    let nothing_cached = Loader::new(
        samples,
        LoaderOptions {
            cache_bytes: 0,
            ..options()
        },
    )
    .unwrap();
    let first = batches(&loader, 0);
    assert_eq!(batches(&nothing_cached, 0), first);
    fs::remove_dir_all(dir.path().join("0")).unwrap();
    assert_eq!(batches(&loader, 1), first);
    let error = nothing_cached.epoch(1).find_map(Result::err).unwrap();
    assert!(error.to_string().contains(".png"), "{error}");
}

#[test]
fn the_cache_keeps_to_its_budget() {
    let (_dir, samples) = data_set(12);
    // The memory is enough for 5 gray images of 3 × 3 pixels.
    let options = LoaderOptions {
        cache_bytes: 5 * 9 + 8,
        on_bad_image: BadImage::Skip,
        ..options()
    };
    let loader = Loader::new(samples, options).unwrap();
    batches(&loader, 0);
    let paths: Vec<_> = loader
        .samples()
        .iter()
        .map(|sample| sample.path())
        .collect();
    paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(ids(&loader, 1).len(), 5);
    assert_eq!(loader.skipped().len(), 7);
}

#[test]
fn a_folder_that_vanishes_is_no_bad_image() {
    let (dir, samples) = data_set(12);
    let mut options = options();
    options.on_bad_image = BadImage::Skip;
    let loader = Loader::new(samples, options).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let error = loader.epoch(0).find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Vanished { .. }), "{error:?}");
    assert_eq!(loader.skipped(), []);
}

fn spoil(path: &Path) {
    fs::write(path, b"").unwrap();
}

#[test]
fn a_bad_image_is_named_and_ends_the_epoch() {
    let (dir, samples) = data_set(30);
    spoil(&dir.path().join("1/004.png"));
    let loader = Loader::new(samples, options()).unwrap();
    let results: Vec<Result<HostBatch, Error>> = loader.epoch(0).collect();
    // Class 1 begins at index 10, so that its second image is in batch 2.
    assert_eq!(results.len(), 3);
    assert!(results[..2].iter().all(Result::is_ok));
    let error = results[2].as_ref().unwrap_err();
    assert!(matches!(error, Error::BadImage { .. }), "{error:?}");
    assert!(
        error.to_string().contains("004.png") && error.to_string().contains("empty"),
        "{error}"
    );
}

#[test]
fn a_bad_image_is_left_out_where_that_is_wanted() {
    let (dir, samples) = data_set(10);
    spoil(&dir.path().join("1/004.png"));
    fs::remove_file(dir.path().join("2/002.png")).unwrap();
    let loader = Loader::new(
        samples,
        LoaderOptions {
            on_bad_image: BadImage::Skip,
            ..options()
        },
    )
    .unwrap();
    assert!(loader.skipped().is_empty());
    for epoch in 0..2 {
        let batches = batches(&loader, epoch);
        assert_eq!(
            batches.iter().map(|batch| batch.count).collect::<Vec<_>>(),
            [4, 2, 2]
        );
        assert!(
            batches
                .iter()
                .all(|batch| batch.pixels.len() == batch.count * 27)
        );
        let skipped = loader.skipped();
        assert_eq!(skipped.len(), 2, "each is counted once");
        assert!(
            skipped[0].0.ends_with("1/004.png") && skipped[0].1.contains("is empty"),
            "{skipped:?}"
        );
        assert!(skipped[1].0.ends_with("2/002.png"), "{skipped:?}");
    }
}

#[test]
fn batches_of_bad_images_alone_are_left_out() {
    let (dir, samples) = data_set(9);
    for index in [0, 3, 6, 1] {
        spoil(&dir.path().join(format!("{}/{index:03}.png", index % 3)));
    }
    let loader = |samples| {
        Loader::new(
            samples,
            LoaderOptions {
                on_bad_image: BadImage::Skip,
                ..options()
            },
        )
        .unwrap()
    };
    let left = loader(samples.clone());
    assert_eq!(
        batches(&left, 0)
            .iter()
            .map(|batch| batch.count)
            .collect::<Vec<_>>(),
        [4, 1]
    );
    let none = loader(samples[..3].into());
    let results: Vec<_> = none.epoch(0).collect();
    assert_eq!(results.len(), 1);
    assert!(
        results[0]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("every image was left out")
    );
    assert_eq!(none.batches(vec![0, 1, 2]).count(), 0);
}

#[test]
fn a_dropped_epoch_lets_go_of_its_threads() {
    let (_dir, samples) = data_set(30);
    let (done, finished) = mpsc::channel();
    // The test runs in a separate thread, so that a hang becomes a failure.
    thread::spawn(move || {
        for taken in 0..5 {
            let options = LoaderOptions {
                batch_size: 1,
                workers: 3,
                prefetch: 1,
                ..options()
            };
            let loader = Loader::new(samples.clone(), options).unwrap();
            let mut epoch = loader.epoch(0);
            for _ in 0..taken {
                epoch.next().unwrap().unwrap();
            }
            drop(epoch);
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn impossible_options_are_refused_by_name() {
    let (_dir, samples) = data_set(3);
    for (options, name) in [
        (
            LoaderOptions {
                batch_size: 0,
                ..options()
            },
            "batch_size",
        ),
        (
            LoaderOptions {
                image_size: ImageSize::square(0),
                ..options()
            },
            "image_size.height",
        ),
        (
            LoaderOptions {
                image_size: ImageSize {
                    height: 3,
                    width: 0,
                },
                ..options()
            },
            "image_size.width",
        ),
        (
            LoaderOptions {
                image_size: ImageSize::square(1 << 20),
                ..options()
            },
            "image_size",
        ),
        (
            LoaderOptions {
                image_size: ImageSize::square(u32::MAX),
                ..options()
            },
            "image_size",
        ),
        (
            LoaderOptions {
                batch_size: usize::MAX,
                ..options()
            },
            "batch_size",
        ),
        (
            LoaderOptions {
                limit: Some(0),
                ..options()
            },
            "limit",
        ),
        (
            LoaderOptions {
                workers: 0,
                ..options()
            },
            "workers",
        ),
        (
            LoaderOptions {
                prefetch: 0,
                ..options()
            },
            "prefetch",
        ),
    ] {
        let error = refusal(samples.clone(), options);
        assert!(error.contains(name), "{error}");
    }
    let error = refusal(Arc::new([]), options());
    assert!(error.contains("samples"), "{error}");
}

#[test]
fn an_order_of_ones_own_gives_its_batches() {
    let (_dir, samples) = data_set(10);
    let shuffled = LoaderOptions {
        shuffle: Some(3),
        drop_last: true,
        ..options()
    };
    let loader = Loader::new(samples, shuffled).unwrap();
    // An epoch's batches equal the batches of the same order.
    let order = loader.order(2);
    assert_eq!(
        order.len(),
        loader.batches_per_epoch() * loader.options().batch_size
    );
    let of_order: Vec<HostBatch> = loader.batches(order).collect::<Result<_, _>>().unwrap();
    assert_eq!(of_order, batches(&loader, 2));
    // Some of the samples, one of them twice, and one unknown index.
    let some: Vec<HostBatch> = (loader.batches(vec![9, 0, 9, 10]))
        .collect::<Result<_, _>>()
        .unwrap();
    let ids: Vec<&String> = some.iter().flat_map(|batch| &batch.ids).collect();
    let [first, last] = [0, 9].map(|place| loader.samples()[place].id());
    assert_eq!(ids, [last, first, last]);
    assert_eq!(loader.batches(Vec::new()).count(), 0);
}
