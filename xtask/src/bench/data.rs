//! Measures reading batches from files, and compares training from files with training from memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Options;
use super::case::{Case, Side, Unit, Work};
use super::train::TrainStep;
use crate::data::{fetch, idx_dir};
use crate::programs::{classify, example, python_peer, scratch};
use crate::shell::run;

const PHOTOS: usize = 1000;

/// Reads whole epochs of a folder. Every epoch decodes every image.
struct Loading {
    name: &'static str,
    image_size: usize,
    batch: usize,
    decode: &'static str,
    /// Makes the folder.
    folder: fn() -> Result<PathBuf>,
}

const LOADING: [Loading; 3] = [
    Loading {
        name: "png-28-to-32",
        image_size: 32,
        batch: 128,
        decode: "exact",
        folder: || digits("test"),
    },
    Loading {
        name: "jpeg-500x375-to-224",
        image_size: 224,
        batch: 64,
        decode: "exact",
        folder: photos,
    },
    Loading {
        name: "jpeg-500x375-to-224-fast",
        image_size: 224,
        batch: 64,
        decode: "fast",
        folder: photos,
    },
];

pub(super) fn cases(options: &Options) -> Result<Vec<Case<'_>>> {
    let load = example("trainer", "load_epoch")?;
    let train = TrainStep::build(options)?;
    let mut cases = Vec::new();
    for loading in &LOADING {
        cases.push(loading.case(load.clone(), options));
    }
    for (name, side, cache) in [
        ("train-decoding", "ours_decoding", false),
        ("train-cached", "ours_cached", true),
    ] {
        let train = train.clone();
        let sides = move |work: &Work| {
            let mut command = train.command(work);
            command.arg("--root").arg(digits("train")?).arg("--cache");
            match cache {
                true => command.arg(scratch("cache")?),
                false => command.arg("off"),
            };
            Ok(vec![
                Side::steps(side, command, work.batch as f64).required(),
                train.side("ours_synthetic", work).required(),
            ])
        };
        let work = Work::new("small", 32, 128);
        cases.push(Case::new(name, Unit::ImagesPerSecond, work, sides));
    }
    Ok(cases)
}

impl Loading {
    fn case<'a>(&'static self, load: PathBuf, options: &'a Options) -> Case<'a> {
        let work = Work {
            image_size: self.image_size,
            batch: self.batch,
            ..Work::default()
        };
        Case::new(self.name, Unit::ImagesPerSecond, work, move |work| {
            let root = (self.folder)()?;
            let images = count_images(&root)? as f64;
            let on_folder = |mut command: Command| {
                command.arg("--root").arg(&root);
                command.args(["--image-size", &work.image_size.to_string()]);
                command.args(["--batch", &work.batch.to_string()]);
                command.args(["--workers", &options.threads.to_string()]);
                command
            };
            let mut ours = on_folder(Command::new(&load));
            ours.args(["--cache", "off", "--decode", self.decode]);
            let mut sides = vec![Side::steps("ours", ours, images).required()];
            if let Some(python) = &options.python {
                let torch = on_folder(python_peer(python, "torch_data.py")?);
                sides.push(Side::steps("torch", torch, images));
            }
            Ok(sides)
        })
    }
}

/// Number of files in the subfolders of a folder.
fn count_images(root: &Path) -> Result<usize> {
    let mut count = 0;
    for class in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        count += fs::read_dir(class?.path())?.count();
    }
    Ok(count)
}

/// The folder of one split of MNIST, as PNG files.
fn digits(split: &str) -> Result<PathBuf> {
    fetch(&["mnist".into()])?;
    let root = scratch("mnist")?;
    let mut unpack = Command::new(classify()?);
    run(unpack.arg("unpack").arg(idx_dir("mnist")?).arg(&root))?;
    Ok(root.join(split))
}

/// Folders of synthetic photographs from `make_photos`. They are created only once.
fn photos() -> Result<PathBuf> {
    let dir = scratch("photos")?.join(PHOTOS.to_string());
    if !dir.exists() {
        // The folder gets its final name only when it is complete.
        let unfinished = dir.with_extension("unfinished");
        let mut command = Command::new(example("mnist-data", "make_photos")?);
        run(command.arg(&unfinished).arg(PHOTOS.to_string()))?;
        ensure!(unfinished.is_dir(), "{} was not made", unfinished.display());
        fs::rename(&unfinished, &dir)
            .with_context(|| format!("cannot rename {}", unfinished.display()))?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bars;

    #[test]
    fn every_bar_has_a_case() {
        let names = LOADING.map(|loading| loading.name);
        for name in bars::cases("data") {
            assert!(names.contains(&name), "{name}");
        }
    }
}
