//! The cost of augmentation per image: `cargo bench -p mnist-data --bench augment`.

// A benchmark reports errors by panicking.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use mnist_data::{
    Augment, AugmentConfig, ColorJitterConfig, Draw, ElasticConfig, ErasingConfig, Image,
    ImageSize, Preset, RandAugmentConfig,
};

#[path = "../examples/photos/mod.rs"]
mod photos;

/// A generated photograph with this many pixels per side.
fn photo(size: u32) -> Image {
    let photo = Image::decode(&photos::jpeg(0).unwrap(), Path::new("photo")).unwrap();
    photo.resized(size).unwrap()
}

/// The value of one colour of a pixel.
fn gray(photo: &Image) -> Image {
    let gray = photo.pixels().iter().step_by(3).copied().collect();
    Image::from_gray(photo.width(), photo.height(), gray).unwrap()
}

fn augment(criterion: &mut Criterion) {
    let small = photo(32);
    let digits = AugmentConfig::from(Preset::Digits);
    let photos = AugmentConfig::from(Preset::Photos);
    let elastic = AugmentConfig {
        elastic: Some(ElasticConfig::default()),
        ..digits.clone()
    };
    let alone = AugmentConfig::default();
    let hue = AugmentConfig {
        color_jitter: Some(ColorJitterConfig {
            hue: 0.1,
            ..ColorJitterConfig::default()
        }),
        ..alone.clone()
    };
    let erasing = AugmentConfig {
        erasing: Some(ErasingConfig::default()),
        ..alone.clone()
    };
    let rand_augment = AugmentConfig {
        rand_augment: Some(RandAugmentConfig::default()),
        ..alone
    };
    for (name, config, image, size) in [
        ("digits, gray 32", &digits, gray(&small), 32),
        ("digits, rgb 32", &digits, small.clone(), 32),
        ("digits and elastic, gray 32", &elastic, gray(&small), 32),
        ("digits, rgb 224", &digits, photo(224), 224),
        ("photos, rgb 256 to 224", &photos, photo(256), 224),
        ("photos, rgb 37 to 32", &photos, photo(37), 32),
        ("jitter with hue, rgb 224", &hue, photo(224), 224),
        ("erasing, rgb 224", &erasing, photo(224), 224),
        ("rand_augment, rgb 224", &rand_augment, photo(224), 224),
    ] {
        let augment = Augment::new(config).unwrap();
        let mut index = 0;
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                index += 1;
                let draw = Draw {
                    seed: 0,
                    epoch: 0,
                    index,
                };
                augment
                    .apply(black_box(&image), ImageSize::square(size), draw)
                    .unwrap()
            });
        });
    }
}

criterion_group!(benches, augment);
criterion_main!(benches);
