//! Augmentation as a configuration says it and a loader does it.

use std::collections::BTreeSet;

use mnist_data::{
    AffineConfig, AugmentConfig, DiskCache, Error, FlipConfig, HostBatch, ImageFolder, Loader,
    LoaderOptions, MixConfig, Preset, ResizedCropConfig, Sample,
};
use tempfile::TempDir;

use crate::util::folder;

/// `count` images of 12 × 12 pixels with two slopes, gray and coloured by turns, in three classes.
fn data_set(count: u32) -> (TempDir, Vec<Sample>) {
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

fn options(augment: AugmentConfig) -> LoaderOptions {
    LoaderOptions {
        batch_size: 4,
        image_size: 14,
        workers: 1,
        shuffle: Some(5),
        augment,
        ..LoaderOptions::default()
    }
}

fn batches(loader: &Loader, epoch: u64) -> Vec<HostBatch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

/// Each image's pixels by its id.
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

fn toml(text: &str) -> AugmentConfig {
    toml::from_str(text).unwrap()
}

/// Everything, so that no operation's draws may depend on the others' or on the thread.
fn everything() -> AugmentConfig {
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
    assert_eq!((plain.stored_size(), plain.augment.is_none()), (14, true));
    let loader = Loader::new(samples.clone(), plain).unwrap();
    assert_eq!(by_id(&batches(&loader, 0)), by_id(&batches(&loader, 1)));
    let augmented = Loader::new(samples.clone(), options(toml("preset = \"digits\""))).unwrap();
    assert_ne!(by_id(&batches(&augmented, 0)), by_id(&batches(&loader, 0)));
    // An order of one's own is of no epoch: images as they are.
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
    assert_eq!(options(crop.clone()).stored_size(), 16);
    let sizes = [(224, 256), (32, 37), (1, 2), (7, 8)];
    for (image_size, stored) in sizes {
        let options = LoaderOptions {
            image_size,
            ..options(crop.clone())
        };
        assert_eq!(options.stored_size(), stored);
    }
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
    // Until the images' stamps have settled, nothing of them is kept.
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
fn batches_are_mixed_by_their_number_whatever_the_workers() {
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

#[test]
fn keys_stand_on_top_of_the_preset() {
    let digits = toml("preset = \"digits\"");
    assert_eq!(digits, AugmentConfig::from(Preset::Digits));
    assert_eq!(digits.affine, Some(AffineConfig::default()));
    let photos =
        toml("preset = \"photos\"\nresized_crop = { ratio = [1, 1] }\nhorizontal_flip = false");
    let crop = ResizedCropConfig {
        scale: [0.35, 1.0],
        ratio: [1.0, 1.0],
    };
    assert_eq!(
        (photos.resized_crop, photos.horizontal_flip),
        (Some(crop), None)
    );
    let alone = toml("vertical_flip = { p = 0.1 }\nresized_crop = true");
    assert_eq!(alone.preset, Preset::None);
    assert_eq!(alone.vertical_flip, Some(FlipConfig { p: 0.1 }));
    assert_eq!(alone.resized_crop, Some(ResizedCropConfig::default()));
    assert!(toml("").is_none() && !alone.is_none());
    assert!(toml("preset = \"digits\"\naffine = false").is_none());
}

#[test]
fn a_configuration_that_is_written_is_read_back() {
    let mut changed =
        toml("preset = \"photos\"\ncolor_jitter = { hue = 0.1 }\nresized_crop = false");
    changed.erasing = Some(mnist_data::ErasingConfig::default());
    for config in [
        AugmentConfig::default(),
        AugmentConfig::from(Preset::Digits),
        everything(),
        changed.clone(),
    ] {
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml(&written), config, "{written}");
        let explicit = toml::to_string(&config.explicit()).unwrap();
        assert_eq!(toml(&explicit), config, "{explicit}");
        assert_eq!(config.explicit().len(), 9);
    }
    // Only what differs from the preset, so that another preset can be laid on top.
    assert_eq!(
        toml::to_string(&AugmentConfig::from(Preset::Photos))
            .unwrap()
            .trim(),
        "preset = \"photos\""
    );
    let written: toml::Table = toml::from_str(&toml::to_string(&changed).unwrap()).unwrap();
    let keys: Vec<&str> = written.keys().map(String::as_str).collect();
    assert_eq!(keys, ["color_jitter", "erasing", "preset", "resized_crop"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (text, problems) in [
        ("preset = \"digit\"", ["unknown variant `digit`", "digits"]),
        ("affin = true", ["unknown field `affin`", "affine"]),
        (
            "affine = { degree = 3 }",
            ["affine: unknown field `degree`", "degrees"],
        ),
        ("affine = 3", ["affine: found 3", "true, false or a table"]),
        (
            "affine = { degrees = \"a\" }",
            ["affine: invalid type", "f64"],
        ),
        (
            "erasing = { value = 256 }",
            ["erasing: ", "0 to 255, or \"random\""],
        ),
    ] {
        let error = toml::from_str::<AugmentConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(
            problems.iter().all(|problem| error.contains(problem)),
            "{text}: {error}"
        );
    }
}

#[test]
fn values_outside_of_their_domain_are_refused_by_key() {
    for (text, key) in [
        ("horizontal_flip = { p = 1.1 }", "augment.horizontal_flip.p"),
        ("vertical_flip = { p = -0.1 }", "augment.vertical_flip.p"),
        (
            "resized_crop = { scale = [0, 1] }",
            "augment.resized_crop.scale",
        ),
        (
            "resized_crop = { scale = [0.9, 0.5] }",
            "augment.resized_crop.scale",
        ),
        (
            "resized_crop = { ratio = [0.01, 1] }",
            "augment.resized_crop.ratio",
        ),
        ("affine = { degrees = -1 }", "augment.affine.degrees"),
        ("affine = { degrees = nan }", "augment.affine.degrees"),
        (
            "affine = { translate = [0, 1.5] }",
            "augment.affine.translate",
        ),
        ("affine = { scale = [0, 1] }", "augment.affine.scale"),
        ("affine = { shear = [90, 0] }", "augment.affine.shear"),
        ("elastic = { alpha = -1 }", "augment.elastic.alpha"),
        ("elastic = { sigma = 1000 }", "augment.elastic.sigma"),
        (
            "rand_augment = { num_ops = 15 }",
            "augment.rand_augment.num_ops",
        ),
        (
            "rand_augment = { magnitude = 31 }",
            "augment.rand_augment.magnitude",
        ),
        (
            "color_jitter = { brightness = -1 }",
            "augment.color_jitter.brightness",
        ),
        (
            "color_jitter = { contrast = 11 }",
            "augment.color_jitter.contrast",
        ),
        (
            "color_jitter = { saturation = inf }",
            "augment.color_jitter.saturation",
        ),
        ("color_jitter = { hue = 0.6 }", "augment.color_jitter.hue"),
        ("erasing = { p = 2 }", "augment.erasing.p"),
        ("erasing = { scale = [0.1, 2] }", "augment.erasing.scale"),
        ("erasing = { ratio = [5, 1] }", "augment.erasing.ratio"),
    ] {
        // As a number that JSON does not know would be lost on the way through it.
        let Ok(config) = toml::from_str::<AugmentConfig>(text) else {
            assert!(text.contains("nan") || text.contains("inf"), "{text}");
            continue;
        };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("expected"), "{error}");
        let (_dir, samples) = data_set(3);
        let refused = Loader::new(samples, options(config)).unwrap_err();
        assert!(matches!(refused, Error::Setting { .. }), "{refused}");
    }
}

#[test]
fn digits_are_never_mirrored() {
    for flip in ["horizontal_flip", "vertical_flip"] {
        let config = toml(&format!("preset = \"digits\"\n{flip} = true"));
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.contains(&format!("augment.{flip}")) && error.contains("another character"),
            "{error}"
        );
        toml(&format!("{flip} = true\naffine = true"))
            .validate()
            .unwrap();
    }
}
