//! Benchmark runner: loads the batches of whole epochs. One step is one epoch.
//!
//! ```text
//! cargo run --release -p trainer --example load_epoch -- --root photos/train --image-size 224
//! ```
//!
//! `--cache off` (the default) decodes every image in every epoch; `memory` keeps decoded images; the name of a folder
//! also writes a disk cache there. `--decode fast` decodes JPEG files at reduced size; the default is `exact`.

#[path = "protocol/folder.rs"]
mod folder;
mod protocol;

use std::error::Error;
use std::path::PathBuf;

use mnist_data::{DecodeOptions, Decoding, LoaderOptions};
use protocol::{Arguments, serve};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&[
        "--root",
        "--image-size",
        "--batch",
        "--workers",
        "--limit",
        "--cache",
        "--decode",
    ])?;
    let root: PathBuf = arguments.get("--root")?.ok_or("--root is missing")?;
    let defaults = LoaderOptions::default();
    let decoding = match arguments.get::<String>("--decode")?.as_deref() {
        None | Some("exact") => Decoding::Exact,
        Some("fast") => Decoding::Fast,
        Some(other) => return Err(format!("--decode {other}; expected exact or fast").into()),
    };
    let options = LoaderOptions {
        batch_size: arguments.get("--batch")?.unwrap_or(128),
        image_size: arguments
            .get("--image-size")?
            .unwrap_or(defaults.image_size),
        workers: arguments.get("--workers")?.unwrap_or(defaults.workers),
        limit: arguments.get("--limit")?,
        shuffle: Some(0),
        decode: DecodeOptions {
            decoding,
            ..DecodeOptions::default()
        },
        ..defaults
    };
    let loader = arguments.loader(&root, options)?;
    let mut epoch = 0;
    serve(&[], |epochs| {
        for _ in 0..epochs {
            let mut images = 0;
            for batch in loader.epoch(epoch) {
                images += batch?.count;
            }
            if images != loader.len() {
                return Err(format!("{images} images of {}", loader.len()).into());
            }
            epoch += 1;
        }
        Ok(())
    })
}
