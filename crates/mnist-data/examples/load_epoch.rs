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

use mnist_data::{DiskCache, ImageFolder, Loader, LoaderOptions};
use rayon::prelude::*;

mod photos;

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
                read_only: false,
            });
        }
    }
    Ok(Settings {
        root: root.ok_or("--root is missing")?,
        options,
    })
}

/// Writes `count` photographs into ten class folders of `dir`.
fn make_photos(dir: &Path, count: usize) -> Result<(), Failure> {
    let write = |index: usize| -> Result<(), Failure> {
        let class = dir.join(format!("class-{}", index % 10));
        std::fs::create_dir_all(&class)?;
        std::fs::write(class.join(format!("{index:06}.jpg")), photos::jpeg(index)?)?;
        Ok(())
    };
    (0..count).into_par_iter().try_for_each(write)?;
    Ok(())
}
