//! Compares images fitted to a size with PIL and torchvision. The golden data are from tests/golden/generate_fit.py.

use std::fs;
use std::path::Path;

use mnist_data::{
    Fit, Framing, Image, ImageFolder, ImageSize, Interpolation, Loader, LoaderOptions,
};
use serde::Deserialize;

use crate::util::{folder, png};

#[derive(Debug, Deserialize)]
struct Case {
    width: u32,
    height: u32,
    channels: u32,
    size: u32,
    fit: Fit,
    interpolation: Interpolation,
    crop_pct: f64,
    /// The row of the result that is in the golden data.
    row: usize,
    /// The sum over all pixels of each channel.
    sums: Vec<i64>,
}

impl Case {
    fn framing(&self) -> Framing {
        Framing {
            fit: self.fit,
            crop_pct: self.crop_pct,
            interpolation: self.interpolation,
        }
    }
}

/// An image by the formula of generate_fit.py.
fn drawn(width: u32, height: u32, channels: u32) -> Image {
    let pixel = |x: u32, y: u32, c: u32| {
        let wave = (31 * x + 17 * y + 7 * c) % 23 * 9;
        ((7 * x * x + 13 * x * y + 3 * y * y + 85 * c + wave) % 256) as u8
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = rows.flat_map(|(x, y)| (0..channels).map(move |c| pixel(x, y, c)));
    match channels {
        1 => Image::from_gray(width, height, pixels.collect()),
        _ => Image::from_rgb(width, height, pixels.collect()),
    }
    .unwrap()
}

#[test]
fn every_fit_is_pils_but_for_one_grey_level_in_a_hundred() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fit");
    let cases = fs::read(golden.join("cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    let answers = fs::read(golden.join("answers.bin")).unwrap();
    let mut answers = answers.as_slice();
    assert_eq!(
        cases.len(),
        150,
        "generate_fit.py makes three of each image"
    );
    let (mut compared, mut differing) = (0, 0);
    let mut image = drawn(1, 1, 1);
    for case in &cases {
        if (case.width, case.height) != (image.width(), image.height()) {
            image = drawn(case.width, case.height, case.channels);
        }
        let fitted = image.fitted(ImageSize::square(case.size), case.framing());
        let fitted = fitted.unwrap();
        let found = (
            fitted.width(),
            fitted.height(),
            u32::from(fitted.channels()),
        );
        assert_eq!(found, (case.size, case.size, case.channels), "{case:?}");
        let channels = case.channels as usize;
        let stride = case.size as usize * channels;
        let (theirs, rest) = answers.split_at(stride);
        answers = rest;
        let ours = &fitted.pixels()[case.row * stride..][..stride];
        for (column, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            assert!(
                ours.abs_diff(theirs) <= 1,
                "{case:?}, byte {column}: {ours}, not {theirs}"
            );
            compared += 1;
            differing += usize::from(ours != theirs);
        }
        for (channel, &theirs) in case.sums.iter().enumerate() {
            let pixels = fitted.pixels().iter().skip(channel).step_by(channels);
            let ours: i64 = pixels.map(|&byte| i64::from(byte)).sum();
            // In an enlarged image of one pixel's width, a difference in one pixel is repeated many times.
            let most = i64::from(case.size * case.size / 20);
            assert!(
                (ours - theirs).abs() <= most,
                "{case:?}: {ours}, not {theirs}"
            );
        }
    }
    assert!(answers.is_empty());
    assert!(
        differing * 100 <= compared,
        "{differing} of {compared} pixels differ"
    );
}

#[test]
fn a_line_of_pixels_takes_no_more_memory_than_its_middle() {
    // Resized to cover 256 pixels, this long and thin image would take 2 GB.
    let line = |width: u32, height: u32| {
        let pixels = (0..width * height).map(|place| (place * 37 % 251) as u8);
        Image::from_gray(width, height, pixels.collect()).unwrap()
    };
    for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
        let framing = Framing {
            interpolation,
            ..Framing::TORCHVISION
        };
        let size = ImageSize::square(224);
        let lying = line(32_768, 1).fitted(size, framing).unwrap();
        let standing = line(1, 32_768).fitted(size, framing).unwrap();
        for (image, step) in [(lying, 1), (standing, 224)] {
            // Less than one pixel of the source is visible, interpolated between two neighbours.
            let ends = [image.pixels()[0], image.pixels()[223 * step]];
            let [least, most] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
            let outside =
                |&&byte: &&u8| byte < least.saturating_sub(1) || byte > most.saturating_add(1);
            let outside = image.pixels().iter().filter(outside).count();
            assert_eq!(outside, 0, "{ends:?}");
        }
    }
}

#[test]
fn a_gray_border_surrounds_a_letterbox() {
    let white = Image::from_rgb(8, 4, vec![255; 96]).unwrap();
    let framing = Framing {
        fit: Fit::Letterbox,
        ..Framing::default()
    };
    let boxed = white.fitted(ImageSize::square(4), framing).unwrap();
    let gray = [114; 12];
    let rows: Vec<&[u8]> = boxed.pixels().chunks(12).collect();
    assert_eq!(rows, [&gray, &[255; 12], &[255; 12], &gray]);
}

#[test]
fn batches_have_the_height_and_width_asked_for() {
    let dir = folder();
    for index in 0..4 {
        png(
            &dir.path().join(format!("{}/{index}.png", index % 2)),
            60 * index,
        );
    }
    let samples = ImageFolder::training(dir.path()).unwrap().samples;
    let options = LoaderOptions {
        image_size: ImageSize {
            height: 3,
            width: 5,
        },
        framing: Framing {
            fit: Fit::Letterbox,
            ..Framing::default()
        },
        batch_size: 4,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(samples, options).unwrap();
    let batch = loader.epoch(0).next().unwrap().unwrap();
    assert_eq!((batch.height, batch.width), (3, 5));
    // Square images have a gray column on either side.
    for (image, label) in batch.pixels.chunks_exact(3 * 5 * 3).zip(0..) {
        for row in image.chunks_exact(15) {
            let shade = row[3];
            let expected = [[114; 3], [shade; 3], [shade; 3], [shade; 3], [114; 3]];
            assert_eq!(row, expected.concat(), "{label}");
        }
    }
}
