//! The training, validation and test images of a run.

mod divided;
mod places;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mnist_data::{
    BadImageLimit, Classes, Fold, ImageFolder, ImageSizes, Listing, Loader, LoaderOptions,
    NoProgress, Progress, Sample, TEST, TRAIN, VALIDATION, draw_samples, first_fold,
};

use crate::config::{ConfigError, DataConfig, DataSource, RunConfig};
use crate::{Error, InferenceOptions, Measured, Objective, Result};
pub(crate) use divided::{Looked, look};
use places::{Places, canonical};

/// The training split, the validation split and, if there is one, the test split. All have the classes of training.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The training images.
    pub train: ImageFolder,
    /// The validation images, for choosing the best epoch.
    pub val: ImageFolder,
    /// The test images, for the final score.
    pub test: Option<ImageFolder>,
    /// The names of the splits' cache files.
    caches: [String; 3],
    /// The splits' names in messages.
    names: [String; 3],
    /// The results of decoding, if one set of images was divided.
    pub(crate) looked: Option<Looked>,
    /// Whether each split is a folder or a file of its own.
    is_as_listed: bool,
}

impl Splits {
    /// Lists the splits. They are `data.train`, `data.val` and `data.test` if set, otherwise the folders or CSV files
    /// `train`, `val` and `test` in `data.root`. Other usual names (`valid`, `validation`, `dev`, `eval`, `training`,
    /// `testing`) are accepted too, in any letter case. Without a validation split, a tenth of the training images is
    /// held out. Class folders without split folders above them, or a single CSV file, are divided into three splits
    /// by `data.split`; for this, up to 20,000 images are decoded. A warning names unused files and folders beside
    /// the splits.
    ///
    /// # Errors
    ///
    /// If a split is missing or empty, two folders may be the same split, validation or test has a class
    /// that training lacks, there is only one class, or their number differs from the configured one.
    pub fn open(config: &RunConfig) -> Result<Self> {
        Listed::open(config)?.split(config, &NoProgress)
    }

    /// The splits at these places. Their cache files have the names of the splits.
    fn of_places(places: &Places, train: ImageFolder, val: ImageFolder) -> Self {
        let val_place = places.val.clone().unwrap_or_else(|| VALIDATION.into());
        Self {
            train,
            val,
            test: None,
            caches: [
                stem(&places.train, TRAIN),
                stem(&val_place, VALIDATION),
                TEST.to_owned(),
            ],
            names: [&places.train, &val_place, Path::new(TEST)]
                .map(|place| place.display().to_string()),
            looked: None,
            is_as_listed: true,
        }
    }

    /// [`open`](Self::open) for [`cross_validate`](crate::cross_validate), which divides the images
    /// of both splits into folds. Nothing is held out: without a validation split, `val` is empty.
    /// Sample weights apply to both splits: an id may be in either or both. If the splits come from a division by
    /// `data.split`, its test images are left out.
    ///
    /// # Errors
    ///
    /// Those of `open`, except for a missing validation split.
    pub fn open_for_folds(config: &RunConfig) -> Result<Self> {
        let Listed {
            places,
            mut train,
            val,
            ..
        } = Listed::open(config)?;
        if places.is_whole {
            (config.data.sample_weights).apply(Arc::make_mut(&mut train.samples))?;
            return Self::divided(config, &places.train, &train, true, &NoProgress);
        }
        let mut val = val.unwrap_or_else(|| ImageFolder {
            classes: train.classes.clone(),
            samples: Arc::new([]),
        });
        let weigh = |own: &[Sample], others: &[Sample]| -> Result<Arc<[Sample]>> {
            // The weights are applied to each split separately, so that an image in both splits is
            // weighted in each.
            let known: HashSet<&str> = own.iter().map(Sample::id).collect();
            let others = others.iter();
            let others = others.filter(|other| !known.contains(other.id()));
            let mut all: Vec<Sample> = own.iter().chain(others).cloned().collect();
            config.data.sample_weights.apply(&mut all)?;
            all.truncate(own.len());
            Ok(all.into())
        };
        (train.samples, val.samples) = (
            weigh(&train.samples, &val.samples)?,
            weigh(&val.samples, &train.samples)?,
        );
        Ok(Self::of_places(&places, train, val))
    }

    /// The three splits with their names in messages and in the file names of caches.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&ImageFolder, &str, &str)> {
        let images = [Some(&self.train), Some(&self.val), self.test.as_ref()];
        let named = images.into_iter().zip(&self.names).zip(&self.caches);
        named.filter_map(|((images, name), cache)| Some((images?, name.as_str(), cache.as_str())))
    }

    /// The test images and their name in messages.
    pub fn test(&self) -> Option<(&ImageFolder, &str)> {
        Some((self.test.as_ref()?, &self.names[2]))
    }

    /// The images of the test split or of the validation split, and their name in messages. Without a test split, those
    /// of the validation split.
    pub fn measured(&self, measured: Measured) -> (&ImageFolder, &str) {
        match (measured, self.test()) {
            (Measured::Test, Some(test)) => test,
            _ => (&self.val, &self.names[1]),
        }
    }

    /// The options for the evaluation at the end of a run: as configured, with the disk cache of the test split or of
    /// the validation split.
    pub fn options(&self, config: &RunConfig, measured: Measured) -> InferenceOptions {
        let cache = match measured {
            Measured::Test => &self.caches[2],
            Measured::Validation => &self.caches[1],
        };
        InferenceOptions {
            batch_size: config.data.batch_size,
            workers: config.workers(),
            on_bad_image: config.data.on_bad_image,
            bad_image_limit: config.data.bad_image_limit,
            decode: config.data.decode_options(),
            disk_cache: config.data.disk_cache(
                cache,
                config.data.image_size,
                config.data.framing(),
            ),
            ..InferenceOptions::default()
        }
    }

    /// Two parts of one set of images; messages call the set `name`. Both use the cache file `cache`,
    /// since the division differs from run to run.
    pub(crate) fn of_fold(images: &ImageFolder, fold: &Fold, cache: &str, name: &str) -> Self {
        Self {
            train: part(images, &fold.train),
            val: part(images, &fold.val),
            test: None,
            caches: [cache, cache, cache].map(str::to_owned),
            names: ["trained on", "held out", TEST].map(|part| format!("{name} ({part})")),
            looked: None,
            is_as_listed: false,
        }
    }

    /// Class names in label order.
    pub fn class_names(&self) -> Vec<String> {
        self.train.classes.names().to_vec()
    }

    pub(crate) fn train_loader(&self, config: &RunConfig) -> Result<Loader> {
        let images = self.train.samples.len();
        let images = config.data.limit.map_or(images, |limit| limit.min(images));
        if config.train.drop_last && images < config.data.batch_size {
            return Err(ConfigError::Invalid {
                key: "data.batch_size",
                found: config.data.batch_size.to_string(),
                expected: format!(
                    "at most the number of training images ({images}), because train.drop_last \
                     leaves out a batch that is not full; lower data.batch_size, or set \
                     train.drop_last = false"
                ),
            }
            .into());
        }
        let options = LoaderOptions {
            shuffle: Some(config.train.seed),
            limit: config.data.limit,
            drop_last: config.train.drop_last,
            augment: config.augment.clone(),
            mix: config.mix.clone(),
            ..loader_options(config)
        };
        self.loader(0, &self.train, config, options)
    }

    pub(crate) fn val_loader(&self, config: &RunConfig) -> Result<Loader> {
        let options = loader_options(config);
        let Some(limit) = config.data.val_limit else {
            return self.loader(1, &self.val, config, options);
        };
        let drawn = ImageFolder {
            samples: draw_samples(&self.val.samples, limit, config.train.seed),
            classes: self.val.classes.clone(),
        };
        self.loader(1, &drawn, config, options)
    }

    fn loader(
        &self,
        split: usize,
        images: &ImageFolder,
        config: &RunConfig,
        mut options: LoaderOptions,
    ) -> Result<Loader> {
        let (size, framing) = (options.stored_size(), options.stored_framing());
        options.disk_cache = (config.data).disk_cache(&self.caches[split], size, framing);
        options.bad_images = BadImageLimit {
            share: config.data.bad_image_limit,
            classes: Some(images.classes.clone()),
            split: self.names[split].clone(),
            is_quiet: false,
        };
        Ok(Loader::new(Arc::clone(&images.samples), options)?)
    }

    /// The configured loss; `samples` are the training samples, for balancing classes.
    pub(crate) fn loss(&self, config: &RunConfig, samples: &[Sample]) -> Result<Objective> {
        let classes = self.train.classes.names().len();
        Objective::new(&config.loss, classes, samples.iter().map(|s| s.label))
    }
}

/// The images at these indices, with the classes of all.
fn part(images: &ImageFolder, indices: &[usize]) -> ImageFolder {
    let samples = indices.iter().map(|&index| images.samples[index].clone());
    ImageFolder {
        samples: samples.collect(),
        classes: images.classes.clone(),
    }
}

/// The name of a split's path, without the ending of a CSV file.
fn stem(place: &Path, split: &str) -> String {
    let stem = place.file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or(split).to_owned()
}

/// Whether a split is a CSV file.
fn is_csv(data: &DataConfig, place: &Path) -> bool {
    match data.source {
        DataSource::Csv => !place.is_dir(),
        _ => place.is_file(),
    }
}

/// A split with the classes of training.
fn list(data: &DataConfig, place: &Path, classes: &Classes) -> Result<ImageFolder> {
    Ok(match is_csv(data, place) {
        true => ImageFolder::from_csv(place, None, Some(classes)),
        false => listing(data).with_classes(place, classes),
    }?)
}

fn listing(data: &DataConfig) -> Listing {
    Listing {
        on_bad_name: data.on_bad_image,
    }
}

/// The listed images of a run, before any is decoded.
#[derive(Debug)]
pub struct Listed {
    places: Places,
    train: ImageFolder,
    val: Option<ImageFolder>,
    test: Option<ImageFolder>,
}

impl Listed {
    /// Lists the images of the configured splits.
    ///
    /// # Errors
    ///
    /// As [`Splits::open`].
    pub fn open(config: &RunConfig) -> Result<Self> {
        let data = &config.data;
        let classes = data.class_names.as_deref().map(Classes::read).transpose()?;
        let places = Places::find(data)?;
        places.tell(data);
        let place = &places.train;
        let train = match (is_csv(data, place), &classes) {
            (true, classes) => ImageFolder::from_csv(place, None, classes.as_ref()),
            (false, None) => listing(data).training(place),
            (false, Some(classes)) => listing(data).with_classes(place, classes),
        }?;
        check_classes(config, place, train.classes.names())?;
        let of_training = |place: &PathBuf| list(data, place, &train.classes);
        let val = places.val.as_ref().map(of_training).transpose()?;
        let test = places.test.as_ref().map(of_training).transpose()?;
        Ok(Self {
            places,
            train,
            val,
            test,
        })
    }

    /// The splits. If they need a division, `progress` shows the decoding of the images.
    ///
    /// # Errors
    ///
    /// As [`Splits::open`].
    pub fn split(self, config: &RunConfig, progress: &dyn Progress) -> Result<Splits> {
        let Self {
            places,
            mut train,
            val,
            test,
        } = self;
        (config.data.sample_weights).apply(Arc::make_mut(&mut train.samples))?;
        if places.is_whole {
            return Splits::divided(config, &places.train, &train, false, progress);
        }
        let mut splits = match val {
            Some(val) => Splits::of_places(&places, train, val),
            None => hold_out(&config.data, &places.train, &train)?,
        };
        splits.test = test;
        if let Some(place) = &places.test {
            splits.caches[2] = stem(place, TEST);
            splits.names[2] = place.display().to_string();
        }
        Ok(splits)
    }

    /// The approximate number of training images.
    pub fn train_images(&self, config: &RunConfig) -> usize {
        let images = self.train.samples.len();
        let split = &config.data.split;
        let kept = match (self.places.is_whole, &self.val) {
            (true, _) => images as f64 * (1.0 - split.val - split.test),
            (false, None) => (images - images / PARTS) as f64,
            (false, Some(_)) => images as f64,
        };
        config.data.limit.unwrap_or(usize::MAX).min(kept as usize)
    }

    /// The number of images of each class in the training split, or in the set to be divided.
    pub fn class_counts(&self) -> Vec<usize> {
        self.train.class_counts()
    }

    /// The sizes of all images, from their headers.
    pub fn sizes(&self) -> Option<ImageSizes> {
        let splits = [Some(&self.train), self.val.as_ref(), self.test.as_ref()];
        let samples = splits
            .into_iter()
            .flatten()
            .flat_map(|images| images.samples.iter());
        mnist_data::image_sizes(samples.map(Sample::path))
    }
}

fn check_classes(config: &RunConfig, place: &Path, names: &[String]) -> Result<()> {
    if let [name] = names {
        let (root, place) = (config.data.root(), place.display());
        let (key, found, of_each) = match (&config.data.class_names, config.data.source) {
            (Some(file), _) => ("data.class_names", file, "a line".to_owned()),
            (None, DataSource::Csv) => ("data.root", &root, format!("a label in {place}")),
            (None, _) => {
                let of_each = format!(
                    "a folder directly in {place}; perhaps the class folders lie a level deeper"
                );
                ("data.root", &root, of_each)
            }
        };
        return Err(ConfigError::Invalid {
            key,
            found: format!("{}, with the class `{name}` alone", found.display()),
            expected: format!("at least 2 classes, each of them {of_each}"),
        }
        .into());
    }
    match config.model.classes {
        Some(expected) if expected != names.len() => Err(Error::ClassCount {
            root: place.to_owned(),
            found: names.len(),
            expected,
            names: names[..names.len().min(12)].join(", "),
        }),
        _ => Ok(()),
    }
}

/// Without a validation split, one in this many training images is held out.
const PARTS: usize = 10;

/// Divides training images without a validation split, holding out the same share of each class.
fn hold_out(data: &DataConfig, place: &Path, images: &ImageFolder) -> Result<Splits> {
    let val = canonical(data, VALIDATION);
    if !matches!(data.source, DataSource::Folder | DataSource::Csv) {
        return Err(mnist_data::Error::MissingSplit { path: val }.into());
    }
    let counts = images.class_counts().into_iter().enumerate();
    // An empty class has nothing to hold out.
    let least = counts
        .filter(|&(_, count)| count > 0)
        .min_by_key(|&(_, count)| count);
    if let Some((label, count)) = least.filter(|&(_, count)| count < PARTS) {
        return Err(Error::NoImages(format!(
            "{}: there is no validation split, and class `{}` has {count} training images, too few to \
             hold a tenth of them out; expected at least {PARTS} of each class: add some, or make \
             this split of others",
            val.display(),
            images.classes.names()[label],
        )));
    }
    let labels: Vec<usize> = images.samples.iter().map(|sample| sample.label).collect();
    let fold = first_fold(&labels, PARTS, data.validation.seed)?;
    tracing::info!(
        "there is no validation split: {} of the {} training images are held out for it",
        fold.val.len(),
        labels.len()
    );
    let name = place.display().to_string();
    Ok(Splits::of_fold(images, &fold, TRAIN, &name))
}

fn loader_options(config: &RunConfig) -> LoaderOptions {
    LoaderOptions {
        batch_size: config.data.batch_size,
        image_size: config.data.image_size,
        framing: config.data.framing(),
        workers: config.workers(),
        prefetch: config.data.prefetch,
        cache_bytes: config.data.cache_mb.saturating_mul(1024 * 1024),
        on_bad_image: config.data.on_bad_image,
        decode: config.data.decode_options(),
        ..LoaderOptions::default()
    }
}
