//! Draws a sheet of augmented images, for an example and its test.

use std::error::Error;
use std::sync::Arc;

use image::RgbImage;
use mnist_data::{AugmentConfig, ImageSize, Loader, LoaderOptions, Sample};

/// The largest number of images, one per row.
pub(crate) const ROWS: usize = 10;
/// The number of columns after the first, which shows unchanged images.
pub(crate) const EPOCHS: u64 = 11;
/// The gap between images in pixels.
pub(crate) const GAP: u32 = 2;

/// Draws images of `size` × `size` pixels. A row begins with the unchanged image and continues with its augmented
/// versions in several epochs.
pub(crate) fn draw(
    samples: Arc<[Sample]>,
    augment: AugmentConfig,
    size: u32,
) -> Result<RgbImage, Box<dyn Error>> {
    let plain = LoaderOptions {
        batch_size: ROWS,
        image_size: ImageSize::square(size),
        limit: Some(ROWS),
        ..LoaderOptions::default()
    };
    let original = Loader::new(samples.clone(), plain.clone())?;
    let augmented = Loader::new(samples, LoaderOptions { augment, ..plain })?;
    let columns =
        std::iter::once(original.epoch(0)).chain((0..EPOCHS).map(|epoch| augmented.epoch(epoch)));

    let side = size + GAP;
    let mut sheet = RgbImage::from_pixel(
        side * (EPOCHS as u32 + 1) + GAP,
        side * original.len() as u32 + GAP,
        image::Rgb([40, 80, 160]),
    );
    for (column, mut epoch) in columns.enumerate() {
        let batch = epoch.next().ok_or("an epoch has a batch")??;
        for (row, pixels) in batch
            .pixels
            .chunks_exact((size * size * 3) as usize)
            .enumerate()
        {
            let image = RgbImage::from_raw(size, size, pixels.to_vec());
            let image = image.ok_or("an image has its size")?;
            let [x, y] = [column, row].map(|place| i64::from(place as u32 * side + GAP));
            image::imageops::replace(&mut sheet, &image, x, y);
        }
    }
    Ok(sheet)
}
