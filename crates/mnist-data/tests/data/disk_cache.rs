//! Tests the disk cache: what it saves, and that its images equal freshly decoded ones.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use mnist_data::{
    DecodeOptions, DiskCache, Fit, Framing, HostBatch, ImageFolder, ImageSize, Loader,
    LoaderOptions, Orientation, Sample,
};
use serde_json::json;
use tempfile::TempDir;

use crate::util::{files, folder, png};
use index::{invert, is_of, parts};

mod damage;
mod decoding;
mod index;

const SIZE: usize = 3;
const COUNT: usize = 10;

/// Images of three classes, each with one gray level, and a path for a cache file.
struct Scene {
    dir: TempDir,
    samples: Arc<[Sample]>,
}

impl Scene {
    fn new() -> Self {
        let dir = folder();
        for index in 0..COUNT {
            let name = format!("images/{}/{index:03}.png", index % 3);
            png(&dir.path().join(name), 20 * index as u8);
        }
        let samples = ImageFolder::training(&dir.path().join("images")).unwrap();
        settle();
        Self {
            dir,
            samples: samples.samples,
        }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join(".cache/some.pixels")
    }

    fn options(&self) -> LoaderOptions {
        LoaderOptions {
            batch_size: 4,
            image_size: ImageSize::square(SIZE as u32),
            workers: 2,
            cache_bytes: 0,
            disk_cache: Some(DiskCache {
                path: self.cache(),
                max_bytes: u64::MAX,
                read_only: false,
            }),
            ..LoaderOptions::default()
        }
    }

    fn loader(&self, options: LoaderOptions) -> Loader {
        Loader::new(self.samples.clone(), options).unwrap()
    }

    /// The images of an epoch in a new run, by sample.
    fn run(&self, options: LoaderOptions) -> Vec<Vec<u8>> {
        pixels(&self.loader(options))
    }

    /// The expected images.
    fn decoded(&self) -> Vec<Vec<u8>> {
        self.run(LoaderOptions {
            disk_cache: None,
            ..self.options()
        })
    }
}

/// An image written just now has no reliable stamp until the file system's clock has ticked.
fn settle() {
    thread::sleep(Duration::from_millis(150));
}

fn pixels(loader: &Loader) -> Vec<Vec<u8>> {
    let batches: Vec<HostBatch> = loader.epoch(0).collect::<Result<_, _>>().unwrap();
    let bytes = loader.options().image_size.pixels() as usize * 3;
    let images = batches.iter().flat_map(|batch| batch.pixels.chunks(bytes));
    images.map(<[u8]>::to_vec).collect()
}

fn inverted(pixels: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let invert = |image: &Vec<u8>| image.iter().map(|byte| !byte).collect();
    pixels.iter().map(invert).collect()
}

#[test]
fn a_second_run_and_a_second_epoch_do_not_decode() {
    let scene = Scene::new();
    let expected = scene.decoded();
    let loader = scene.loader(scene.options());
    assert_eq!(pixels(&loader), expected);
    assert_eq!(files(scene.dir.path())[0], ".cache/some.pixels");
    assert_eq!(
        files(scene.dir.path()).len(),
        COUNT + 1,
        "nothing else is left"
    );
    let (stored, _) = parts(&scene.cache());
    assert_eq!(
        stored.len(),
        COUNT * SIZE * SIZE,
        "gray stays one byte a pixel"
    );

    assert_eq!(scene.run(scene.options()), expected);
    invert(&scene.cache());
    assert_eq!(scene.run(scene.options()), inverted(&expected));
    // The first loader still reads the file that it wrote.
    assert_eq!(pixels(&loader), expected);
}

#[test]
fn colours_are_kept() {
    let scene = Scene::new();
    let path = &scene.samples[1].path();
    let orange = image::RgbImage::from_pixel(2, 2, image::Rgb([250, 120, 10]));
    orange
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
    settle();
    let expected = scene.decoded();
    assert_eq!(expected[1][..6], [250, 120, 10, 250, 120, 10]);
    assert_eq!(scene.run(scene.options()), expected);
    invert(&scene.cache());
    assert_eq!(scene.run(scene.options()), inverted(&expected));
}

#[test]
fn a_changed_image_is_decoded_again_alone() {
    let scene = Scene::new();
    let before = scene.run(scene.options());
    invert(&scene.cache());
    let path = &scene.samples[2].path();
    let old = fs::metadata(path).unwrap();
    png(path, 77);
    // The file is restored as far as a program can do it.
    assert_eq!(fs::metadata(path).unwrap().len(), old.len());
    #[cfg(unix)] // Unix also records the time of the metadata change
    File::open(path)
        .unwrap()
        .set_modified(old.modified().unwrap())
        .unwrap();
    settle();
    let mut expected = inverted(&before);
    expected[2] = vec![77; SIZE * SIZE * 3];
    assert_eq!(scene.run(scene.options()), expected);
    // The new image was written, and the others were copied.
    invert(&scene.cache());
    assert_eq!(scene.run(scene.options()), inverted(&expected));
}

#[test]
fn an_image_that_may_still_change_unseen_is_not_kept() {
    let scene = Scene::new();
    let later = SystemTime::now() + Duration::from_secs(3600);
    File::open(scene.samples[2].path())
        .unwrap()
        .set_modified(later)
        .unwrap();
    let decoded = scene.run(scene.options());
    invert(&scene.cache());
    let mut expected = inverted(&decoded);
    expected[2].clone_from(&decoded[2]);
    assert_eq!(scene.run(scene.options()), expected);
}

#[test]
fn another_image_size_rebuilds_it() {
    let scene = Scene::new();
    scene.run(scene.options());
    let larger = || LoaderOptions {
        image_size: ImageSize::square(5),
        ..scene.options()
    };
    let uncached = LoaderOptions {
        disk_cache: None,
        ..larger()
    };
    assert_eq!(scene.run(larger()), scene.run(uncached));
    let (stored, index) = parts(&scene.cache());
    assert_eq!(
        (stored.len(), &index.header["image_size"]),
        (COUNT * 25, &json!(5))
    );
    assert_eq!(scene.run(scene.options()), scene.decoded());
}

#[test]
fn another_framing_or_orientation_makes_it_anew() {
    let scene = Scene::new();
    let letterbox = Framing {
        fit: Fit::Letterbox,
        ..Framing::default()
    };
    let upright = DecodeOptions {
        orientation: Orientation::Apply,
        ..DecodeOptions::default()
    };
    let oblong = || LoaderOptions {
        image_size: ImageSize {
            height: 3,
            width: 5,
        },
        ..scene.options()
    };
    let others = [
        oblong(),
        LoaderOptions {
            framing: letterbox,
            ..oblong()
        },
        LoaderOptions {
            decode: upright,
            ..oblong()
        },
    ];
    for options in others {
        scene.run(scene.options());
        let uncached = LoaderOptions {
            disk_cache: None,
            ..options.clone()
        };
        assert_eq!(scene.run(options.clone()), scene.run(uncached));
        let (stored, index) = parts(&scene.cache());
        assert_eq!(
            (stored.len(), &index.header["image_size"]),
            (COUNT * 15, &json!([3, 5]))
        );
        assert_eq!(index.header["framing"]["fit"], options.framing.fit.name());
        assert_eq!(
            index.header["orientation"],
            options.decode.orientation.name()
        );
    }
}

#[test]
fn several_runs_at_once_share_it() {
    let scene = Scene::new();
    let expected = scene.decoded();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (scene, expected) = (&scene, &expected);
            scope.spawn(move || {
                for round in 0..5 {
                    // Some loaders have only some of the samples.
                    let limit = ((worker + round) % 2 == 0).then_some(4);
                    let loader = scene.loader(LoaderOptions {
                        limit,
                        ..scene.options()
                    });
                    let chosen = loader.samples().iter().map(|sample| {
                        let place = scene
                            .samples
                            .iter()
                            .position(|other| other.id() == sample.id());
                        expected[place.unwrap()].clone()
                    });
                    assert_eq!(pixels(&loader), chosen.collect::<Vec<_>>());
                }
            });
        }
    });
    assert_eq!(scene.run(scene.options()), expected);
    assert_eq!(
        files(scene.dir.path()).len(),
        COUNT + 1,
        "nothing else is left"
    );
    invert(&scene.cache());
    assert_eq!(scene.run(scene.options()), inverted(&expected));
}

#[test]
fn where_it_cannot_be_written_images_are_decoded() {
    let scene = Scene::new();
    let expected = scene.decoded();
    // The cache's folder cannot be created, or its file cannot be replaced.
    fs::write(scene.dir.path().join("file"), "").unwrap();
    fs::create_dir_all(scene.cache().join("folder")).unwrap();
    for path in [scene.dir.path().join("file/some.pixels"), scene.cache()] {
        let cache = DiskCache {
            path,
            max_bytes: u64::MAX,
            read_only: false,
        };
        let loader = scene.loader(LoaderOptions {
            disk_cache: Some(cache),
            ..scene.options()
        });
        for _ in 0..2 {
            assert_eq!(pixels(&loader), expected);
        }
    }
    let left = files(&scene.dir.path().join(".cache"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn it_holds_no_more_than_it_may() {
    let scene = Scene::new();
    let mut expected = scene.decoded();
    let four = || LoaderOptions {
        disk_cache: Some(DiskCache {
            path: scene.cache(),
            max_bytes: 5 * (SIZE * SIZE) as u64 - 1,
            read_only: false,
        }),
        ..scene.options()
    };
    assert_eq!(scene.run(four()), expected);
    let (pixels, first) = parts(&scene.cache());
    assert_eq!(pixels.len(), 4 * SIZE * SIZE);
    // A cache file that is full stays unchanged.
    assert_eq!(scene.run(four()), expected);
    assert_eq!(parts(&scene.cache()).1, first);
    // A changed image replaces its old version.
    let mut samples = scene.samples.iter();
    let place = samples.position(|sample| is_of(&first.records[0], sample.id()));
    let place = place.unwrap();
    png(&scene.samples[place].path(), 99);
    settle();
    expected[place] = vec![99; SIZE * SIZE * 3];
    assert_eq!(scene.run(four()), expected);
    invert(&scene.cache());
    assert_eq!(scene.run(four())[place], inverted(&expected)[place]);
    assert_eq!(parts(&scene.cache()).0.len(), 4 * SIZE * SIZE);
    fs::remove_file(scene.cache()).unwrap();
    assert_eq!(scene.run(scene.options()), expected);
    assert_eq!(parts(&scene.cache()).0.len(), COUNT * SIZE * SIZE);
}

#[test]
fn a_file_that_is_only_read_stays_as_it_is() {
    let scene = Scene::new();
    let reading = || LoaderOptions {
        disk_cache: Some(DiskCache {
            read_only: true,
            ..scene.options().disk_cache.unwrap()
        }),
        ..scene.options()
    };
    let expected = scene.decoded();
    assert_eq!(scene.run(reading()), expected);
    assert_eq!(files(scene.dir.path()).len(), COUNT, "nothing was written");

    scene.run(scene.options());
    invert(&scene.cache());
    png(&scene.samples[2].path(), 77);
    settle();
    let mut expected = inverted(&expected);
    expected[2] = vec![77; SIZE * SIZE * 3];
    let held = fs::read(scene.cache()).unwrap();
    assert_eq!(scene.run(reading()), expected);
    assert_eq!(fs::read(scene.cache()).unwrap(), held);

    fs::write(scene.cache(), "no pixels").unwrap();
    assert_eq!(scene.run(reading()), scene.decoded());
    assert_eq!(fs::read(scene.cache()).unwrap(), b"no pixels");
}

#[test]
fn a_part_of_the_samples_adds_to_it() {
    let scene = Scene::new();
    let limited = |seed| LoaderOptions {
        limit: Some(4),
        shuffle: Some(seed),
        ..scene.options()
    };
    let held = || parts(&scene.cache()).1.records.len();
    scene.run(limited(0));
    assert_eq!(held(), 4);
    scene.run(scene.options());
    assert_eq!(held(), COUNT);
    scene.run(limited(1));
    assert_eq!(held(), COUNT);
}

#[test]
fn an_interrupted_epoch_keeps_its_decoded_images() {
    let scene = Scene::new();
    let loader = scene.loader(scene.options());
    let mut epoch = loader.epoch(0);
    epoch.next().unwrap().unwrap();
    drop(epoch);
    let (pixels, _) = parts(&scene.cache());
    assert!(pixels.len() >= 4 * SIZE * SIZE, "{} bytes", pixels.len());
    assert_eq!(
        files(scene.dir.path()).len(),
        COUNT + 1,
        "nothing else is left"
    );
    assert_eq!(scene.run(scene.options()), scene.decoded());
}
