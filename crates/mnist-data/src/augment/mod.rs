//! Augmentation: random changes of images, drawn anew in each epoch.

mod affine;
mod color;
mod config;
mod crop;
mod elastic;
mod erasing;
mod flip;
mod jitter;
mod rand_augment;
mod random;
mod setting;
mod table;
#[cfg(test)]
mod tests;
mod tone;
mod warp;

pub use affine::AffineConfig;
pub use config::Preset;
pub use crop::ResizedCropConfig;
pub use elastic::ElasticConfig;
pub use erasing::{EraseValue, ErasingConfig, Random};
pub use flip::FlipConfig;
pub use jitter::ColorJitterConfig;
pub use rand_augment::RandAugmentConfig;
pub use random::Draw;
pub use setting::{AugmentOperation, AugmentSetting, AugmentValue};

pub(crate) use config::require;
pub(crate) use flip::{flip_horizontally, flip_vertically};
pub(crate) use random::chance;

use framing::ImageSize;

use affine::InverseAffine;
use table::operations;
use warp::warp;

use crate::decode::Image;
use crate::error::Result;
use crate::resize::Scaler;

operations! {
    /// A crop of the image, enlarged to full size.
    resized_crop: ResizedCropConfig, ResizedCrop = 1;
    /// Left and right exchanged.
    horizontal_flip: FlipConfig, HorizontalFlip = 2;
    /// Top and bottom exchanged.
    vertical_flip: FlipConfig, VerticalFlip = 3;
    /// Rotation, scale, shear and shift.
    affine: AffineConfig, Affine = 4;
    /// A smooth random distortion.
    elastic: ElasticConfig, Elastic = 5;
    /// Operations from a fixed list.
    rand_augment: RandAugmentConfig, RandAugment = 6;
    /// Brightness, contrast, saturation and hue.
    color_jitter: ColorJitterConfig, ColorJitter = 7;
    /// An erased rectangle.
    erasing: ErasingConfig, Erasing = 8;
    // Stream 9 belongs to MixUp and CutMix.
}

/// The operations of an [`AugmentConfig`], ready to be applied.
///
/// Crop and resize come first, then flips, affine map and elastic distortion as one resampling, then
/// RandAugment, colour jitter and erasing. Gray images stay gray.
///
/// ```
/// use mnist_data::{Augment, Draw, Image, ImageSize, Preset};
///
/// let augment = Augment::new(&Preset::Digits.into())?;
/// let image = Image::from_gray(4, 4, (0..16).map(|pixel| 16 * pixel).collect())?;
/// let draw = Draw { seed: 1, epoch: 0, index: 7 };
/// let changed = augment.apply(&image, ImageSize::square(4), draw)?;
/// assert_eq!((changed.width(), changed.height(), changed.channels()), (4, 4, 1));
/// assert_eq!(changed, augment.apply(&image, ImageSize::square(4), draw)?);
/// assert_ne!(changed, augment.apply(&image, ImageSize::square(4), Draw { epoch: 1, ..draw })?);
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Augment {
    config: AugmentConfig,
}

/// Buffers that are reused from image to image.
#[derive(Default)]
pub(crate) struct Scratch {
    scaler: Scaler,
    padded: Vec<u8>,
}

impl Augment {
    /// # Errors
    /// The errors of [`AugmentConfig::validate`].
    pub fn new(config: &AugmentConfig) -> Result<Self> {
        config.validate()?;
        let config = config.clone();
        Ok(Self { config })
    }

    /// Augments an image for one epoch, and resizes it to this size. The same draw gives the same pixels.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a side of 0.
    pub fn apply(&self, image: &Image, size: ImageSize, draw: Draw) -> Result<Image> {
        self.apply_with(image, size, draw, &mut Scratch::default())
    }

    pub(crate) fn apply_with(
        &self,
        image: &Image,
        size: ImageSize,
        draw: Draw,
        scratch: &mut Scratch,
    ) -> Result<Image> {
        let config = &self.config;
        let scaler = &mut scratch.scaler;
        let mut image = match &config.resized_crop {
            Some(crop) => {
                let mut numbers = draw.numbers(Purpose::ResizedCrop);
                let part = crop.draw(&mut numbers, image.width(), image.height());
                scaler.resize(crop::cut(image, part)?, size)?
            }
            None => scaler.resize(image.clone(), size)?,
        };
        self.move_pixels(&mut image, draw, &mut scratch.padded);
        config.change(&mut image, draw, &mut scratch.padded);
        Ok(image)
    }

    /// Flips, affine map and elastic distortion. If only flips are on, bytes are exchanged. Otherwise all operations
    /// are combined into one map from the result's pixels to the image's.
    fn move_pixels(&self, image: &mut Image, draw: Draw, padded: &mut Vec<u8>) {
        let config = &self.config;
        let (width, height) = (image.width(), image.height());
        let drawn = |flip: &Option<FlipConfig>, purpose| {
            let flip = flip.as_ref();
            flip.is_some_and(|flip| flip.draw(&mut draw.numbers(purpose)))
        };
        let horizontally = drawn(&config.horizontal_flip, Purpose::HorizontalFlip);
        let vertically = drawn(&config.vertical_flip, Purpose::VerticalFlip);
        if config.affine.is_none() && config.elastic.is_none() {
            if horizontally {
                flip_horizontally(image);
            }
            if vertically {
                flip_vertically(image);
            }
            return;
        }
        let affine = config.affine.as_ref();
        let map = affine.map_or(InverseAffine::IDENTITY, |affine| {
            let mut numbers = draw.numbers(Purpose::Affine);
            InverseAffine::new(&affine.draw(&mut numbers, width, height))
        });
        let elastic = config.elastic.as_ref();
        let field =
            elastic.map(|elastic| elastic.draw(&mut draw.numbers(Purpose::Elastic), width, height));
        let fill = affine.map_or_else(
            || elastic.map_or(0, |elastic| elastic.fill),
            |affine| affine.fill,
        );
        let map = map.of_flipped(horizontally, vertically);
        let warped = warp(image, &map, field.as_deref(), fill, padded);
        image.pixels_mut().copy_from_slice(&warped);
    }
}
