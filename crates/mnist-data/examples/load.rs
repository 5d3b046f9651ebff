//! Unpacks fetched IDX files and reads two epochs of batches:
//! `cargo run -p mnist-data --example load data/mnist/raw data/mnist`.

// An example prints its results.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use mnist_data::{
    ImageFolder, ImageSize, Loader, LoaderOptions, NoProgress, TRAIN, UnpackOptions, unpack,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [raw, out] = arguments.as_slice() else {
        return Err("usage: load IDX_DIR OUT_DIR".into());
    };
    let started = Instant::now();
    let report = unpack(
        Path::new(raw),
        Path::new(out),
        &UnpackOptions::default(),
        &NoProgress,
    )?;
    println!(
        "{} of {} images written in {:.2?}",
        report.written,
        report.train + report.validation + report.test,
        started.elapsed()
    );

    let started = Instant::now();
    let training = ImageFolder::training(&Path::new(out).join(TRAIN))?;
    println!(
        "{} images listed in {:.2?}",
        training.samples.len(),
        started.elapsed()
    );
    let options = LoaderOptions {
        batch_size: 128,
        image_size: ImageSize::square(32),
        shuffle: Some(0),
        ..LoaderOptions::default()
    };
    let loader = Loader::new(training.samples, options)?;
    for epoch in 0..2 {
        let started = Instant::now();
        let mut images = 0;
        for batch in loader.epoch(epoch) {
            images += batch?.count;
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "epoch {epoch}: {images} images in {seconds:.2} s, {:.0} a second",
            images as f64 / seconds
        );
    }
    Ok(())
}
