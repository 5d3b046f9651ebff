//! Makes the batches of whole epochs on command, for benchmarks.
//!
//! Prints `ready`; then, for each line `run K` on stdin, goes through K epochs
//! and prints the seconds they took; `quit` ends it.
//!
//! ```text
//! cargo run --release -p mnist-data --example load_epoch -- --make-photos /tmp/photos 2000
//! cargo run --release -p mnist-data --example load_epoch -- --root /tmp/photos --image-size 224
//! ```
//!
//! `--cache off` (the default) decodes every image in every epoch; `memory`
//! keeps what it decoded; a folder keeps it in a file in there as well.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use mnist_data::{DiskCache, ImageFolder, Loader, LoaderOptions};
use rayon::prelude::*;

type Failure = Box<dyn Error + Send + Sync>;

struct Settings {
    root: PathBuf,
    options: LoaderOptions,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, dir, count] = arguments.as_slice()
        && option == "--make-photos"
    {
        return make_photos(Path::new(dir), count.parse()?);
    }
    let settings = settings(&arguments)?;
    let samples = ImageFolder::training(&settings.root)?.samples;
    let loader = Loader::new(samples, settings.options)?;
    let mut epoch = 0;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run", epochs] => {
                let epochs: u64 = epochs.parse()?;
                let started = Instant::now();
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
                writeln!(out, "{}", started.elapsed().as_secs_f64())?;
                out.flush()?;
            }
            ["quit"] => break,
            _ => return Err(format!("{line:?}; expected `run K` or `quit`").into()),
        }
    }
    Ok(())
}

fn settings(arguments: &[String]) -> Result<Settings, Failure> {
    let mut root = None;
    let mut cache = "off";
    let mut options = LoaderOptions {
        batch_size: 128,
        shuffle: Some(0),
        ..LoaderOptions::default()
    };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} needs a value", pair[0]).into());
        };
        match name.as_str() {
            "--root" => root = Some(PathBuf::from(value)),
            "--image-size" => options.image_size = value.parse()?,
            "--batch" => options.batch_size = value.parse()?,
            "--workers" => options.workers = value.parse()?,
            "--limit" => options.limit = Some(value.parse()?),
            "--cache" => cache = value,
            _ => {
                return Err(format!(
                    "{name}; expected --root, --image-size, --batch, --workers, --limit or --cache"
                )
                .into());
            }
        }
    }
    match cache {
        "off" => options.cache_bytes = 0,
        "memory" => {}
        dir => {
            options.disk_cache = Some(DiskCache {
                path: Path::new(dir).join(format!("{}.pixels", options.image_size)),
                max_bytes: u64::MAX,
            });
        }
    }
    Ok(Settings {
        root: root.ok_or("--root is missing")?,
        options,
    })
}

const WIDTH: usize = 500;
const HEIGHT: usize = 375;

/// Writes `count` JPEG files of 500 × 375 pixels, as cameras write them (4:2:0,
/// quality 90), into ten class folders of `dir`.
fn make_photos(dir: &Path, count: usize) -> Result<(), Failure> {
    let write = |index: usize| -> Result<(), Failure> {
        let class = dir.join(format!("class-{}", index % 10));
        std::fs::create_dir_all(&class)?;
        let mut encoder = Encoder::new_file(class.join(format!("{index:06}.jpg")), 90)?;
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder.encode(&photo(index), WIDTH as u16, HEIGHT as u16, ColorType::Rgb)?;
        Ok(())
    };
    (0..count).into_par_iter().try_for_each(write)?;
    Ok(())
}

/// `[HEIGHT, WIDTH, 3]` of what a photograph has: large shapes, smaller ones
/// upon them with the less contrast the smaller they are, and a grain.
fn photo(index: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let mut light = 0.0;
            let (mut side, mut contrast) = (256.0, 80.0);
            for octave in 0..8 {
                light += contrast
                    * noise(
                        x as f32 / side,
                        y as f32 / side,
                        (index * 31 + octave) as u32,
                    );
                side /= 2.0;
                contrast *= 0.6;
            }
            for channel in 0..3 {
                let tint = 50.0
                    * noise(
                        x as f32 / 90.0,
                        y as f32 / 90.0,
                        (index * 31 + 20 + channel) as u32,
                    );
                let grain = 10.0 * corner(x as u32, y as u32, channel as u32);
                pixels.push((128.0 + light + tint + grain) as u8);
            }
        }
    }
    pixels
}

/// Smooth noise between -1 and 1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - left), smooth(y - top));
    let (left, top) = (left as u32, top as u32);
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    mix(
        mix(corner(left, top, seed), corner(left + 1, top, seed), u),
        mix(
            corner(left, top + 1, seed),
            corner(left + 1, top + 1, seed),
            u,
        ),
        v,
    )
}

/// A number between -1 and 1 that looks random.
fn corner(x: u32, y: u32, seed: u32) -> f32 {
    let mut hash =
        x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    for _ in 0..2 {
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x2C1B_3C6D);
    }
    (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
}
