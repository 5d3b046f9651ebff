//! Random operations from a fixed list, all of one strength.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::affine::{AffineParameters, InverseAffine};
use super::color::{adjust_brightness, adjust_contrast, adjust_saturation};
use super::config::require;
use super::random::chance;
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use super::tone::{adjust_sharpness, autocontrast, equalize, posterize, solarize};
use super::warp::warp;
use crate::decode::Image;
use crate::error::Result;
use crate::shuffle::below;

/// The largest magnitude; torchvision's `num_magnitude_bins` is one more.
const MAX_MAGNITUDE: u32 = 30;

/// Cubuk et al., 2019: `torchvision.transforms.v2.RandAugment`, its operations and strengths, with bilinear
/// instead of nearest interpolation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugmentConfig {
    /// Operations per image, 0 to 14. One may come twice.
    pub num_ops: u32,
    /// Their strength, 0 to 30.
    pub magnitude: u32,
    /// The shade outside of the image.
    pub fill: u8,
}

impl Default for RandAugmentConfig {
    /// torchvision's: two operations of magnitude 9, black outside.
    fn default() -> Self {
        Self {
            num_ops: 2,
            magnitude: 9,
            fill: 0,
        }
    }
}

/// An operation with its strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Identity,
    ShearX(f64),
    ShearY(f64),
    TranslateX(f64),
    TranslateY(f64),
    Rotate(f64),
    Brightness(f64),
    Color(f64),
    Contrast(f64),
    Sharpness(f64),
    Posterize(u32),
    Solarize(f64),
    AutoContrast,
    Equalize,
}

impl Step for RandAugmentConfig {
    const SETTINGS: &'static [AugmentSetting] = &[
        AugmentSetting::new("num_ops", AugmentValue::Whole, "Operations per image."),
        AugmentSetting::new("magnitude", AugmentValue::Whole, "Their strength."),
        AugmentSetting::new(
            "fill",
            AugmentValue::Byte,
            "Grey level outside of the image.",
        ),
    ];

    fn validate(&self, _: &'static str) -> Result<()> {
        let operations = self.operations(1, 1).len() as u32;
        require(
            self.num_ops <= operations,
            "augment.rand_augment.num_ops",
            self.num_ops,
            "0 to 14",
        )?;
        require(
            self.magnitude <= MAX_MAGNITUDE,
            "augment.rand_augment.magnitude",
            self.magnitude,
            "0 to 30",
        )
    }

    fn change(
        &self,
        image: &mut Image,
        numbers: impl FnOnce() -> ChaCha8Rng,
        memory: &mut Vec<u8>,
    ) {
        self.apply(image, &mut numbers(), memory);
    }
}

impl RandAugmentConfig {
    pub(crate) fn apply(&self, image: &mut Image, rng: &mut impl Rng, memory: &mut Vec<u8>) {
        let operations = self.operations(image.width(), image.height());
        for _ in 0..self.num_ops {
            let chosen = operations[below(rng, operations.len() as u64) as usize];
            let negative = chance(rng, 0.5);
            self.perform(chosen.signed(negative), image, memory);
        }
    }

    /// torchvision's `_AUGMENTATION_SPACE`.
    pub(crate) fn operations(&self, width: u32, height: u32) -> [Operation; 14] {
        let share = f64::from(self.magnitude) / f64::from(MAX_MAGNITUDE);
        let shift = |side: u32| share * f64::from(side) * 150.0 / 331.0;
        [
            Operation::Identity,
            Operation::ShearX(0.3 * share),
            Operation::ShearY(0.3 * share),
            Operation::TranslateX(shift(width)),
            Operation::TranslateY(shift(height)),
            Operation::Rotate(30.0 * share),
            Operation::Brightness(0.9 * share),
            Operation::Color(0.9 * share),
            Operation::Contrast(0.9 * share),
            Operation::Sharpness(0.9 * share),
            Operation::Posterize((8.0 - 4.0 * share).round_ties_even() as u32),
            Operation::Solarize(1.0 - share),
            Operation::AutoContrast,
            Operation::Equalize,
        ]
    }

    pub(crate) fn perform(&self, operation: Operation, image: &mut Image, memory: &mut Vec<u8>) {
        let still = AffineParameters::IDENTITY;
        let corner = [image.width(), image.height()].map(|side| -0.5 * f64::from(side));
        let slope = |slope: f64| slope.atan().to_degrees();
        let affine = match operation {
            Operation::Identity => return,
            Operation::ShearX(by) => AffineParameters {
                shear: [slope(by), 0.0],
                center: corner,
                ..still
            },
            Operation::ShearY(by) => AffineParameters {
                shear: [0.0, slope(by)],
                center: corner,
                ..still
            },
            Operation::TranslateX(by) => AffineParameters {
                translate: [by.trunc(), 0.0],
                ..still
            },
            Operation::TranslateY(by) => AffineParameters {
                translate: [0.0, by.trunc()],
                ..still
            },
            // torchvision's `rotate` and `affine` turn in opposite directions.
            Operation::Rotate(angle) => AffineParameters {
                angle: -angle,
                ..still
            },
            Operation::Brightness(by) => return adjust_brightness(image, 1.0 + by as f32),
            Operation::Color(by) => return adjust_saturation(image, 1.0 + by as f32),
            Operation::Contrast(by) => return adjust_contrast(image, 1.0 + by as f32),
            Operation::Sharpness(by) => return adjust_sharpness(image, 1.0 + by as f32),
            Operation::Posterize(bits) => return posterize(image, bits),
            Operation::Solarize(from) => return solarize(image, 255.0 * from as f32),
            Operation::AutoContrast => return autocontrast(image),
            Operation::Equalize => return equalize(image),
        };
        let map = InverseAffine::new(&affine);
        let warped = warp(image, &map, None, self.fill, memory);
        image.pixels_mut().copy_from_slice(&warped);
    }
}

impl Operation {
    /// With the other sign, if the operation has one.
    fn signed(self, negative: bool) -> Self {
        let sign = if negative { -1.0 } else { 1.0 };
        match self {
            Self::ShearX(by) => Self::ShearX(sign * by),
            Self::ShearY(by) => Self::ShearY(sign * by),
            Self::TranslateX(by) => Self::TranslateX(sign * by),
            Self::TranslateY(by) => Self::TranslateY(sign * by),
            Self::Rotate(by) => Self::Rotate(sign * by),
            Self::Brightness(by) => Self::Brightness(sign * by),
            Self::Color(by) => Self::Color(sign * by),
            Self::Contrast(by) => Self::Contrast(sign * by),
            Self::Sharpness(by) => Self::Sharpness(sign * by),
            other => other,
        }
    }
}
