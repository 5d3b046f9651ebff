//! The folders a run trains and validates on.

use mnist_data::{ImageFolder, Loader, LoaderOptions, Sample, TRAIN, VALIDATION};

use crate::config::{ClassWeights, ConfigError, RunConfig};
use crate::loss::{CrossEntropy, balanced_class_weights};
use crate::{Error, Result};

/// The training and the validation split, with the classes of the former.
#[derive(Clone, Debug)]
pub struct Splits {
    /// `<root>/train`.
    pub train: ImageFolder,
    /// `<root>/val`.
    pub val: ImageFolder,
}

impl Splits {
    /// Lists `<root>/train` and `<root>/val`.
    ///
    /// # Errors
    ///
    /// When a split is missing or empty, validation has a class training does
    /// not know, or the number of classes is not the configured one.
    pub fn open(config: &RunConfig) -> Result<Self> {
        let root = config.data.root();
        let train = ImageFolder::training(&root.join(TRAIN))?;
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
        let val = ImageFolder::with_classes(&root.join(VALIDATION), &train.classes)?;
        Ok(Self { train, val })
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
            disk_cache: config.data.disk_cache(TRAIN),
            ..loader_options(config)
        };
        Ok(Loader::new(self.train.samples.clone(), options)?)
    }

    pub(crate) fn val_loader(&self, config: &RunConfig) -> Result<Loader> {
        let options = LoaderOptions {
            shuffle: None,
            limit: None,
            drop_last: false,
            disk_cache: config.data.disk_cache(VALIDATION),
            ..loader_options(config)
        };
        Ok(Loader::new(self.val.samples.clone(), options)?)
    }

    /// The configured loss; `samples` are those trained on, whose classes are balanced.
    pub(crate) fn loss(&self, config: &RunConfig, samples: &[Sample]) -> Result<CrossEntropy> {
        let classes = self.train.classes.names().len();
        let weights = match &config.train.class_weights {
            ClassWeights::None => vec![1.0; classes],
            ClassWeights::Balanced => {
                balanced_class_weights(samples.iter().map(|s| s.label), classes)
            }
            ClassWeights::Given(weights) if weights.len() == classes => weights.clone(),
            ClassWeights::Given(weights) => {
                return Err(ConfigError::Invalid {
                    key: "train.class_weights",
                    found: format!("{weights:?}"),
                    expected: format!("one weight for each of the {classes} classes"),
                }
                .into());
            }
        };
        CrossEntropy::new(config.train.label_smoothing, weights)
    }
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
