//! Tests the views of test-time augmentation.

use mnist_data::{
    AugmentConfig, BadImage, HostBatch, Image, ImageFolder, ImageSize, Loader, LoaderOptions,
    Preset, TtaConfig, View,
};

use crate::util::{folder, png};

/// 3 × 2 pixels, all of them different.
fn drawn(channels: usize) -> Image {
    let pixels = (0..6 * channels).map(|byte| byte as u8).collect();
    match channels {
        1 => Image::from_gray(3, 2, pixels),
        _ => Image::from_rgb(3, 2, pixels),
    }
    .unwrap()
}

#[test]
fn views_match_their_names() {
    let gray = drawn(1);
    assert_eq!(View::Identity.of(&gray), gray);
    for (view, pixels) in [
        (View::HorizontalFlip, [2, 1, 0, 5, 4, 3]),
        (View::Shift { x: 1, y: 0 }, [0, 0, 1, 3, 3, 4]),
        (View::Shift { x: -1, y: 0 }, [1, 2, 2, 4, 5, 5]),
        (View::Shift { x: 0, y: 1 }, [0, 1, 2, 0, 1, 2]),
        (View::Shift { x: 0, y: -1 }, [3, 4, 5, 3, 4, 5]),
        (
            View::Shift {
                x: i32::MAX,
                y: i32::MIN,
            },
            [3; 6],
        ),
    ] {
        assert_eq!(view.of(&gray).pixels(), pixels, "{view:?}");
        // All colours of a pixel move together.
        let colored = view.of(&drawn(3));
        for (rgb, place) in colored.pixels().chunks(3).zip(pixels) {
            assert_eq!(rgb, [3 * place, 3 * place + 1, 3 * place + 2], "{view:?}");
        }
    }
}

#[test]
fn shifts_grow_with_the_image() {
    for (side, step) in [
        (1, 0),
        (14, 1),
        (28, 1),
        (41, 1),
        (42, 2),
        (96, 3),
        (224, 8),
    ] {
        // One row and one column, with each pixel's position as its value.
        let pixels: Vec<u8> = (0..side).map(|place| place as u8).collect();
        let shifted: Vec<u8> = (0..side)
            .map(|place: i32| (place - step).max(0) as u8)
            .collect();
        let side = side as u32;
        let row = Image::from_gray(side, 1, pixels.clone()).unwrap();
        let column = Image::from_gray(1, side, pixels).unwrap();
        let right = View::Shift { x: 1, y: 0 };
        let down = View::Shift { x: 0, y: 1 };
        assert_eq!(right.of(&row).pixels(), shifted, "{side}");
        assert_eq!(down.of(&column).pixels(), shifted, "{side}");
        // The other side of the image does not matter.
        assert_eq!(right.of(&column), column);
    }
}

#[test]
fn the_image_itself_comes_first_and_no_view_twice() {
    for (config, count) in [
        (TtaConfig::None, 1),
        (TtaConfig::Flip, 2),
        (TtaConfig::Shifts, 5),
    ] {
        let views = config.views();
        assert_eq!((views.len(), views[0]), (count, View::Identity));
        let shown: std::collections::BTreeSet<Vec<u8>> = views
            .iter()
            .map(|view| view.of(&drawn(3)).pixels().to_vec())
            .collect();
        assert_eq!(shown.len(), count);
    }
    let written = serde_json::to_string(&TtaConfig::Shifts).unwrap();
    assert_eq!(written, "\"shifts\"");
    assert_eq!(
        serde_json::from_str::<TtaConfig>("\"flip\"").unwrap(),
        TtaConfig::Flip
    );
}

#[test]
fn each_batch_comes_once_for_each_view() {
    let dir = folder();
    for index in 0..10 {
        let path = dir.path().join(format!("a/{index}.png"));
        std::fs::create_dir_all(dir.path().join("a")).unwrap();
        image::GrayImage::from_fn(4, 4, |x, y| image::Luma([(index * 20 + 3 * x + y) as u8]))
            .save(path)
            .unwrap();
    }
    // One image is left out of every view.
    std::fs::write(dir.path().join("a/4.png"), "").unwrap();
    let samples = ImageFolder::training(dir.path()).unwrap().samples;
    let batches = |tta, workers| -> Vec<HostBatch> {
        let options = LoaderOptions {
            batch_size: 3,
            image_size: ImageSize::square(4),
            workers,
            prefetch: 1,
            cache_bytes: 0,
            on_bad_image: BadImage::Skip,
            tta,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(samples.clone(), options).unwrap();
        assert_eq!(loader.batches_per_epoch(), 4);
        loader.epoch(0).collect::<Result<_, _>>().unwrap()
    };
    let plain = batches(TtaConfig::None, 1);
    for workers in [1, 2, 3, 9] {
        for tta in [TtaConfig::Flip, TtaConfig::Shifts] {
            let all = batches(tta, workers);
            assert_eq!(all.len(), plain.len() * tta.views().len());
            for (group, plain) in all.chunks(tta.views().len()).zip(&plain) {
                for (batch, view) in group.iter().zip(tta.views()) {
                    assert_eq!((&batch.ids, &batch.labels), (&plain.ids, &plain.labels));
                    for (shown, original) in batch.pixels.chunks(48).zip(plain.pixels.chunks(48)) {
                        let original = Image::from_rgb(4, 4, original.to_vec()).unwrap();
                        assert_eq!(shown, view.of(&original).pixels());
                    }
                }
            }
        }
    }
}

#[test]
fn views_are_refused_where_images_are_random() {
    let dir = folder();
    png(&dir.path().join("a/1.png"), 1);
    let samples = ImageFolder::training(dir.path()).unwrap().samples;
    let options = LoaderOptions {
        tta: TtaConfig::Flip,
        augment: AugmentConfig::from(Preset::Photos),
        ..LoaderOptions::default()
    };
    let error = Loader::new(samples, options).unwrap_err().to_string();
    assert!(
        error.contains("tta") && error.contains("augment"),
        "{error}"
    );
}
