//! Tests the sheets of the example `contact_sheet`.

use image::RgbImage;
use mnist_data::{AugmentConfig, Preset};

use crate::augment::data_set;

#[path = "../../examples/sheet/mod.rs"]
mod sheet;

use sheet::{EPOCHS, GAP, ROWS};

const SIZE: u32 = 14;

/// The image of a sheet in this row and column, from 0.
fn shown(sheet: &RgbImage, row: u32, column: u32) -> Vec<u8> {
    let [x, y] = [column, row].map(|place| place * (SIZE + GAP) + GAP);
    image::imageops::crop_imm(sheet, x, y, SIZE, SIZE)
        .to_image()
        .into_raw()
}

#[test]
fn every_preset_has_a_sheet_that_shows_its_effect() {
    // Once there are more images than rows, and once fewer.
    for count in [13, 4] {
        let (_dir, samples) = data_set(count);
        let rows = count.min(ROWS as u32);
        let columns = EPOCHS as u32 + 1;
        let draw = |preset: Preset| {
            let config = AugmentConfig::from(preset);
            sheet::draw(samples.clone(), config, SIZE).unwrap()
        };
        let none = draw(Preset::None);
        for preset in [Preset::None, Preset::Digits, Preset::Photos] {
            let sheet = draw(preset);
            let sides = [columns, rows].map(|places| places * (SIZE + GAP) + GAP);
            assert_eq!([sheet.width(), sheet.height()], sides);
            for row in 0..rows {
                let original = shown(&sheet, row, 0);
                assert_eq!(original, shown(&none, row, 0), "{preset:?}");
                assert!(original.iter().any(|&byte| byte != original[0]));
                let others = (1..columns).filter(|&column| shown(&sheet, row, column) != original);
                let expected = match preset {
                    Preset::None => 0,
                    _ => EPOCHS as usize,
                };
                assert_eq!(others.count(), expected, "{preset:?}, row {row}");
            }
        }
    }
}
