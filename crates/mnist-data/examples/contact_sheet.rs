//! Draws what augmentation makes of images, to be looked at:
//! `cargo run -p mnist-data --example contact_sheet data/mnist/train digits /tmp/digits.png`.
//!
//! Each row is an image of the training split, as it is and in several epochs. The second argument is a preset,
//! or the section `[augment]` as JSON.

// An example talks to its user itself.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use image::RgbImage;
use mnist_data::{AugmentConfig, ImageFolder, Loader, LoaderOptions};

const ROWS: usize = 10;
const EPOCHS: u64 = 11;
/// Pixels between images.
const GAP: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, augment, sheet, size) = match arguments.as_slice() {
        [folder, augment, sheet] => (folder, augment, sheet, 64),
        [folder, augment, sheet, size] => (folder, augment, sheet, size.parse()?),
        _ => return Err("usage: contact_sheet DIR PRESET_OR_JSON SHEET.png [SIZE]".into()),
    };
    let augment: AugmentConfig = match augment.starts_with('{') {
        true => serde_json::from_str(augment)?,
        false => serde_json::from_value(serde_json::json!({ "preset": augment }))?,
    };
    let plain = LoaderOptions {
        batch_size: ROWS,
        image_size: size,
        limit: Some(ROWS),
        ..LoaderOptions::default()
    };
    let samples = ImageFolder::training(Path::new(folder))?.samples;
    let original = Loader::new(samples.clone(), plain.clone())?;
    let augmented = Loader::new(samples, LoaderOptions { augment, ..plain })?;
    let columns =
        std::iter::once(original.epoch(0)).chain((0..EPOCHS).map(|epoch| augmented.epoch(epoch)));

    let side = size as u32 + GAP;
    let mut drawn = RgbImage::from_pixel(
        side * (EPOCHS as u32 + 1) + GAP,
        side * ROWS as u32 + GAP,
        image::Rgb([40, 80, 160]),
    );
    for (column, mut epoch) in columns.enumerate() {
        let batch = epoch.next().ok_or("an epoch has a batch")??;
        for (row, pixels) in batch.pixels.chunks_exact(size * size * 3).enumerate() {
            let picture = RgbImage::from_raw(size as u32, size as u32, pixels.to_vec());
            let picture = picture.ok_or("a picture has its size")?;
            let [x, y] = [column, row].map(|place| i64::from(place as u32 * side + GAP));
            image::imageops::replace(&mut drawn, &picture, x, y);
        }
    }
    drawn.save(sheet)?;
    println!("{sheet}: the first column is as it is, the others are {EPOCHS} epochs");
    Ok(())
}
