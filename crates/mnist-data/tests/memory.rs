//! Tests the memory that each image of a large set takes: in a list, in a loader, in an epoch and in a cache. The
//! allocator counts the bytes asked for, so the numbers are the same on every machine. This file is a test program of its
//! own with a single test, because other tests would allocate at the same time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::System;
use std::fs;
use std::path::Path;

use cap::Cap;
use mnist_data::{DiskCache, ImageFolder, ImageSize, Listing, Loader, LoaderOptions, Sample};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The numbers of images in the two sets. Differences between the sets leave out constant costs. For powers of two, a
/// list that grew by doubling is exactly full.
const COUNTS: [usize; 2] = [2048, 8192];
/// The length of an id in bytes.
const ID: usize = "0/00000.pgm".len();
/// A sample, and its id with two reference counts, in whole words.
const SAMPLE: usize = 48 + (16 + ID).next_multiple_of(8);
/// An entry of a shuffled order.
const PLACE: usize = 8;
/// An entry of a disk cache's index.
const ENTRY: usize = 56;

/// The bytes allocated at some moments, relative to those before the first.
#[derive(Debug, Default)]
struct Used {
    listed: usize,
    unlabelled: usize,
    loader: usize,
    epoch: usize,
    first_cached: usize,
    reopened: usize,
    second_cached: usize,
    small_memory: usize,
    another_list: usize,
}

fn options(cache: Option<&Path>, cache_bytes: usize) -> LoaderOptions {
    LoaderOptions {
        // Small batches, so that their number in memory at a moment hardly counts.
        batch_size: 2,
        workers: 1,
        prefetch: 1,
        image_size: ImageSize::square(2),
        shuffle: Some(1),
        cache_bytes,
        disk_cache: cache.map(|path| DiskCache {
            path: path.to_owned(),
            max_bytes: u64::MAX,
            read_only: false,
        }),
        ..LoaderOptions::default()
    }
}

/// The most bytes allocated during an epoch.
fn most(loader: &Loader) -> usize {
    let batches = loader.epoch(0).map(|batch| {
        batch.unwrap();
        ALLOCATOR.allocated()
    });
    batches.max().unwrap()
}

fn used(count: usize) -> Used {
    let dir = tempfile::tempdir().unwrap();
    for class in 0..2 {
        fs::create_dir(dir.path().join(class.to_string())).unwrap();
    }
    for number in 0..count {
        let path = dir.path().join(format!("{}/{number:05}.pgm", number % 2));
        fs::write(path, b"P5 2 2 255 1234").unwrap();
    }
    // A cache keeps no images that were written just now.
    std::thread::sleep(std::time::Duration::from_millis(150));
    let cache = dir.path().join(".cache/some.pixels");
    let begin = ALLOCATOR.allocated();
    let since = |now: usize| now.saturating_sub(begin);
    let mut used = Used::default();

    let unlabelled = Listing::default().images(dir.path()).unwrap();
    used.unlabelled = since(ALLOCATOR.allocated());
    assert_eq!(unlabelled.len(), count);
    drop(unlabelled);

    let folder = ImageFolder::training(dir.path()).unwrap();
    used.listed = since(ALLOCATOR.allocated());

    let plain = Loader::new(folder.samples.clone(), options(None, 0)).unwrap();
    used.loader = since(ALLOCATOR.allocated());
    used.epoch = since(most(&plain));
    drop(plain);

    let caching = Loader::new(folder.samples.clone(), options(Some(&cache), 0)).unwrap();
    used.first_cached = since(most(&caching));
    drop(caching);
    let caching = Loader::new(folder.samples.clone(), options(Some(&cache), 0)).unwrap();
    used.reopened = since(ALLOCATOR.allocated());
    used.second_cached = since(most(&caching));
    drop(caching);

    let small = Loader::new(folder.samples.clone(), options(None, 400)).unwrap();
    used.small_memory = since(most(&small));
    drop(small);

    let part: Vec<Sample> = folder.samples.iter().rev().cloned().collect();
    used.another_list = since(ALLOCATOR.allocated());
    assert_eq!(part.len(), count);
    used
}

#[test]
fn an_image_takes_no_more_memory_than_its_parts() {
    assert_eq!(size_of::<Sample>(), 48);
    let [few, many] = COUNTS.map(used);
    // Batches and scratch memory differ by some kilobytes from moment to moment: less than two bytes per image.
    let check = |name: &str, of: fn(&Used) -> usize, expected: usize| {
        let images = COUNTS[1] - COUNTS[0];
        let bytes = of(&many) as f64 - of(&few) as f64;
        let each = bytes / images as f64;
        assert!(
            (each - expected as f64).abs() < 2.0,
            "{name}: {each} bytes per image, expected {expected}"
        );
    };
    check("listed", |used| used.listed, SAMPLE);
    check("listed without labels", |used| used.unlabelled, SAMPLE);
    check("with a loader", |used| used.loader, SAMPLE);
    check("in an epoch", |used| used.epoch, SAMPLE + PLACE);
    check(
        "writing the cache",
        |used| used.first_cached,
        SAMPLE + PLACE + ENTRY + 1,
    );
    check("reading the cache", |used| used.reopened, SAMPLE + ENTRY);
    check(
        "in an epoch from the cache",
        |used| used.second_cached,
        SAMPLE + PLACE + ENTRY,
    );
    check(
        "with little memory for images",
        |used| used.small_memory,
        SAMPLE + PLACE,
    );
    check("in another list", |used| used.another_list, SAMPLE + 48);
}
