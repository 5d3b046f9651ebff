//! Rotation, scale, shear and shift in one resampling.

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::config::{require, require_range};
use super::random::{around_zero, uniform};
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use crate::error::Result;

/// A random affine map about the middle of the image, bilinear:
/// `torchvision.transforms.v2.RandomAffine`.
///
/// Pixels outside of the image have the shade `fill`; a pixel on the border is a blend of both. Unlike in
/// torchvision, shifts are not rounded to whole pixels: a digit of 32 pixels would have only three positions
/// per side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AffineConfig {
    /// Rotation is between minus and plus this many degrees, 0 to 180.
    pub degrees: f64,
    /// The largest shift to either side, as shares of width and height, each 0 to 1.
    pub translate: [f64; 2],
    /// The smallest and the largest factor, from 0.1 to 10.
    pub scale: [f64; 2],
    /// The largest shear to either side along x and along y, in degrees, each 0 to 60.
    pub shear: [f64; 2],
    /// The shade outside of the image.
    pub fill: u8,
}

impl Default for AffineConfig {
    /// ±10°, shifts of ±5 %, scales of ±8 %, no shear, black outside: suitable for digits.
    fn default() -> Self {
        Self {
            degrees: 10.0,
            translate: [0.05, 0.05],
            scale: [0.92, 1.08],
            shear: [0.0, 0.0],
            fill: 0,
        }
    }
}

impl Step for AffineConfig {
    const SETTINGS: &'static [AugmentSetting] = &[
        AugmentSetting::new(
            "degrees",
            AugmentValue::Number,
            "Largest rotation to either side.",
        ),
        AugmentSetting::new(
            "translate",
            AugmentValue::Pair,
            "Largest shift, as shares of width and height.",
        ),
        AugmentSetting::new(
            "scale",
            AugmentValue::Pair,
            "The smallest and the largest scale.",
        ),
        AugmentSetting::new("shear", AugmentValue::Pair, "Largest shear in degrees."),
        AugmentSetting::new(
            "fill",
            AugmentValue::Byte,
            "Grey level outside of the image.",
        ),
    ];

    fn validate(&self, _: &'static str) -> Result<()> {
        let within = |values: &[f64], most: f64| values.iter().all(|v| (0.0..=most).contains(v));
        require(
            within(&[self.degrees], 180.0),
            "augment.affine.degrees",
            self.degrees,
            "0 to 180",
        )?;
        require(
            within(&self.translate, 1.0),
            "augment.affine.translate",
            format_args!("{:?}", self.translate),
            "two shares of 0 to 1",
        )?;
        require_range("augment.affine.scale", self.scale, [0.1, 10.0])?;
        require(
            within(&self.shear, 60.0),
            "augment.affine.shear",
            format_args!("{:?}", self.shear),
            "two angles of 0 to 60 degrees",
        )
    }
}

impl AffineConfig {
    /// Draws the map of one image of this size.
    pub(crate) fn draw(&self, rng: &mut impl Rng, width: u32, height: u32) -> AffineParameters {
        let angle = around_zero(rng, self.degrees);
        let translate = [
            around_zero(rng, self.translate[0] * f64::from(width)),
            around_zero(rng, self.translate[1] * f64::from(height)),
        ];
        let scale = uniform(rng, self.scale);
        let shear = self.shear.map(|limit| around_zero(rng, limit));
        AffineParameters {
            angle,
            translate,
            scale,
            shear,
            center: [0.0, 0.0],
        }
    }
}

/// The arguments of `torchvision.transforms.v2.functional.affine`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AffineParameters {
    /// Degrees, clockwise.
    pub(crate) angle: f64,
    /// Pixels, to the right and down.
    pub(crate) translate: [f64; 2],
    pub(crate) scale: f64,
    /// Degrees, along x and along y.
    pub(crate) shear: [f64; 2],
    /// The fixed point, apart from the shift, in pixels from the middle.
    pub(crate) center: [f64; 2],
}

impl AffineParameters {
    pub(crate) const IDENTITY: Self = Self {
        angle: 0.0,
        translate: [0.0; 2],
        scale: 1.0,
        shear: [0.0; 2],
        center: [0.0; 2],
    };
}

/// The source of an output pixel: `x' = x[0]·x + x[1]·y + x[2]`, and `y'` likewise, in pixels from the
/// middle of the image to the right and down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InverseAffine {
    pub(crate) x: [f64; 3],
    pub(crate) y: [f64; 3],
}

impl InverseAffine {
    pub(crate) const IDENTITY: Self = Self {
        x: [1.0, 0.0, 0.0],
        y: [0.0, 1.0, 0.0],
    };

    /// torchvision's `_get_inverse_affine_matrix`.
    pub(crate) fn new(parameters: &AffineParameters) -> Self {
        let rotation = parameters.angle.to_radians();
        let [shear_x, shear_y] = parameters.shear.map(f64::to_radians);
        let a = (rotation - shear_y).cos() / shear_y.cos();
        let b = -(a * shear_x.tan() + rotation.sin());
        let c = (rotation - shear_y).sin() / shear_y.cos();
        let d = rotation.cos() - c * shear_x.tan();
        // The determinant of [[a, b], [c, d]] is 1, so that this is the inverse.
        let [m00, m01, m10, m11] = [d, -b, -c, a].map(|entry| entry / parameters.scale);
        let [center_x, center_y] = parameters.center;
        let moved_x = center_x + parameters.translate[0];
        let moved_y = center_y + parameters.translate[1];
        Self {
            x: [m00, m01, center_x - m00 * moved_x - m01 * moved_y],
            y: [m10, m11, center_y - m10 * moved_x - m11 * moved_y],
        }
    }

    /// The same map of the mirrored image.
    pub(crate) fn of_flipped(self, horizontally: bool, vertically: bool) -> Self {
        let negated = |row: [f64; 3], yes: bool| if yes { row.map(|v| -v) } else { row };
        Self {
            x: negated(self.x, horizontally),
            y: negated(self.y, vertically),
        }
    }

    /// The source of `[x, y]`.
    pub(crate) fn source(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.x, self.y].map(|row| row[0] * x + row[1] * y + row[2])
    }
}
