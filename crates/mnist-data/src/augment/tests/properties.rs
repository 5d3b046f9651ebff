use std::collections::BTreeSet;

use framing::ImageSize;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::image;
use crate::augment::{
    AffineConfig, Augment, AugmentConfig, ColorJitterConfig, Draw, ElasticConfig, EraseValue,
    ErasingConfig, FlipConfig, Preset, RandAugmentConfig, Random, ResizedCropConfig,
};
use crate::decode::Image;

fn draw(seed: u64, epoch: u64, index: u64) -> Draw {
    Draw { seed, epoch, index }
}

fn augmented(config: &AugmentConfig, image: &Image, size: u32, draw: Draw) -> Image {
    let augment = Augment::new(config).unwrap();
    augment.apply(image, ImageSize::square(size), draw).unwrap()
}

/// The configuration with these values as keys.
fn configured(keys: Value) -> AugmentConfig {
    serde_json::from_value(keys).unwrap()
}

/// Each operation of a configuration alone.
fn alone(all: &AugmentConfig) -> Vec<(&'static str, AugmentConfig)> {
    let written = all.explicit();
    let operations = AugmentConfig::OPERATIONS.iter().map(|op| op.name);
    let on = operations.filter(|name| written[*name] != Value::Bool(false));
    on.map(|name| (name, configured(json!({ name: written[name] }))))
        .collect()
}

/// Each operation alone, with defaults at full strength, so that none is idle.
fn each_alone() -> Vec<(&'static str, AugmentConfig)> {
    let operations = AugmentConfig::OPERATIONS.iter().map(|operation| {
        let mut table = Map::new();
        for setting in operation.settings {
            match setting.name {
                "p" => table.insert("p".to_owned(), 1.0.into()),
                "num_ops" => table.insert("num_ops".to_owned(), 5.into()),
                _ => None,
            };
        }
        let name = operation.name;
        (name, configured(json!({ name: table })))
    });
    let noise = json!({ "erasing": { "p": 1.0, "value": "random" } });
    operations.chain([("noise", configured(noise))]).collect()
}

/// Every operation, with settings that leave an image as it is.
fn identity() -> AugmentConfig {
    let never = FlipConfig { p: 0.0 };
    AugmentConfig {
        resized_crop: Some(ResizedCropConfig {
            scale: [1.0, 1.0],
            ratio: [1.0, 1.0],
        }),
        horizontal_flip: Some(never.clone()),
        vertical_flip: Some(never),
        affine: Some(AffineConfig {
            degrees: 0.0,
            translate: [0.0, 0.0],
            scale: [1.0, 1.0],
            shear: [0.0, 0.0],
            fill: 200,
        }),
        elastic: Some(ElasticConfig {
            alpha: 0.0,
            ..ElasticConfig::default()
        }),
        rand_augment: Some(RandAugmentConfig {
            num_ops: 0,
            ..RandAugmentConfig::default()
        }),
        color_jitter: Some(ColorJitterConfig {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
        }),
        erasing: Some(ErasingConfig {
            p: 0.0,
            ..ErasingConfig::default()
        }),
        ..AugmentConfig::default()
    }
}

#[test]
fn each_operation_lists_the_keys_of_its_table() {
    for operation in AugmentConfig::OPERATIONS {
        let name = operation.name;
        assert!(operation.text.ends_with('.'), "{name}: {}", operation.text);
        let written = configured(json!({ name: true })).explicit();
        let keys: BTreeSet<&str> = written[name]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let listed: BTreeSet<&str> = operation
            .settings
            .iter()
            .map(|setting| setting.name)
            .collect();
        assert_eq!(listed, keys, "{name}");
    }
}

#[test]
fn each_operation_changes_pixels_with_every_part_of_the_draw() {
    for (name, config) in each_alone() {
        for channels in [1, 3] {
            let image = image(24, 24, channels);
            let one = augmented(&config, &image, 24, draw(1, 2, 3));
            assert_eq!(one.channels(), channels, "{name}");
            assert_eq!(augmented(&config, &image, 24, draw(1, 2, 3)), one, "{name}");
            assert_ne!(one, image, "{name}");
        }
    }
    // At the default probability, since a certain flip has only one result.
    for operation in AugmentConfig::OPERATIONS {
        let config = configured(json!({ operation.name: true }));
        let image = image(24, 24, 3);
        let one = augmented(&config, &image, 24, draw(1, 2, 3));
        for other in [|n| draw(n, 2, 3), |n| draw(1, n, 3), |n| draw(1, 2, n)] {
            let mut others = (10..30).map(|n| augmented(&config, &image, 24, other(n)));
            assert!(others.any(|other| other != one), "{}", operation.name);
        }
    }
}

#[test]
fn switching_an_operation_off_leaves_the_draws_of_the_others() {
    let image = image(20, 20, 3);
    let mut config = AugmentConfig::from(Preset::Photos);
    config.color_jitter = None;
    config.horizontal_flip = None;
    let crop_alone = augmented(&config, &image, 16, draw(0, 0, 0));
    config.horizontal_flip = Some(FlipConfig { p: 0.0 });
    assert_eq!(augmented(&config, &image, 16, draw(0, 0, 0)), crop_alone);
}

#[test]
fn mirror_images_and_the_affine_map_are_one_resampling() {
    let still = AffineConfig {
        degrees: 0.0,
        translate: [0.0, 0.0],
        scale: [1.0, 1.0],
        shear: [0.0, 0.0],
        fill: 0,
    };
    let always = Some(FlipConfig { p: 1.0 });
    let flips = AugmentConfig {
        horizontal_flip: always.clone(),
        vertical_flip: always,
        ..AugmentConfig::default()
    };
    let both = AugmentConfig {
        affine: Some(still),
        ..flips.clone()
    };
    let image = image(13, 13, 3);
    let draw = draw(0, 0, 0);
    let turned = augmented(&flips, &image, 13, draw);
    assert_eq!(augmented(&both, &image, 13, draw), turned);
    let back: Vec<u8> = image.pixels().chunks(3).rev().flatten().copied().collect();
    assert_eq!(turned.pixels(), back);
}

#[test]
fn pixels_from_outside_have_the_fill_shade() {
    let config = AugmentConfig {
        affine: Some(AffineConfig {
            scale: [0.25, 0.25],
            fill: 201,
            ..AffineConfig::default()
        }),
        ..AugmentConfig::default()
    };
    let image = image(32, 32, 1);
    let small = augmented(&config, &image, 32, draw(4, 0, 0));
    for corner in [0, 31, 31 * 32, 1023] {
        assert_eq!(small.pixels()[corner], 201);
    }
    // The centroid of the pixels that are not fill is near the middle: it was moved by 5 % at most.
    let inside = (0..1024).filter(|&at| small.pixels()[at] != 201);
    let places: Vec<[f64; 2]> = inside
        .map(|at| [(at % 32) as f64, (at / 32) as f64])
        .collect();
    assert!((40..140).contains(&places.len()), "{}", places.len());
    for axis in [0, 1] {
        let mean = places.iter().map(|place| place[axis]).sum::<f64>() / places.len() as f64;
        assert!((13.0..18.0).contains(&mean), "{mean}");
    }
}

#[test]
fn noise_alone_moves_pixels_no_farther_than_alpha_says() {
    // A white point in a black image.
    let mut pixels = vec![0; 41 * 41];
    pixels[20 * 41 + 20] = 255;
    let point = Image::from_gray(41, 41, pixels).unwrap();
    let config = AugmentConfig {
        elastic: Some(ElasticConfig {
            alpha: 8.0,
            sigma: 0.0,
            fill: 0,
        }),
        ..AugmentConfig::default()
    };
    let moved = augmented(&config, &point, 41, draw(0, 0, 0));
    let mut lit = 0;
    for (at, &level) in moved.pixels().iter().enumerate() {
        if level > 0 {
            let far = (at % 41).abs_diff(20).max((at / 41).abs_diff(20));
            assert!(far <= 4, "{far}");
            lit += 1;
        }
    }
    assert!(lit > 0);
}

proptest! {
    #[test]
    fn identity_parameters_change_nothing(
        size in 1_u32..40, color: bool, seed: u64, epoch: u64, index: u64,
    ) {
        let image = image(size, size, if color { 3 } else { 1 });
        let mut configs = alone(&identity());
        configs.push(("all", identity()));
        for (name, config) in configs {
            prop_assert!(!config.is_none());
            let result = augmented(&config, &image, size, draw(seed, epoch, index));
            prop_assert_eq!(&result, &image, "{}", name);
        }
    }

    #[test]
    fn any_settings_within_their_domains_give_a_image_of_the_size(
        (width, height, size) in (1_u32..30, 1_u32..30, 1_u32..30),
        color: bool,
        seed: u64,
        affine in (0.0..180.0_f64, 0.0..1.0_f64, 0.1..10.0_f64, 0.0..60.0_f64),
        elastic in (0.0..1000.0_f64, 0.0..20.0_f64),
        (num_ops, magnitude) in (0_u32..=14, 0_u32..=30),
        jitter in (0.0..10.0_f64, 0.0..0.5_f64),
        (small, narrow) in (0.001..1.0_f64, 0.1..10.0_f64),
    ) {
        let config = AugmentConfig {
            resized_crop: Some(ResizedCropConfig { scale: [small, 1.0], ratio: [narrow, 10.0] }),
            horizontal_flip: Some(FlipConfig { p: 0.5 }),
            vertical_flip: Some(FlipConfig { p: 0.5 }),
            affine: Some(AffineConfig {
                degrees: affine.0,
                translate: [affine.1; 2],
                scale: [0.1, affine.2],
                shear: [affine.3; 2],
                fill: 3,
            }),
            elastic: Some(ElasticConfig { alpha: elastic.0, sigma: elastic.1, fill: 0 }),
            rand_augment: Some(RandAugmentConfig { num_ops, magnitude, fill: 9 }),
            color_jitter: Some(ColorJitterConfig {
                brightness: jitter.0, contrast: jitter.0, saturation: jitter.0, hue: jitter.1,
            }),
            erasing: Some(ErasingConfig {
                p: 0.9,
                scale: [small, 1.0],
                ratio: [narrow, 10.0],
                value: EraseValue::Random(Random::Random),
            }),
            ..AugmentConfig::default()
        };
        let channels = if color { 3 } else { 1 };
        let image = image(width, height, channels);
        let mut configs = alone(&config);
        configs.push(("all", config));
        for (name, config) in configs {
            let result = augmented(&config, &image, size, draw(seed, 0, 0));
            prop_assert_eq!((result.width(), result.height()), (size, size), "{}", name);
            prop_assert_eq!(result.channels(), channels, "{}", name);
        }
    }
}
