//! Divides one set of images into three splits, after decoding each image.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mnist_data::{
    BadImageLimit, Decoding, Framing, ImageFolder, ImageSize, Loader, LoaderOptions, Orientation,
    Partition, Progress, Sample, TEST, TRAIN, Unit, VALIDATION, bursts, difference_hash,
    duplicates, partition,
};

use super::{Listed, Splits, loader_options, part};
use crate::config::RunConfig;
use crate::table::Table;
use crate::{Error, Measured, Result};

/// Larger sets are not decoded before training.
const MAX_DECODED: usize = 20_000;
/// Pixels a side of the images that are looked at.
const LOOK_SIZE: u32 = 32;

/// The results of decoding every image of a set once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    /// The difference hash of each image, in the order of the samples; `None` if it could not be decoded. Empty if no
    /// image was decoded.
    pub(crate) hashes: Vec<Option<u64>>,
    /// Images that could not be decoded, with the reason.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
    /// Number of images that stay together because they are near-identical neighbours.
    pub(crate) in_bursts: usize,
    /// The group of each image by its path, for folds; images of a group stay together.
    pub(crate) groups: HashMap<PathBuf, usize>,
    /// Whether the images were decoded; larger sets are not.
    pub(crate) is_decoded: bool,
}

/// Decodes images once, small. The result depends on no setting that a run chooses (size, fit, augmentation), so neither
/// does a division that follows from it. The small images are kept, where the configuration allows a disk cache.
///
/// # Errors
///
/// For an image that cannot be read, if `data.on_bad_image` is `"fail"`; for more such images than
/// `data.bad_image_limit` allows, or all images of a class.
pub(crate) fn look(
    config: &RunConfig,
    (images, name, cache): (&ImageFolder, &str, &str),
    progress: &dyn Progress,
) -> Result<Looked> {
    let samples = &images.samples;
    if samples.len() > MAX_DECODED {
        return Ok(Looked::default());
    }
    let mut fixed = config.clone();
    (fixed.data.decode, fixed.data.orientation) = (Decoding::Fast, Orientation::Apply);
    let (size, framing) = (ImageSize::square(LOOK_SIZE), Framing::default());
    let options = LoaderOptions {
        batch_size: 16,
        image_size: size,
        framing,
        cache_bytes: 0,
        disk_cache: fixed
            .data
            .disk_cache(&format!("look-{cache}"), size, framing),
        bad_images: BadImageLimit {
            share: config.data.bad_image_limit,
            classes: Some(images.classes.clone()),
            split: name.to_owned(),
            is_quiet: true,
        },
        ..loader_options(&fixed)
    };
    let loader = Loader::new(Arc::clone(samples), options)?;
    let places: HashMap<&str, usize> = samples
        .iter()
        .enumerate()
        .map(|(place, sample)| (sample.id(), place))
        .collect();
    let mut hashes = vec![None; samples.len()];
    progress.start(
        "looking at the images",
        Some(samples.len() as u64),
        Unit::Items,
    );
    let looked = loader.epoch(0).try_for_each(|batch| -> Result<()> {
        let batch = batch?;
        let bytes = batch.height * batch.width * 3;
        for (id, pixels) in batch.ids.iter().zip(batch.pixels.chunks(bytes)) {
            let hash = difference_hash(pixels, batch.height, batch.width);
            if let Some(&place) = places.get(id.as_str()) {
                hashes[place] = Some(hash);
            }
        }
        progress.advance(batch.count as u64);
        Ok(())
    });
    progress.finish();
    looked?;
    Ok(Looked {
        hashes,
        unreadable: loader.skipped(),
        in_bursts: 0,
        is_decoded: true,
        groups: HashMap::new(),
    })
}

impl Looked {
    /// The paths of the images that could not be decoded.
    pub(crate) fn lost(&self) -> HashSet<&Path> {
        let lost = self.unreadable.iter();
        lost.map(|(path, _)| path.as_path()).collect()
    }
}

impl Splits {
    /// Divides one set of images as configured in `data.split`. With `for_folds`, the groups of the images are kept.
    pub(super) fn divided(
        config: &RunConfig,
        place: &Path,
        images: &ImageFolder,
        for_folds: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let name = place.display().to_string();
        let mut looked = look(config, (images, &name, TRAIN), progress)?;
        // An unreadable image must not be counted in any part.
        let mut images = images.clone();
        if !looked.unreadable.is_empty() {
            let lost = looked.lost();
            let hashed = images.samples.iter().zip(&looked.hashes);
            let readable = hashed.filter(|(sample, _)| !lost.contains(&*sample.path()));
            let readable = readable.map(|(sample, hash)| (sample.clone(), *hash));
            let (samples, hashes): (Vec<_>, _) = readable.unzip();
            (images.samples, looked.hashes) = (samples.into(), hashes);
        }
        let images = &images;
        let groups = groups(config, &images.samples, &mut looked);
        // No one needs the hashes any more.
        looked.hashes = Vec::new();
        if for_folds {
            let paths = images.samples.iter().map(Sample::path);
            looked.groups = paths.zip(groups.iter().copied()).collect();
        }
        let labels: Vec<usize> = images.samples.iter().map(|sample| sample.label).collect();
        let split = &config.data.split;
        let parts = partition(&labels, &groups, split.val, split.test, split.seed);
        let splits = Self::of_parts(images, &parts, place);
        check_parts(&splits, place)?;
        Ok(Self {
            looked: Some(looked),
            ..splits
        })
    }

    /// Writes the splits to `split/train.csv`, `split/val.csv` and `split/test.csv` in `folder`, with the columns
    /// `path` and `label`, so that other commands can use the same division. Splits that were not made by a division
    /// are not written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn write_division(&self, folder: &Path) -> Result<()> {
        if self.is_as_listed {
            return Ok(());
        }
        let folder = folder.join("split");
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        for ((images, _, _), split) in self.each().zip([TRAIN, VALIDATION, TEST]) {
            let mut table = Table::create(&folder.join(format!("{split}.csv")), ["path", "label"])?;
            for sample in images.samples.iter() {
                let path = sample.path();
                let path = std::path::absolute(&path).map_err(Error::io(&path))?;
                let label = &images.classes.names()[sample.label];
                table.row([&path.to_string_lossy(), label])?;
            }
            table.finish()?;
        }
        Ok(())
    }

    fn of_parts(images: &ImageFolder, parts: &Partition, place: &Path) -> Self {
        let name = place.display();
        Self {
            train: part(images, &parts.train),
            val: part(images, &parts.val),
            test: (!parts.test.is_empty()).then(|| part(images, &parts.test)),
            caches: [TRAIN, TRAIN, TRAIN].map(str::to_owned),
            names: ["trained on", "for validation", "for the test"]
                .map(|part| format!("{name} ({part})")),
            looked: None,
            is_as_listed: false,
        }
    }
}

impl Listed {
    /// The listed images of the training split. If they are divided later, these are all images.
    pub fn training(&self) -> &ImageFolder {
        &self.train
    }

    /// The listed images among which are those of the test or validation split: those of training, if it is divided.
    pub fn measured(&self, measured: Measured) -> &ImageFolder {
        let split = match measured {
            Measured::Test => &self.test,
            Measured::Validation => &self.val,
        };
        split.as_ref().unwrap_or(&self.train)
    }
}

/// The group of each sample: bursts, and files with equal contents.
fn groups(config: &RunConfig, samples: &[Sample], looked: &mut Looked) -> Vec<usize> {
    let mut groups = match config.data.split.keep_bursts {
        true => bursts(samples, &looked.hashes),
        false => (0..samples.len()).collect(),
    };
    // A group's number is the index of one of its samples.
    let mut sizes = vec![0; groups.len()];
    for &group in &groups {
        sizes[group] += 1;
    }
    looked.in_bursts = sizes.into_iter().filter(|&size| size > 1).sum();
    let all: Vec<&Sample> = samples.iter().collect();
    for equal in duplicates(&all) {
        // The entry of the sample that numbers its group is its own index.
        let first = root(&groups, equal[0]);
        for place in &equal[1..] {
            let other = root(&groups, *place);
            groups[other] = first;
        }
    }
    (0..groups.len())
        .map(|place| root(&groups, place))
        .collect()
}

/// The number of the group of the sample at `place`.
fn root(groups: &[usize], mut place: usize) -> usize {
    while groups[place] != place {
        place = groups[place];
    }
    place
}

/// Refuses a division without training or validation images.
fn check_parts(splits: &Splits, place: &Path) -> Result<()> {
    let counts = splits.train.class_counts();
    if let Some(label) = counts.iter().position(|&count| count == 0) {
        return Err(Error::NoImages(format!(
            "{}: class `{}` has no image left to train on; expected at least 3 different images of each class, and \
             100 are a good start: add some, or remove the folder",
            place.display(),
            splits.train.classes.names()[label],
        )));
    }
    if splits.val.samples.is_empty() {
        return Err(Error::NoImages(format!(
            "{}: no class has enough images for validation too; expected at least 3 different images of each class, \
             100 are a good start, and data.split.val above 0",
            place.display(),
        )));
    }
    Ok(())
}
