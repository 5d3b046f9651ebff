//! The folders a run trains and validates on.

mod places;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mnist_data::{
    BadImageLimit, Classes, Fold, ImageFolder, Listing, Loader, LoaderOptions, Sample, TRAIN,
    VALIDATION, draw_samples, folds,
};

use crate::config::{ConfigError, DataConfig, DataSource, RunConfig};
use crate::{Error, Objective, Result};
use places::{Places, canonical};

/// The training and the validation split, with the classes of the former.
#[derive(Clone, Debug)]
pub struct Splits {
    /// `<root>/train`.
    pub train: ImageFolder,
    /// `<root>/val`.
    pub val: ImageFolder,
    /// What the files of decoded images of both are called.
    caches: [String; 2],
    /// What messages call both.
    names: [String; 2],
}

impl Splits {
    /// Lists `<root>/train` and `<root>/val`, or what `train.csv` and `val.csv` there list; other
    /// usual names (`valid`, `validation`, `dev`, `eval`, `training`) in any letter case do as
    /// well. Of a folder or CSV files without the latter, a tenth of the training images is held
    /// out. What lies beside the splits and is not used is named in a warning.
    ///
    /// # Errors
    ///
    /// When a split is missing or empty, or two may be the same one, validation has a class
    /// training does not know, there is one class alone, or their number is not the configured one.
    pub fn open(config: &RunConfig) -> Result<Self> {
        let (places, mut train, val) = listed(config)?;
        config.data.sample_weights.apply(&mut train.samples)?;
        match val {
            Some(val) => Ok(Self::of_places(&places, train, val)),
            None => hold_out(&config.data, &places.train, &train),
        }
    }

    /// The splits at these places. Their files of decoded images are called as they are.
    fn of_places(places: &Places, train: ImageFolder, val: ImageFolder) -> Self {
        let val_place = places.val.clone().unwrap_or_else(|| VALIDATION.into());
        let stem = |place: &Path, split: &str| {
            let stem = place.file_stem().and_then(|stem| stem.to_str());
            stem.unwrap_or(split).to_owned()
        };
        Self {
            train,
            val,
            caches: [stem(&places.train, TRAIN), stem(&val_place, VALIDATION)],
            names: [&places.train, &val_place].map(|place| place.display().to_string()),
        }
    }

    /// As [`open`](Self::open), for [`cross_validate`](crate::cross_validate), which divides the
    /// images of both splits anew. So nothing is held out: without a validation split, `val` is
    /// empty. And sample weights are about the images of both: an id, be it matched by a pattern or
    /// named in the file, may be from either split, and from both.
    ///
    /// # Errors
    ///
    /// As `open`, except that there need not be a validation split.
    pub fn open_for_folds(config: &RunConfig) -> Result<Self> {
        let (places, mut train, val) = listed(config)?;
        let mut val = val.unwrap_or_else(|| ImageFolder {
            classes: train.classes.clone(),
            samples: Vec::new(),
        });
        let weigh = |own: &[Sample], others: &[Sample]| -> Result<Vec<Sample>> {
            // Rows of the file find an id once, so that one of both splits is weighed in each.
            let known: HashSet<&str> = own.iter().map(|sample| sample.id.as_str()).collect();
            let others = others.iter();
            let others = others.filter(|other| !known.contains(other.id.as_str()));
            let mut all: Vec<Sample> = own.iter().chain(others).cloned().collect();
            config.data.sample_weights.apply(&mut all)?;
            all.truncate(own.len());
            Ok(all)
        };
        (train.samples, val.samples) = (
            weigh(&train.samples, &val.samples)?,
            weigh(&val.samples, &train.samples)?,
        );
        Ok(Self::of_places(&places, train, val))
    }

    /// Where the test split is, if there is one. It is listed, so that what is wrong with it is
    /// known before training.
    ///
    /// # Errors
    ///
    /// When it is empty, or has a class that training does not know.
    pub fn test(&self, config: &RunConfig) -> Result<Option<PathBuf>> {
        let test = Places::find(&config.data)?.test;
        if let Some(place) = &test {
            list(&config.data, place, &self.train.classes)?;
        }
        Ok(test)
    }

    /// Two parts of one set of images, which messages call `name`. Their decoded images share the
    /// file called `cache`: which image is in which part is another matter the next time.
    pub(crate) fn of_fold(images: &ImageFolder, fold: &Fold, cache: &str, name: &str) -> Self {
        let part = |places: &[usize]| ImageFolder {
            samples: places
                .iter()
                .map(|&place| images.samples[place].clone())
                .collect(),
            classes: images.classes.clone(),
        };
        Self {
            train: part(&fold.train),
            val: part(&fold.val),
            caches: [cache, cache].map(str::to_owned),
            names: ["trained on", "held out"].map(|part| format!("{name} ({part})")),
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
            samples: draw_samples(self.val.samples.clone(), limit, config.train.seed),
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
        };
        Ok(Loader::new(images.samples.clone(), options)?)
    }

    /// The configured loss; `samples` are those trained on, whose classes are balanced.
    pub(crate) fn loss(&self, config: &RunConfig, samples: &[Sample]) -> Result<Objective> {
        let classes = self.train.classes.names().len();
        Objective::new(&config.loss, classes, samples.iter().map(|s| s.label))
    }
}

/// A split with the classes of training.
fn list(data: &DataConfig, place: &Path, classes: &Classes) -> Result<ImageFolder> {
    Ok(match data.source {
        DataSource::Csv => ImageFolder::from_csv(place, None, Some(classes)),
        _ => listing(data).with_classes(place, classes),
    }?)
}

fn listing(data: &DataConfig) -> Listing {
    Listing {
        on_bad_name: data.on_bad_image,
    }
}

/// Where the splits are, the training split and, if it is there, the validation split.
fn listed(config: &RunConfig) -> Result<(Places, ImageFolder, Option<ImageFolder>)> {
    let data = &config.data;
    let classes = data.class_names.as_deref().map(Classes::read).transpose()?;
    let places = Places::find(data)?;
    places.tell(data);
    let place = &places.train;
    let train = match (data.source, &classes) {
        (DataSource::Csv, classes) => ImageFolder::from_csv(place, None, classes.as_ref()),
        (_, None) => listing(data).training(place),
        (_, Some(classes)) => listing(data).with_classes(place, classes),
    }?;
    check_classes(config, place, train.classes.names())?;
    let val = places.val.as_deref();
    let val = val.map(|place| list(data, place, &train.classes));
    let val = val.transpose()?;
    Ok((places, train, val))
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

/// One part in so many is held out where there is no validation split.
const PARTS: usize = 10;

/// Divides training images without a validation split: the same share of each class is held out.
fn hold_out(data: &DataConfig, place: &Path, images: &ImageFolder) -> Result<Splits> {
    let val = canonical(data, VALIDATION);
    if !matches!(data.source, DataSource::Folder | DataSource::Csv) {
        return Err(mnist_data::Error::MissingSplit { path: val }.into());
    }
    let counts = images.class_counts().into_iter().enumerate();
    // A class without any loses none.
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
    let fold = folds(&labels, PARTS, data.validation.seed)?.swap_remove(0);
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
