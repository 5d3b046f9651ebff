//! Random erasing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::config::{require, require_range, require_shares};
use super::crop::{Part, rounded};
use super::random::{chance, log_uniform, uniform};
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use crate::decode::Image;
use crate::error::Result;
use crate::shuffle::below;

/// A rectangle erased at random (Zhong et al., 2017): `torchvision.transforms.v2.RandomErasing`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErasingConfig {
    /// The probability, 0 to 1.
    pub p: f64,
    /// The smallest and the largest share of the area, above 0 to 1.
    pub scale: [f64; 2],
    /// The smallest and the largest ratio of height to width, 0.1 to 10.
    pub ratio: [f64; 2],
    /// The replacement.
    pub value: EraseValue,
}

/// The fill of an erased rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a grey level of 0 to 255, or \"random\""
)]
pub enum EraseValue {
    /// One grey level.
    Shade(u8),
    /// A random grey level for every byte.
    Random(Random),
}

/// The spelling of [`EraseValue::Random`]: `"random"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Random {
    /// Uniform noise.
    Random,
}

impl Default for ErasingConfig {
    /// torchvision's: every second image, 2 to 33 % of its area, ratios of 0.3 to 3.3, black.
    fn default() -> Self {
        Self {
            p: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
            value: EraseValue::Shade(0),
        }
    }
}

impl Step for ErasingConfig {
    const SETTINGS: &'static [AugmentSetting] = &[
        AugmentSetting::new("p", AugmentValue::Number, "Probability of erasing."),
        AugmentSetting::new(
            "scale",
            AugmentValue::Pair,
            "The smallest and the largest share of the area.",
        ),
        AugmentSetting::new(
            "ratio",
            AugmentValue::Pair,
            "The smallest and the largest ratio of height to width.",
        ),
        AugmentSetting::new(
            "value",
            AugmentValue::ByteOrRandom,
            "Grey level of the erased rectangle.",
        ),
    ];

    fn validate(&self, _: &'static str) -> Result<()> {
        require(
            (0.0..=1.0).contains(&self.p),
            "augment.erasing.p",
            self.p,
            "0 to 1",
        )?;
        require_shares("augment.erasing.scale", self.scale)?;
        require_range("augment.erasing.ratio", self.ratio, [0.1, 10.0])
    }

    fn change(&self, image: &mut Image, numbers: impl FnOnce() -> ChaCha8Rng, _: &mut Vec<u8>) {
        self.apply(image, &mut numbers());
    }
}

impl ErasingConfig {
    pub(crate) fn apply(&self, image: &mut Image, rng: &mut impl Rng) {
        if !chance(rng, self.p) {
            return;
        }
        let Some(hole) = self.hole(rng, image.width(), image.height()) else {
            return;
        };
        let channels = usize::from(image.channels());
        let stride = image.width() as usize * channels;
        let rows = image.pixels_mut().chunks_exact_mut(stride);
        for row in rows.skip(hole.top as usize).take(hole.height as usize) {
            let erased =
                &mut row[hole.left as usize * channels..][..hole.width as usize * channels];
            match self.value {
                EraseValue::Shade(shade) => erased.fill(shade),
                EraseValue::Random(_) => rng.fill_bytes(erased),
            }
        }
    }

    /// `None` if none of ten draws is smaller than the image.
    pub(crate) fn hole(&self, rng: &mut impl Rng, width: u32, height: u32) -> Option<Part> {
        let area = f64::from(width) * f64::from(height);
        for _ in 0..10 {
            let target = area * uniform(rng, self.scale);
            let ratio = log_uniform(rng, self.ratio);
            let h = rounded((target * ratio).sqrt());
            let w = rounded((target / ratio).sqrt());
            if h < height && w < width {
                return Some(Part {
                    top: below(rng, u64::from(height - h) + 1) as u32,
                    left: below(rng, u64::from(width - w) + 1) as u32,
                    width: w,
                    height: h,
                });
            }
        }
        None
    }
}
