use std::path::Path;

use serde::Deserialize;

use super::image;
use crate::augment::affine::{AffineParameters, InverseAffine};
use crate::augment::color::{adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation};
use crate::augment::elastic::ElasticConfig;
use crate::augment::flip::{flip_horizontally, flip_vertically};
use crate::augment::tone::{adjust_sharpness, autocontrast, equalize, posterize, solarize};
use crate::augment::warp::warp;
use crate::decode::Image;

#[derive(Deserialize)]
struct Case {
    width: u32,
    height: u32,
    channels: u8,
    #[serde(flatten)]
    operation: Operation,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Affine {
        angle: f64,
        translate: [f64; 2],
        scale: f64,
        shear: [f64; 2],
        fill: u8,
    },
    Elastic {
        reach: f32,
    },
    Displacement {
        alpha: f64,
        sigma: f64,
    },
    AdjustBrightness {
        factor: f32,
    },
    AdjustContrast {
        factor: f32,
    },
    AdjustSaturation {
        factor: f32,
    },
    AdjustSharpness {
        factor: f32,
    },
    AdjustHue {
        shift: f32,
    },
    Posterize {
        bits: u32,
    },
    Solarize {
        threshold: f32,
    },
    Autocontrast {},
    Equalize {},
    HorizontalFlip {},
    VerticalFlip {},
    Rotate {
        angle: f64,
    },
    ShearX {
        by: f64,
    },
    ShearY {
        by: f64,
    },
}

/// The `noise` of generate_augment.py.
fn noise(width: u32, height: u32, axis: u32) -> Vec<f32> {
    let value = |x: u32, y: u32| ((37 * x + 101 * y + 53 * axis + x * y) % 64) as f32 / 32.0 - 1.0;
    (0..height)
        .flat_map(|y| (0..width).map(move |x| value(x, y)))
        .collect()
}

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augment");
    std::fs::read(folder.join(name)).unwrap()
}

/// Applies a geometric operation of RandAugment.
fn performed(image: &mut Image, operation: crate::augment::rand_augment::Operation) {
    crate::augment::RandAugmentConfig::default().perform(operation, image, &mut Vec::new());
}

fn perform(operation: &Operation, image: &mut Image) {
    use crate::augment::rand_augment::Operation as Random;
    let moved = |image: &mut Image, map: &InverseAffine, field: Option<&[[f32; 2]]>, fill| {
        let pixels = warp(image, map, field, fill, &mut vec![77; 5]);
        image.pixels_mut().copy_from_slice(&pixels);
    };
    match *operation {
        Operation::Affine {
            angle,
            translate,
            scale,
            shear,
            fill,
        } => {
            let parameters = AffineParameters {
                angle,
                translate,
                scale,
                shear,
                center: [0.0; 2],
            };
            moved(image, &InverseAffine::new(&parameters), None, fill);
        }
        Operation::Elastic { reach } => {
            let [x, y] = [0, 1].map(|axis| noise(image.width(), image.height(), axis));
            let field: Vec<[f32; 2]> = x
                .iter()
                .zip(&y)
                .map(|(&x, &y)| [x * reach, y * reach])
                .collect();
            moved(image, &InverseAffine::IDENTITY, Some(&field), 0);
        }
        Operation::Displacement { .. } => unreachable!("has an answer of its own kind"),
        Operation::AdjustBrightness { factor } => adjust_brightness(image, factor),
        Operation::AdjustContrast { factor } => adjust_contrast(image, factor),
        Operation::AdjustSaturation { factor } => adjust_saturation(image, factor),
        Operation::AdjustSharpness { factor } => adjust_sharpness(image, factor),
        Operation::AdjustHue { shift } => adjust_hue(image, shift),
        Operation::Posterize { bits } => posterize(image, bits),
        Operation::Solarize { threshold } => solarize(image, threshold),
        Operation::Autocontrast {} => autocontrast(image),
        Operation::Equalize {} => equalize(image),
        Operation::HorizontalFlip {} => flip_horizontally(image),
        Operation::VerticalFlip {} => flip_vertically(image),
        Operation::Rotate { angle } => performed(image, Random::Rotate(angle)),
        Operation::ShearX { by } => performed(image, Random::ShearX(by)),
        Operation::ShearY { by } => performed(image, Random::ShearY(by)),
    }
}

#[test]
fn every_operation_is_torchvisions_within_one_grey_level() {
    let cases: Vec<Case> = serde_json::from_slice(&golden("cases.json")).unwrap();
    let answers = golden("answers.bin");
    let mut answers = answers.as_slice();
    let (mut bytes, mut differing) = (0, 0);
    for case in &cases {
        let mut image = image(case.width, case.height, case.channels);
        if let Operation::Displacement { alpha, sigma } = case.operation {
            let (width, height) = (case.width as usize, case.height as usize);
            let config = ElasticConfig {
                alpha,
                sigma,
                fill: 0,
            };
            let noise = noise(case.width, case.height, 0);
            let ours = config.displacement(&noise, width, height);
            let (theirs, rest) = answers.split_at(4 * ours.len());
            answers = rest;
            for (ours, theirs) in ours.iter().zip(theirs.chunks_exact(4)) {
                let theirs = f32::from_le_bytes(theirs.try_into().unwrap());
                assert!((ours - theirs).abs() < 1e-4, "{ours} {theirs}");
            }
            continue;
        }
        perform(&case.operation, &mut image);
        let (theirs, rest) = answers.split_at(image.pixels().len());
        answers = rest;
        let differences = image.pixels().iter().zip(theirs);
        let differences: Vec<u8> = differences.map(|(a, b)| a.abs_diff(*b)).collect();
        let worst = differences.iter().max().unwrap();
        assert!(*worst <= 1, "{:?}: {worst} grey levels", case.operation);
        bytes += differences.len();
        differing += differences.iter().filter(|&&d| d > 0).count();
    }
    assert!(answers.is_empty());
    assert_eq!(cases.len(), 96, "generate_augment.py makes this number");
    // Nearly all results are identical; the others differ in the rounding of a half.
    assert!(differing * 100 < bytes, "{differing} of {bytes} differ");
}
