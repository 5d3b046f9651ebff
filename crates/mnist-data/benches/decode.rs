//! The cost of loading an image: `cargo bench -p mnist-data`.

// A benchmark reports errors by panicking.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use mnist_data::{DecodeOptions, Decoding, Framing, Image, ImageSize};
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

#[path = "../examples/photos/mod.rs"]
mod photos;

/// A gray image of 28 × 28 pixels: a stroke on black, like a digit.
fn digit() -> Vec<u8> {
    let pixel = |y: i32, x: i32| (255 - 60 * (x - 14 + (y - 14) / 3).abs()).clamp(0, 255) as u8;
    let rows =
        (0..28).map(|y| (0..28).map(move |x| if (4..24).contains(&y) { pixel(y, x) } else { 0 }));
    rows.flatten().collect()
}

/// A JPEG of 32 × 32 pixels, 4:2:0.
fn thumbnail() -> Vec<u8> {
    let (width, height) = (photos::WIDTH as u32, photos::HEIGHT as u32);
    let photo = Image::from_rgb(width, height, photos::pixels(0)).unwrap();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 75);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    let pixels = photo.resized(32).unwrap().to_rgb();
    encoder.encode(&pixels, 32, 32, ColorType::Rgb).unwrap();
    file
}

fn decode(criterion: &mut Criterion) {
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::NoFilter)
        .write_image(&digit(), 28, 28, ExtendedColorType::L8)
        .unwrap();
    let photo = photos::jpeg(0).unwrap();
    let small = thumbnail();
    for (name, file) in [
        ("decode png 28x28", &png),
        ("decode jpeg 500x375", &photo),
        ("decode jpeg 32x32", &small),
    ] {
        criterion.bench_function(name, |bench| {
            bench.iter(|| Image::decode(black_box(file), Path::new(name)).unwrap());
        });
    }
    for (name, file) in [
        ("decode jpeg 500x375, zune-jpeg", &photo),
        ("decode jpeg 32x32, zune-jpeg", &small),
    ] {
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                JpegDecoder::new(ZCursor::new(black_box(file)))
                    .decode()
                    .unwrap()
            });
        });
    }
    let ways = [Decoding::Exact, Decoding::Fast].map(|decoding| [(decoding, 64), (decoding, 224)]);
    for (decoding, size) in ways.into_iter().flatten() {
        let options = DecodeOptions {
            decoding,
            ..DecodeOptions::default()
        };
        let name = format!("decode jpeg 500x375 to {size}, {}", decoding.name());
        criterion.bench_function(&name, |bench| {
            bench.iter(|| {
                Image::decode_at(
                    black_box(&photo),
                    Path::new("photo"),
                    ImageSize::square(size),
                    Framing::default(),
                    options,
                )
                .unwrap()
            });
        });
    }
}

fn resize(criterion: &mut Criterion) {
    let digit = Image::from_gray(28, 28, digit()).unwrap();
    let (width, height) = (photos::WIDTH as u32, photos::HEIGHT as u32);
    let photo = Image::from_rgb(width, height, photos::pixels(0)).unwrap();
    for (name, image, size) in [
        ("resize gray 28x28 to 32", digit, 32),
        ("resize rgb 500x375 to 224", photo, 224),
    ] {
        criterion.bench_function(name, |bench| {
            bench.iter(|| black_box(&image).resized(size).unwrap());
        });
    }
}

criterion_group!(benches, decode, resize);
criterion_main!(benches);
