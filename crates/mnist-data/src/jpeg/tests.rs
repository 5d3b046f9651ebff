//! Tests decoding at reduced sizes.

use framing::{Framing, ImageSize};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::resize::Scaler;

/// No multiples of any block's size.
const WIDTH: u32 = 93;
const HEIGHT: u32 = 61;

/// Samplings, and the largest mean difference in grey levels between fast and exact decoding. It is large for colours
/// that are stored at much less than the image's width or height, and then repeated.
const SAMPLINGS: [(SamplingFactor, f64); 6] = [
    (SamplingFactor::R_4_4_4, 1.0),
    (SamplingFactor::R_4_2_0, 1.0),
    (SamplingFactor::R_4_2_2, 2.0),
    (SamplingFactor::R_4_4_0, 3.0),
    (SamplingFactor::R_4_1_0, 3.0),
    (SamplingFactor::R_4_1_1, 9.0),
];

/// Pseudo-random coefficients.
pub(super) fn random() -> impl FnMut() -> i16 {
    let mut state = 1_u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i16
    }
}

/// The instructions that tests compare with plain ones. Without them, a note says so.
#[cfg(target_arch = "x86_64")]
pub(super) fn tested_vectors() -> idct::Vectors {
    let vectors = idct::vectors();
    if vectors.is_none() {
        let note = b"transforms with AVX2 are not tested: this processor has no AVX2\n";
        std::io::Write::write_all(&mut std::io::stderr(), note).unwrap();
    }
    vectors
}

/// A smooth photo.
fn photo(sampling: SamplingFactor, progressive: bool) -> Vec<u8> {
    let wave = |at: u32, length: f32| (at as f32 / length).sin();
    let pixel = |x: u32, y: u32| {
        [
            128.0 + 90.0 * wave(x, 23.0) * wave(y + 5, 29.0),
            128.0 + 100.0 * wave(x + 2 * y, 47.0),
            (2 * x + y) as f32,
        ]
    };
    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).flat_map(move |x| pixel(x, y)));
    let pixels: Vec<u8> = pixels.map(|value| value as u8).collect();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 95);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    let (width, height) = (WIDTH as u16, HEIGHT as u16);
    encoder
        .encode(&pixels, width, height, ColorType::Rgb)
        .unwrap();
    file
}

/// The size of the photo at `part` eighths.
fn target(part: u32) -> Target {
    Target {
        size: ImageSize {
            width: (WIDTH * part).div_ceil(8),
            height: (HEIGHT * part).div_ceil(8),
        },
        framing: Framing::default(),
    }
}

fn decoded(file: &[u8], target: Target, decoding: Decoding) -> Result<Decoded, Fault> {
    let options = DecodeOptions {
        decoding,
        truncated: TruncatedImages::Accept,
        ..DecodeOptions::default()
    };
    decode(file, Vec::new(), options, Some(target))
}

#[test]
fn the_smallest_sufficient_part_is_decoded_and_resembles_the_whole() {
    for (sampling, most) in SAMPLINGS {
        for file in [false, true].map(|progressive| photo(sampling, progressive)) {
            for part in 1..=8 {
                let target = target(part);
                let ImageSize { width, height } = target.size;
                let fast = decoded(&file, target, Decoding::Fast).unwrap();
                assert_eq!((fast.image.width(), fast.image.height()), (width, height));
                let size = ImageSize {
                    width: width - 1,
                    height: height - 1,
                };
                let target = Target { size, ..target };
                let fast = Scaler::default().fit_decoded(fast, target).unwrap();
                let exact = decoded(&file, target, Decoding::Exact).unwrap();
                let exact = Scaler::default().fit_decoded(exact, target).unwrap();
                let levels = fast.pixels().iter().zip(exact.pixels());
                let sum: u32 = levels.map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
                let mean = f64::from(sum) / exact.pixels().len() as f64;
                assert!(mean < most, "{sampling:?}, {part} eighths: {mean}");
            }
        }
    }
}

#[test]
fn damaged_files_do_not_panic_at_any_size() {
    for (sampling, _) in SAMPLINGS {
        for file in [false, true].map(|progressive| photo(sampling, progressive)) {
            for part in 1..8 {
                for at in (2..file.len()).step_by(97) {
                    let mut damaged = file.clone();
                    damaged[at] ^= 0x55;
                    let _ = decoded(&damaged, target(part), Decoding::Fast);
                    let _ = decoded(&file[..at], target(part), Decoding::Fast);
                }
            }
        }
    }
}
