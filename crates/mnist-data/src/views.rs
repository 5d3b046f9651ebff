//! Test-time augmentation: several views of one image, for averaged predictions.

use serde::{Deserialize, Serialize};

use crate::augment::flip_horizontally;
use crate::decode::Image;

/// The number of steps of [`View::Shift`] per side: 28, as MNIST's pixels.
const STEPS: i64 = 28;

/// Test-time augmentation: the views of every image that a network predicts.
///
/// ```
/// use mnist_data::{Image, TtaConfig};
///
/// let image = Image::from_gray(2, 1, vec![1, 2])?;
/// let views: Vec<Image> = TtaConfig::Flip.views().iter().map(|view| view.of(&image)).collect();
/// assert_eq!(views[0], image);
/// assert_eq!(views[1].pixels(), [2, 1]);
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TtaConfig {
    /// The image alone.
    #[default]
    None,
    /// The image and its mirror image, for photographs.
    Flip,
    /// The image and four copies for digits, shifted by one step of [`View::Shift`] to the left, to the right, up and
    /// down.
    Shifts,
}

/// One view of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The unchanged image.
    Identity,
    /// The mirror image: left and right exchanged.
    HorizontalFlip,
    /// The image shifted to the right and down by this many steps. A step is a 28th of the side in whole pixels, at
    /// least one, so that a digit of MNIST moves by one original pixel at any size. The border is repeated.
    Shift {
        /// Steps to the right; negative to the left.
        x: i32,
        /// Steps down; negative up.
        y: i32,
    },
}

impl TtaConfig {
    /// The views in a fixed order. The first is the unchanged image.
    #[must_use]
    pub fn views(self) -> &'static [View] {
        match self {
            Self::None => &[View::Identity],
            Self::Flip => &[View::Identity, View::HorizontalFlip],
            Self::Shifts => &[
                View::Identity,
                View::Shift { x: -1, y: 0 },
                View::Shift { x: 1, y: 0 },
                View::Shift { x: 0, y: -1 },
                View::Shift { x: 0, y: 1 },
            ],
        }
    }
}

impl View {
    /// Makes this view of an image, with the same size and channels.
    #[must_use]
    pub fn of(self, image: &Image) -> Image {
        let mut view = image.clone();
        match self {
            Self::Identity => {}
            Self::HorizontalFlip => flip_horizontally(&mut view),
            Self::Shift { x, y } => shift(image, x, y, view.pixels_mut()),
        }
        view
    }
}

fn shift(source: &Image, x: i32, y: i32, target: &mut [u8]) {
    let (width, height) = (source.width() as usize, source.height() as usize);
    let channels = usize::from(source.channels());
    // Sides are at most 32,768, so the products fit.
    let from = |place: usize, steps: i32, side: usize| {
        let step = (side as i64 + STEPS / 2) / STEPS;
        (place as i64 - i64::from(steps) * step.max(1)).clamp(0, side as i64 - 1) as usize
    };
    for (row, pixels) in target.chunks_exact_mut(width * channels).enumerate() {
        let source = &source.pixels()[from(row, y, height) * width * channels..];
        for (column, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
            pixel.copy_from_slice(&source[from(column, x, width) * channels..][..channels]);
        }
    }
}
