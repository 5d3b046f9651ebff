//! Random changes of colour, like other light or another camera.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::color::{adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation};
use super::config::require;
use super::random::{around_zero, uniform};
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use crate::decode::Image;
use crate::error::Result;
use crate::shuffle::shuffle_by;

/// Brightness, contrast, saturation and hue by random factors, in random order:
/// `torchvision.transforms.v2.ColorJitter`. Gray images have neither saturation nor hue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitterConfig {
    /// The factor is 1 plus or minus this, but not below 0; 0 to 10.
    pub brightness: f64,
    /// The factor is 1 plus or minus this, but not below 0; 0 to 10.
    pub contrast: f64,
    /// The factor is 1 plus or minus this, but not below 0; 0 to 10.
    pub saturation: f64,
    /// The hue moves by up to this share of the colour circle to either side; 0 to 0.5.
    pub hue: f64,
}

impl Default for ColorJitterConfig {
    /// ±20 % of brightness, contrast and saturation; hues are unchanged.
    fn default() -> Self {
        Self {
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.2,
            hue: 0.0,
        }
    }
}

/// The changes of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Jitter {
    /// The steps in their order: 0 is brightness, 1 contrast, 2 saturation and 3 hue.
    pub(crate) order: [u8; 4],
    /// Of brightness, contrast and saturation.
    pub(crate) factors: [f32; 3],
    /// In circles.
    pub(crate) hue: f32,
}

impl Step for ColorJitterConfig {
    const SETTINGS: &'static [AugmentSetting] = &[
        AugmentSetting::new(
            "brightness",
            AugmentValue::Number,
            "The factor is 1 plus or minus this.",
        ),
        AugmentSetting::new(
            "contrast",
            AugmentValue::Number,
            "The factor is 1 plus or minus this.",
        ),
        AugmentSetting::new(
            "saturation",
            AugmentValue::Number,
            "The factor is 1 plus or minus this.",
        ),
        AugmentSetting::new(
            "hue",
            AugmentValue::Number,
            "Largest shift of the hue, as a share of the colour circle.",
        ),
    ];

    fn validate(&self, _: &'static str) -> Result<()> {
        for (setting, value) in [
            ("augment.color_jitter.brightness", self.brightness),
            ("augment.color_jitter.contrast", self.contrast),
            ("augment.color_jitter.saturation", self.saturation),
        ] {
            require((0.0..=10.0).contains(&value), setting, value, "0 to 10")?;
        }
        require(
            (0.0..=0.5).contains(&self.hue),
            "augment.color_jitter.hue",
            self.hue,
            "0 to 0.5",
        )
    }

    fn change(&self, image: &mut Image, numbers: impl FnOnce() -> ChaCha8Rng, _: &mut Vec<u8>) {
        self.draw(&mut numbers()).apply(image);
    }
}

impl ColorJitterConfig {
    /// Draws the changes of one image.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Jitter {
        let mut order = [0, 1, 2, 3];
        shuffle_by(&mut order, rng);
        let mut factor = |by: f64| uniform(rng, [(1.0 - by).max(0.0), 1.0 + by]) as f32;
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let hue = around_zero(rng, self.hue) as f32;
        Jitter {
            order,
            factors,
            hue,
        }
    }
}

impl Jitter {
    pub(crate) fn apply(&self, image: &mut Image) {
        for step in self.order {
            match step {
                0 => adjust_brightness(image, self.factors[0]),
                1 => adjust_contrast(image, self.factors[1]),
                2 => adjust_saturation(image, self.factors[2]),
                _ => adjust_hue(image, self.hue),
            }
        }
    }
}
