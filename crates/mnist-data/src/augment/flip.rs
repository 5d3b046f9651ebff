//! Mirror images.

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::config::require;
use super::random::chance;
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use crate::decode::Image;
use crate::error::Result;

/// A mirror image at random: `torchvision.transforms.v2.RandomHorizontalFlip` and `RandomVerticalFlip`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlipConfig {
    /// The probability, 0 to 1.
    pub p: f64,
}

impl Default for FlipConfig {
    /// Every second image.
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Step for FlipConfig {
    const SETTINGS: &'static [AugmentSetting] = &[AugmentSetting::new(
        "p",
        AugmentValue::Number,
        "Probability of a flip.",
    )];

    fn validate(&self, key: &'static str) -> Result<()> {
        let setting = match key {
            "augment.vertical_flip" => "augment.vertical_flip.p",
            _ => "augment.horizontal_flip.p",
        };
        require((0.0..=1.0).contains(&self.p), setting, self.p, "0 to 1")
    }
}

impl FlipConfig {
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> bool {
        chance(rng, self.p)
    }
}

/// Exchanges left and right.
pub(crate) fn flip_horizontally(image: &mut Image) {
    let (width, channels) = (image.width() as usize, usize::from(image.channels()));
    for row in image.pixels_mut().chunks_exact_mut(width * channels) {
        row.reverse();
        // The reversal has also reversed the colours.
        if channels > 1 {
            row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
        }
    }
}

/// Exchanges top and bottom.
pub(crate) fn flip_vertically(image: &mut Image) {
    let stride = image.width() as usize * usize::from(image.channels());
    let half = image.height() as usize / 2 * stride;
    let (upper, rest) = image.pixels_mut().split_at_mut(half);
    let lower = rest.chunks_exact_mut(stride).rev();
    for (upper, lower) in upper.chunks_exact_mut(stride).zip(lower) {
        upper.swap_with_slice(lower);
    }
}
