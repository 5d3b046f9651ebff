//! Tests augmentation in a loader.

use std::collections::BTreeSet;
use std::sync::Arc;

use mnist_data::{
    AugmentConfig, DiskCache, Framing, HostBatch, ImageFolder, ImageSize, Loader, LoaderOptions,
    MixConfig, Sample,
};
use tempfile::TempDir;

use crate::util::folder;

/// `count` images of 12 × 12 pixels in three classes: brightness slopes in two directions, alternately gray and
/// coloured.
pub(crate) fn data_set(count: u32) -> (TempDir, Arc<[Sample]>) {
    let dir = folder();
    for index in 0..count {
        let class = dir.path().join((index % 3).to_string());
        std::fs::create_dir_all(&class).unwrap();
        let path = class.join(format!("{index:03}.png"));
        let level = |x: u32, y: u32, c: u32| (20 * x + 7 * y + 60 * c + 5 * index) as u8;
        match index % 2 {
            0 => image::GrayImage::from_fn(12, 12, |x, y| image::Luma([level(x, y, 0)]))
                .save(path)
                .unwrap(),
            _ => image::RgbImage::from_fn(12, 12, |x, y| {
                image::Rgb([0, 1, 2].map(|c| level(x, y, c)))
            })
            .save(path)
            .unwrap(),
        }
    }
    let samples = ImageFolder::training(dir.path()).unwrap().samples;
    (dir, samples)
}

pub(crate) fn options(augment: AugmentConfig) -> LoaderOptions {
    LoaderOptions {
        batch_size: 4,
        image_size: ImageSize::square(14),
        workers: 1,
        shuffle: Some(5),
        augment,
        ..LoaderOptions::default()
    }
}

fn batches(loader: &Loader, epoch: u64) -> Vec<HostBatch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

/// The pixels of each image, by its id.
fn by_id(batches: &[HostBatch]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for batch in batches {
        let size = batch.pixels.len() / batch.count;
        let pixels = batch.pixels.chunks(size).map(<[u8]>::to_vec);
        found.extend(batch.ids.iter().cloned().zip(pixels));
    }
    found.sort();
    found
}

pub(crate) fn toml(text: &str) -> AugmentConfig {
    toml::from_str(text).unwrap()
}

/// All operations are on, to test that no random number depends on another operation or on the thread.
pub(crate) fn everything() -> AugmentConfig {
    toml(
        "preset = \"photos\"\nvertical_flip = true\naffine = true\nelastic = { sigma = 2 }\n\
         rand_augment = true\nerasing = { value = \"random\" }",
    )
}

#[test]
fn pixels_depend_on_seed_epoch_and_sample_alone() {
    let (_dir, samples) = data_set(22);
    let loader = |options| Loader::new(samples.clone(), options).unwrap();
    let one = loader(options(everything()));
    let first = batches(&one, 3);
    assert!(
        first
            .iter()
            .all(|batch| (batch.height, batch.width) == (14, 14))
    );
    assert_eq!(batches(&one, 3), first, "from memory");
    for (workers, prefetch, cache_bytes) in [(1, 1, 0), (4, 1, 0), (4, 9, 1 << 20), (3, 2, 500)] {
        let options = LoaderOptions {
            workers,
            prefetch,
            cache_bytes,
            ..options(everything())
        };
        assert_eq!(batches(&loader(options), 3), first, "{workers} workers");
    }
    let other_batches = LoaderOptions {
        batch_size: 7,
        ..options(everything())
    };
    assert_eq!(by_id(&batches(&loader(other_batches), 3)), by_id(&first));
    let differing = |other: &[HostBatch]| {
        let (one, other) = (by_id(&first), by_id(other));
        one.iter().zip(&other).filter(|(a, b)| a != b).count()
    };
    assert_eq!(differing(&batches(&one, 4)), 22, "another epoch");
    let other_seed = LoaderOptions {
        shuffle: Some(6),
        ..options(everything())
    };
    assert_eq!(
        differing(&batches(&loader(other_seed), 3)),
        22,
        "another seed"
    );
}

#[test]
fn workers_change_no_pixel_of_any_operation_alone() {
    let (_dir, samples) = data_set(14);
    let of = |workers, augment: &AugmentConfig, mix: &MixConfig| {
        let options = LoaderOptions {
            workers,
            mix: mix.clone(),
            ..options(augment.clone())
        };
        batches(&Loader::new(samples.clone(), options).unwrap(), 2)
    };
    let (plain, unmixed) = (AugmentConfig::default(), MixConfig::default());
    let undisturbed = of(1, &plain, &unmixed);
    let operations = [
        "resized_crop",
        "horizontal_flip",
        "vertical_flip",
        "affine",
        "elastic",
        "rand_augment",
        "color_jitter",
        "erasing",
    ];
    for operation in operations {
        let augment = toml(&format!("{operation} = true"));
        let one = of(1, &augment, &unmixed);
        assert_eq!(of(4, &augment, &unmixed), one, "{operation}");
        assert_ne!(one, undisturbed, "{operation}");
    }
    for mix in ["mixup_alpha = 1.0", "cutmix_alpha = 1.0"] {
        let mix = toml::from_str(mix).unwrap();
        let one = of(1, &plain, &mix);
        assert_eq!(of(4, &plain, &mix), one, "{mix:?}");
        assert_ne!(one, undisturbed, "{mix:?}");
    }
}

#[test]
fn gray_images_stay_gray_in_their_batches() {
    let (_dir, samples) = data_set(6);
    let loader = Loader::new(samples, options(everything())).unwrap();
    for (id, pixels) in by_id(&batches(&loader, 0)) {
        let gray = pixels
            .chunks(3)
            .all(|rgb| rgb[0] == rgb[1] && rgb[1] == rgb[2]);
        let number: u32 = id[2..5].parse().unwrap();
        assert_eq!(gray, number.is_multiple_of(2), "{id}");
    }
}

#[test]
fn without_augmentation_nothing_is_another() {
    let (_dir, samples) = data_set(9);
    let plain = LoaderOptions {
        augment: AugmentConfig::default(),
        ..options(AugmentConfig::default())
    };
    assert_eq!(
        (plain.stored_size(), plain.augment.is_none()),
        (ImageSize::square(14), true)
    );
    let loader = Loader::new(samples.clone(), plain).unwrap();
    assert_eq!(by_id(&batches(&loader, 0)), by_id(&batches(&loader, 1)));
    let augmented = Loader::new(samples.clone(), options(toml("preset = \"digits\""))).unwrap();
    assert_ne!(by_id(&batches(&augmented, 0)), by_id(&batches(&loader, 0)));
    // Batches in a custom order belong to no epoch, so images are not augmented.
    let in_order = |loader: &Loader| -> Vec<HostBatch> {
        loader
            .batches((0..9).collect())
            .collect::<Result<_, _>>()
            .unwrap()
    };
    assert_eq!(in_order(&augmented), in_order(&loader));
}

#[test]
fn parts_are_cut_from_images_that_are_kept_larger() {
    let crop = toml("resized_crop = true");
    assert_eq!(options(crop.clone()).stored_size(), ImageSize::square(16));
    let sizes = [(224, 256), (32, 37), (1, 2), (7, 8)];
    for (image_size, stored) in sizes {
        let options = LoaderOptions {
            image_size: ImageSize::square(image_size),
            ..options(crop.clone())
        };
        assert_eq!(options.stored_size(), ImageSize::square(stored));
    }
    // With `crop`, the stored image keeps the whole shorter side, for random crops.
    let framed = |augment| LoaderOptions {
        framing: Framing::TIMM,
        ..options(augment)
    };
    let whole = Framing {
        crop_pct: 1.0,
        ..Framing::TIMM
    };
    assert_eq!(framed(crop.clone()).stored_framing(), whole);
    assert_eq!(
        framed(AugmentConfig::default()).stored_framing(),
        Framing::TIMM
    );
    let (_dir, samples) = data_set(4);
    let loader = Loader::new(samples, options(crop)).unwrap();
    for batch in batches(&loader, 0) {
        assert_eq!(
            (batch.height, batch.pixels.len()),
            (14, batch.count * 14 * 14 * 3)
        );
    }
    for batch in loader.batches(vec![0, 1]) {
        assert_eq!(batch.unwrap().pixels.len(), 2 * 14 * 14 * 3);
    }
}

#[test]
fn no_augmented_pixel_enters_a_cache() {
    let (dir, samples) = data_set(8);
    // Images are cached only after their stamps have settled.
    std::thread::sleep(std::time::Duration::from_millis(2200));
    let cache = DiskCache {
        path: dir.path().join(".cache/train"),
        max_bytes: 1 << 20,
        read_only: false,
    };
    let loader = |augment| {
        let options = LoaderOptions {
            disk_cache: Some(cache.clone()),
            ..options(augment)
        };
        Loader::new(samples.clone(), options).unwrap()
    };
    batches(&loader(toml("preset = \"digits\"")), 0);
    let written = std::fs::read(&cache.path).unwrap();
    let plain = by_id(&batches(&loader(AugmentConfig::default()), 0));
    assert_eq!(
        std::fs::read(&cache.path).unwrap(),
        written,
        "what it read was whole"
    );
    let undisturbed = Loader::new(samples.clone(), options(AugmentConfig::default())).unwrap();
    assert_eq!(plain, by_id(&batches(&undisturbed, 0)));
}

#[test]
fn mixing_depends_on_the_batch_number_not_on_workers() {
    let (_dir, samples) = data_set(22);
    let loader = |workers, mix: &MixConfig| {
        let options = LoaderOptions {
            workers,
            mix: mix.clone(),
            ..options(AugmentConfig::default())
        };
        Loader::new(samples.clone(), options).unwrap()
    };
    let mix = MixConfig {
        mixup_alpha: 0.4,
        cutmix_alpha: 1.0,
        ..MixConfig::default()
    };
    let mixed = loader(1, &mix);
    let first = batches(&mixed, 0);
    assert_eq!(batches(&loader(4, &mix), 0), first);
    let plain = batches(&loader(1, &MixConfig::default()), 0);
    for (mixed, plain) in first.iter().zip(&plain) {
        assert_eq!((&mixed.ids, &mixed.labels), (&plain.ids, &plain.labels));
        assert_eq!(plain.mix, None);
        let mix = mixed.mix.as_ref().unwrap();
        let mut partners = plain.labels.clone();
        partners.rotate_right(1);
        assert_eq!(mix.partners, partners);
    }
    let lambdas: BTreeSet<u32> = first
        .iter()
        .map(|batch| batch.mix.as_ref().unwrap().lambda.to_bits())
        .collect();
    assert!(
        lambdas.len() > 3,
        "batches have their own shares: {lambdas:?}"
    );
    assert!(
        mixed
            .batches(vec![0, 1, 2])
            .all(|batch| batch.unwrap().mix.is_none())
    );
}
