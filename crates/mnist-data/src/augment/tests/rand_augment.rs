//! The strengths of RandAugment's operations, and some of their effects.

use super::{image, pixel};
use crate::augment::RandAugmentConfig;
use crate::augment::rand_augment::Operation;

/// `_AUGMENTATION_SPACE` of torchvision.transforms.v2.RandAugment with its 31 bins, worked out by hand: shears are
/// `linspace(0, 0.3)`, shifts `linspace(0, 150 / 331 · side)`, rotation `linspace(0, 30)`, brightness, color,
/// contrast and sharpness `linspace(0, 0.9)`, posterize `round(8 - bin / 7.5)` and solarize `linspace(1, 0)`.
#[test]
fn rand_augment_is_as_strong_as_torchvisions() {
    // Columns: magnitude; shear; shifts of images of 28, 331 and 200 pixels; rotation; the four factors; bits;
    // threshold.
    for (magnitude, shear, [s28, s331, s200], rotation, factor, bits, threshold) in [
        (0, 0.0, [0.0, 0.0, 0.0], 0.0, 0.0, 8, 1.0),
        (9, 0.09, [3.806_647, 45.0, 27.190_332], 9.0, 0.27, 7, 0.7),
        (30, 0.3, [12.688_822, 150.0, 90.634_441], 30.0, 0.9, 4, 0.0),
    ] {
        let config = RandAugmentConfig {
            magnitude,
            ..RandAugmentConfig::default()
        };
        for ([width, height], [x, y]) in [([28, 331], [s28, s331]), ([331, 200], [s331, s200])] {
            let expected = [
                Operation::Identity,
                Operation::ShearX(shear),
                Operation::ShearY(shear),
                Operation::TranslateX(x),
                Operation::TranslateY(y),
                Operation::Rotate(rotation),
                Operation::Brightness(factor),
                Operation::Color(factor),
                Operation::Contrast(factor),
                Operation::Sharpness(factor),
                Operation::Posterize(bits),
                Operation::Solarize(threshold),
                Operation::AutoContrast,
                Operation::Equalize,
            ];
            let ours = config.operations(width, height);
            for (ours, expected) in ours.into_iter().zip(expected) {
                let [(ours, value), (name, by)] = [ours, expected].map(named);
                assert_eq!(ours, name);
                assert!(
                    (value - by).abs() < 1e-6,
                    "{magnitude}: {ours} {value} {by}"
                );
            }
        }
    }
    // All bins of the one parameter that is rounded.
    let bits = "8888777777776666666555555554444";
    for (magnitude, bits) in (0..).zip(bits.chars()) {
        let config = RandAugmentConfig {
            magnitude,
            ..RandAugmentConfig::default()
        };
        let posterize = Operation::Posterize(bits.to_digit(10).unwrap());
        assert!(config.operations(1, 1).contains(&posterize), "{magnitude}");
    }
}

/// An operation's name and strength.
fn named(operation: Operation) -> (String, f64) {
    let text = format!("{operation:?}");
    match text.trim_end_matches(')').split_once('(') {
        Some((name, value)) => (name.into(), value.parse().unwrap()),
        None => (text, 0.0),
    }
}

#[test]
fn translation_moves_whole_pixels_and_leaves_the_fill_behind() {
    let config = RandAugmentConfig {
        fill: 9,
        ..RandAugmentConfig::default()
    };
    for channels in [1, 3] {
        let original = image(11, 7, channels);
        for (operation, [right, down]) in [
            (Operation::TranslateX(3.8), [3, 0]),
            (Operation::TranslateX(-3.8), [-3, 0]),
            (Operation::TranslateY(2.0), [0, 2]),
            (Operation::TranslateY(-2.9), [0, -2]),
            (Operation::TranslateX(0.99), [0, 0]),
            (Operation::TranslateX(50.0), [50, 0]),
        ] {
            let mut moved = original.clone();
            config.perform(operation, &mut moved, &mut Vec::new());
            for y in 0..7_i32 {
                for x in 0..11_i32 {
                    let from = [x - right, y - down];
                    let inside = (0..11).contains(&from[0]) && (0..7).contains(&from[1]);
                    for c in 0..u32::from(channels) {
                        let expected = match inside {
                            true => pixel(from[0] as u32, from[1] as u32, c),
                            false => 9,
                        };
                        let at = (y * 11 + x) as usize * usize::from(channels) + c as usize;
                        assert_eq!(moved.pixels()[at], expected, "{operation:?} {x} {y}");
                    }
                }
            }
        }
    }
}

#[test]
fn operations_without_strength_leave_a_image_as_it_is() {
    let config = RandAugmentConfig {
        magnitude: 0,
        fill: 9,
        ..RandAugmentConfig::default()
    };
    for ([width, height], channels) in [([24, 24], 1), ([13, 30], 3), ([2, 1], 3)] {
        let original = image(width, height, channels);
        // The last two operations have no strength. The one before them inverts 255 even at the lowest strength.
        let operations = config.operations(width, height);
        for &operation in &operations[..11] {
            let mut result = original.clone();
            config.perform(operation, &mut result, &mut Vec::new());
            assert_eq!(result, original, "{operation:?}");
        }
        assert_eq!(operations[10], Operation::Posterize(8));
    }
}
