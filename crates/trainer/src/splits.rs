//! The folders a run trains and validates on.

use mnist_data::{
    Classes, Fold, ImageFolder, Loader, LoaderOptions, Sample, TRAIN, VALIDATION, folds,
};

use crate::config::{DataSource, RunConfig};
use crate::{Error, Objective, Result};

/// The training and the validation split, with the classes of the former.
#[derive(Clone, Debug)]
pub struct Splits {
    /// `<root>/train`.
    pub train: ImageFolder,
    /// `<root>/val`.
    pub val: ImageFolder,
    /// What the files of decoded images of both are called.
    caches: [&'static str; 2],
}

impl Splits {
    /// Lists `<root>/train` and `<root>/val`, or what `train.csv` and `val.csv` there list.
    ///
    /// # Errors
    ///
    /// When a split is missing or empty, validation has a class training does
    /// not know, or the number of classes is not the configured one.
    pub fn open(config: &RunConfig) -> Result<Self> {
        let data = &config.data;
        let root = data.root();
        let classes = data.class_names.as_deref().map(Classes::read).transpose()?;
        let (mut train, val) = match data.source {
            DataSource::Csv => {
                let file = |split: &str| root.join(format!("{split}.csv"));
                let train = ImageFolder::from_csv(&file(TRAIN), None, classes.as_ref())?;
                let val = file(VALIDATION);
                let val = val
                    .exists()
                    .then(|| ImageFolder::from_csv(&val, None, Some(&train.classes)));
                (train, val.transpose()?)
            }
            source => {
                let train = match &classes {
                    None => ImageFolder::training(&root.join(TRAIN))?,
                    Some(classes) => ImageFolder::with_classes(&root.join(TRAIN), classes)?,
                };
                let val = root.join(VALIDATION);
                let can_hold_out = source == DataSource::Folder && least_images(&train) >= PARTS;
                let is_wanted = val.exists() || !can_hold_out;
                let val = is_wanted.then(|| ImageFolder::with_classes(&val, &train.classes));
                (train, val.transpose()?)
            }
        };
        data.sample_weights.apply(&mut train.samples)?;
        let found = train.classes.names();
        if let Some(expected) = config
            .model
            .classes
            .filter(|expected| *expected != found.len())
        {
            return Err(Error::ClassCount {
                root: root.join(TRAIN),
                found: found.len(),
                expected,
                names: found
                    .iter()
                    .take(12)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        let Some(val) = val else {
            return hold_out(&train, data.validation.seed);
        };
        Ok(Self {
            train,
            val,
            caches: [TRAIN, VALIDATION],
        })
    }

    /// Two parts of one set of images, whose decoded images share the file called `cache`: which
    /// image is in which part is another matter the next time.
    pub(crate) fn of_fold(images: &ImageFolder, fold: &Fold, cache: &'static str) -> Self {
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
            caches: [cache; 2],
        }
    }

    /// Class names in label order.
    pub fn class_names(&self) -> Vec<String> {
        self.train.classes.names().to_vec()
    }

    pub(crate) fn train_loader(&self, config: &RunConfig) -> Result<Loader> {
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
        self.loader(1, &self.val, config, loader_options(config))
    }

    fn loader(
        &self,
        split: usize,
        images: &ImageFolder,
        config: &RunConfig,
        mut options: LoaderOptions,
    ) -> Result<Loader> {
        let size = options.stored_size();
        options.disk_cache = config.data.disk_cache(self.caches[split], size);
        Ok(Loader::new(images.samples.clone(), options)?)
    }

    /// The configured loss; `samples` are those trained on, whose classes are balanced.
    pub(crate) fn loss(&self, config: &RunConfig, samples: &[Sample]) -> Result<Objective> {
        let classes = self.train.classes.names().len();
        Objective::new(&config.loss, classes, samples.iter().map(|s| s.label))
    }
}

/// One part in so many is held out where there is no validation split.
const PARTS: usize = 10;

/// Images of the class that has fewest.
fn least_images(images: &ImageFolder) -> usize {
    let mut counts = vec![0; images.classes.names().len()];
    for sample in &images.samples {
        counts[sample.label] += 1;
    }
    counts.into_iter().min().unwrap_or(0)
}

/// Divides training images without a validation split: the same share of each class is held out.
fn hold_out(images: &ImageFolder, seed: u64) -> Result<Splits> {
    let labels: Vec<usize> = images.samples.iter().map(|sample| sample.label).collect();
    let fold = folds(&labels, PARTS, seed)?.swap_remove(0);
    tracing::info!(
        "there is no validation split: {} of the {} training images are held out for it",
        fold.val.len(),
        labels.len()
    );
    Ok(Splits::of_fold(images, &fold, TRAIN))
}

fn loader_options(config: &RunConfig) -> LoaderOptions {
    LoaderOptions {
        batch_size: config.data.batch_size,
        image_size: config.data.image_size,
        workers: config.workers(),
        prefetch: config.data.prefetch,
        cache_bytes: config.data.cache_mb.saturating_mul(1024 * 1024),
        on_bad_image: config.data.on_bad_image,
        ..LoaderOptions::default()
    }
}
