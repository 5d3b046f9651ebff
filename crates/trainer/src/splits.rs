//! The folders a run trains and validates on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mnist_data::{
    Classes, Fold, ImageFolder, Loader, LoaderOptions, Sample, TEST, TRAIN, VALIDATION, folds,
};

use crate::config::{ConfigError, DataConfig, DataSource, RunConfig};
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
    /// Lists `<root>/train` and `<root>/val`, or what `train.csv` and `val.csv` there list. Of a
    /// folder or CSV files without the latter, a tenth of the training images is held out.
    ///
    /// # Errors
    ///
    /// When a split is missing or empty, validation has a class training does
    /// not know, there is one class alone, or their number is not the configured one.
    pub fn open(config: &RunConfig) -> Result<Self> {
        let (mut train, val) = listed(config)?;
        config.data.sample_weights.apply(&mut train.samples)?;
        match val {
            Some(val) => Ok(Self {
                train,
                val,
                caches: [TRAIN, VALIDATION],
            }),
            None => hold_out(&config.data, &train),
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
        let (mut train, val) = listed(config)?;
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
        Ok(Self {
            train,
            val,
            caches: [TRAIN, VALIDATION],
        })
    }

    /// Where the test split is, if there is one. It is listed, so that what is wrong with it is
    /// known before training.
    ///
    /// # Errors
    ///
    /// When it is empty, or has a class that training does not know.
    pub fn test(&self, config: &RunConfig) -> Result<Option<PathBuf>> {
        let listed = list(&config.data, TEST, &self.train.classes)?;
        Ok(listed.map(|_| place(&config.data, TEST)))
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

/// Where a split is: a folder of class folders, or a CSV file.
fn place(data: &DataConfig, split: &str) -> PathBuf {
    data.root().join(match data.source {
        DataSource::Csv => format!("{split}.csv"),
        _ => split.to_owned(),
    })
}

/// A split with the classes of training; `None` if it is not there.
fn list(data: &DataConfig, split: &str, classes: &Classes) -> Result<Option<ImageFolder>> {
    let place = place(data, split);
    let listed = place.exists().then(|| match data.source {
        DataSource::Csv => ImageFolder::from_csv(&place, None, Some(classes)),
        _ => ImageFolder::with_classes(&place, classes),
    });
    Ok(listed.transpose()?)
}

/// The training split and, if it is there, the validation split.
fn listed(config: &RunConfig) -> Result<(ImageFolder, Option<ImageFolder>)> {
    let data = &config.data;
    let classes = data.class_names.as_deref().map(Classes::read).transpose()?;
    let place = place(data, TRAIN);
    let train = match (data.source, &classes) {
        (DataSource::Csv, classes) => ImageFolder::from_csv(&place, None, classes.as_ref()),
        (_, None) => ImageFolder::training(&place),
        (_, Some(classes)) => ImageFolder::with_classes(&place, classes),
    }?;
    check_classes(config, &place, train.classes.names())?;
    let val = list(data, VALIDATION, &train.classes)?;
    Ok((train, val))
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
fn hold_out(data: &DataConfig, images: &ImageFolder) -> Result<Splits> {
    let val = place(data, VALIDATION);
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

#[cfg(test)]
mod tests {
    use std::fs;

    use mnist_data::WeightPattern;

    use super::*;

    /// Class folders with images that nobody will decode: `path` and how many.
    fn folders(counts: &[(&str, usize)]) -> (tempfile::TempDir, RunConfig) {
        let dir = tempfile::tempdir().unwrap();
        for (path, count) in counts {
            let folder = dir.path().join(path);
            fs::create_dir_all(&folder).unwrap();
            for number in 1..=*count {
                fs::write(folder.join(format!("{number}.png")), "").unwrap();
            }
        }
        let mut config = RunConfig::default();
        config.data.source = DataSource::Folder;
        config.data.root = Some(dir.path().to_owned());
        (dir, config)
    }

    /// Lists the images of a split's folders in its CSV file, whose paths begin with the split.
    fn list_in_csv(dir: &Path, split: &str) {
        let images = mnist_data::list_images(&dir.join(split)).unwrap();
        let rows = images.iter().map(|(id, _)| {
            let class = id.split('/').next().unwrap();
            format!("{split}/{id},{class}\n")
        });
        let text = "path,label\n".to_owned() + &rows.collect::<String>();
        fs::write(dir.join(format!("{split}.csv")), text).unwrap();
    }

    #[test]
    fn one_class_alone_is_refused_with_what_it_may_come_from() {
        let (dir, mut config) = folders(&[("train/photos/cats", 12), ("train/photos/dogs", 12)]);
        let said = |config: &RunConfig| Splits::open(config).unwrap_err().to_string();
        let text = said(&config);
        for part in [
            "data.root",
            "`photos` alone",
            "at least 2",
            "a level deeper",
        ] {
            assert!(text.contains(part), "{text}");
        }
        list_in_csv(dir.path(), "train");
        config.data.source = DataSource::Csv;
        assert!(said(&config).contains("train.csv"), "{}", said(&config));
    }

    #[test]
    fn a_tenth_is_held_out_only_of_classes_that_can_spare_it() {
        let (dir, mut config) = folders(&[("train/cats", 12), ("train/dogs", 10)]);
        list_in_csv(dir.path(), "train");
        for source in [DataSource::Folder, DataSource::Csv] {
            config.data.source = source;
            let splits = Splits::open(&config).unwrap();
            let counts = [splits.train.class_counts(), splits.val.class_counts()];
            assert_eq!(counts[1].iter().sum::<usize>(), 3);
            assert_eq!(counts[0].iter().sum::<usize>(), 19);
            assert!(counts[1].iter().all(|&count| count > 0), "{counts:?}");
        }
        for (few, text) in [(9, "has 9 training images"), (1, "has 1 training images")] {
            let (dir, mut config) = folders(&[("train/cats", 12), ("train/dogs", few)]);
            list_in_csv(dir.path(), "train");
            for (source, file) in [(DataSource::Folder, "val:"), (DataSource::Csv, "val.csv:")] {
                config.data.source = source;
                let message = Splits::open(&config).unwrap_err().to_string();
                for part in [text, file, "`dogs`", "at least 10 of each class"] {
                    assert!(message.contains(part), "{message}");
                }
                let splits = Splits::open_for_folds(&config).unwrap();
                assert_eq!(splits.train.class_counts(), [12, few]);
                assert!(splits.val.samples.is_empty());
            }
        }
        // Of what was unpacked, validation is a part.
        config.data.source = DataSource::Idx;
        let error = Splits::open(&config).unwrap_err();
        assert!(matches!(
            error,
            Error::Data(mnist_data::Error::MissingSplit { .. })
        ));
    }

    #[test]
    fn weights_hold_for_the_images_of_both_splits_where_folds_are_made() {
        let (dir, mut config) = folders(&[
            ("train/cats", 2),
            ("train/dogs", 2),
            ("val/cats", 3),
            ("val/dogs", 1),
        ]);
        let file = dir.path().join("weights.csv");
        // The first is in both splits, the second in one of them.
        fs::write(&file, "path,weight\ncats/2.png,5\ncats/3.png,7\n").unwrap();
        let weights = &mut config.data.sample_weights;
        weights.patterns = vec![WeightPattern {
            pattern: "cats/**".to_owned(),
            weight: 0.0,
        }];
        weights.file = Some(file);
        let of = |images: &ImageFolder| -> Vec<f32> {
            images.samples.iter().map(|sample| sample.weight).collect()
        };
        let splits = Splits::open_for_folds(&config).unwrap();
        assert_eq!(of(&splits.train), [0.0, 5.0, 1.0, 1.0]);
        assert_eq!(of(&splits.val), [0.0, 5.0, 7.0, 1.0]);
        // A run trains on one split alone, and a row about no image of it is a mistake.
        let error = Splits::open(&config).unwrap_err().to_string();
        assert!(error.contains("cats/3.png"), "{error}");
        config.data.sample_weights.file = None;
        let splits = Splits::open(&config).unwrap();
        assert_eq!(of(&splits.train), [0.0, 0.0, 1.0, 1.0]);
        config.data.sample_weights.patterns[0].pattern = "birds/**".to_owned();
        let error = Splits::open_for_folds(&config).unwrap_err().to_string();
        assert!(error.contains("matches no sample"), "{error}");
    }

    #[test]
    fn a_batch_that_the_images_do_not_fill_is_refused_by_its_keys() {
        let (_dir, mut config) =
            folders(&[("train/cats", 20), ("train/dogs", 20), ("val/cats", 1)]);
        let splits = Splits::open(&config).unwrap();
        let error = splits.train_loader(&config).unwrap_err().to_string();
        for part in ["data.batch_size", "128", "(40)", "train.drop_last"] {
            assert!(error.contains(part), "{error}");
        }
        config.data.batch_size = 16;
        splits.train_loader(&config).unwrap();
        config.data.limit = Some(12);
        assert!(splits.train_loader(&config).is_err());
        config.train.drop_last = false;
        splits.train_loader(&config).unwrap();
    }

    #[test]
    fn a_broken_test_split_is_known_before_training() {
        let (dir, config) = folders(&[("train/a", 1), ("train/b", 1), ("val/a", 1)]);
        let splits = Splits::open(&config).unwrap();
        assert_eq!(splits.test(&config).unwrap(), None);
        let test = dir.path().join("test");
        fs::create_dir_all(test.join("a")).unwrap();
        assert!(splits.test(&config).is_err());
        fs::write(test.join("a/1.png"), "").unwrap();
        assert_eq!(splits.test(&config).unwrap(), Some(test.clone()));
        fs::create_dir(test.join("c")).unwrap();
        let error = splits.test(&config).unwrap_err().to_string();
        assert!(error.contains("`c`"), "{error}");
    }
}
