//! Draws augmented images, for inspection: `cargo run -p mnist-data --example contact_sheet
//! data/mnist/train digits /tmp/digits.png`.
//!
//! Each row shows one image of the training split: first unchanged, then as in several epochs. The second argument is a
//! preset, the section `[augment]` as JSON, or `all`. With `all`, each preset gets a sheet: `/tmp/sheet-none.png` and
//! so on.

// An example prints its results.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};

use mnist_data::{AugmentConfig, ImageFolder};

mod sheet;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, augment, file, size) = match arguments.as_slice() {
        [folder, augment, file] => (folder, augment, file, 64),
        [folder, augment, file, size] => (folder, augment, file, size.parse()?),
        _ => return Err("usage: contact_sheet DIR PRESET_OR_JSON_OR_all SHEET.png [SIZE]".into()),
    };
    let file = PathBuf::from(file);
    let preset = |name: &str| serde_json::from_value(serde_json::json!({ "preset": name }));
    let sheets: Vec<(PathBuf, AugmentConfig)> = match augment.as_str() {
        "all" => ["none", "digits", "photos"]
            .map(|name| Ok((named(&file, name), preset(name)?)))
            .into_iter()
            .collect::<Result<_, serde_json::Error>>()?,
        json if json.starts_with('{') => vec![(file, serde_json::from_str(json)?)],
        name => vec![(file, preset(name)?)],
    };
    let samples = ImageFolder::training(Path::new(folder))?.samples;
    for (file, augment) in sheets {
        sheet::draw(samples.clone(), augment, size)?.save(&file)?;
        println!(
            "{}: the first column is as it is, the others are {} epochs",
            file.display(),
            sheet::EPOCHS
        );
    }
    Ok(())
}

/// The path with a name inserted before the extension.
fn named(file: &Path, name: &str) -> PathBuf {
    let [stem, extension] =
        [file.file_stem(), file.extension()].map(|part| part.unwrap_or_default().to_string_lossy());
    file.with_file_name(format!("{stem}-{name}.{extension}"))
}
