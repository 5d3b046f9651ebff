//! A crop of the image, enlarged to full size.

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::config::{require_range, require_shares};
use super::random::{log_uniform, uniform};
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use crate::decode::Image;
use crate::error::Result;
use crate::shuffle::below;

/// A crop of random area and shape, resized to the whole with antialiasing:
/// `torchvision.transforms.v2.RandomResizedCrop`.
///
/// A [`Loader`](crate::Loader) crops stored images, which are 8/7 as large as those in a batch
/// ([`LoaderOptions::stored_size`](crate::LoaderOptions::stored_size)). A crop of less than (7/8)², or 77 %, of the
/// area is enlarged and so a little blurred. `ratio` applies to the stored image. With
/// [`Fit::Squash`](framing::Fit::Squash) that has lost the proportions of the file: for a file of 2:1, a crop of ratio
/// 1 shows an area of 2:1. With [`Fit::Crop`](framing::Fit::Crop) the stored image is the center of the file, as large
/// as the shorter side allows, and keeps the proportions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCropConfig {
    /// The smallest and the largest share of the area, above 0 to 1.
    pub scale: [f64; 2],
    /// The smallest and the largest ratio of width to height in the stored image, 0.1 to 10.
    pub ratio: [f64; 2],
}

impl Default for ResizedCropConfig {
    /// torchvision's: 8 % to all of the area, from 3:4 to 4:3.
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Step for ResizedCropConfig {
    const SETTINGS: &'static [AugmentSetting] = &[
        AugmentSetting::new(
            "scale",
            AugmentValue::Pair,
            "The smallest and the largest share of the area.",
        ),
        AugmentSetting::new(
            "ratio",
            AugmentValue::Pair,
            "The smallest and the largest ratio of width to height.",
        ),
    ];

    fn validate(&self, _: &'static str) -> Result<()> {
        require_shares("augment.resized_crop.scale", self.scale)?;
        require_range("augment.resized_crop.ratio", self.ratio, [0.1, 10.0])
    }
}

impl ResizedCropConfig {
    /// Draws the crop of one image of this size. If none of ten draws fits inside, the largest center crop of an
    /// allowed ratio is used.
    pub(crate) fn draw(&self, rng: &mut impl Rng, width: u32, height: u32) -> Part {
        let area = f64::from(width) * f64::from(height);
        for _ in 0..10 {
            let target = area * uniform(rng, self.scale);
            let ratio = log_uniform(rng, self.ratio);
            let w = rounded((target * ratio).sqrt());
            let h = rounded((target / ratio).sqrt());
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return Part {
                    left: below(rng, u64::from(width - w) + 1) as u32,
                    top: below(rng, u64::from(height - h) + 1) as u32,
                    width: w,
                    height: h,
                };
            }
        }
        let shape = f64::from(width) / f64::from(height);
        let [narrowest, widest] = self.ratio;
        let (w, h) = if shape < narrowest {
            (width, rounded(f64::from(width) / narrowest))
        } else if shape > widest {
            (rounded(f64::from(height) * widest), height)
        } else {
            (width, height)
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Part {
            left: (width - w) / 2,
            top: (height - h) / 2,
            width: w,
            height: h,
        }
    }
}

/// A side in whole pixels, rounded as Python's `round` does.
pub(super) fn rounded(side: f64) -> u32 {
    side.round_ties_even() as u32
}

/// The pixels of a part inside the image.
pub(crate) fn cut(image: &Image, part: Part) -> Result<Image> {
    let channels = usize::from(image.channels());
    let stride = image.width() as usize * channels;
    let (start, length) = (
        part.left as usize * channels,
        part.width as usize * channels,
    );
    let rows = image.pixels().chunks_exact(stride);
    let rows = rows.skip(part.top as usize).take(part.height as usize);
    let mut pixels = Vec::with_capacity(length * part.height as usize);
    for row in rows {
        pixels.extend_from_slice(&row[start..start + length]);
    }
    Image::from_raw(part.width, part.height, image.channels(), pixels)
}
