//! Evaluation and prediction with a trained network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use classifier::{Answers, Classifier, check_answers};
use mnist_data::{
    BadImage, BadImageLimit, DecodeOptions, DiskCache, ImageFolder, Listing, Loader, LoaderOptions,
    Progress, Sample, TtaConfig, Unit,
};
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ClassOrder, Model};

use crate::batch::{Batch, Inputs};
use crate::class_order::Order;
use crate::config::BAD_IMAGE_LIMIT;
use crate::loss::cross_entropy;
use crate::measure::{Logits, Scores};
use crate::mistakes::{self, Mistake};
use crate::{AnswersFile, ConfusionMatrix, Evaluation, Objective, Prediction, Result, Targets};

/// Input options of evaluation and prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct InferenceOptions {
    /// Images per batch.
    pub batch_size: usize,
    /// Decoding threads.
    pub workers: usize,
    /// What to do with images that cannot be decoded.
    pub on_bad_image: BadImage,
    /// The share of labelled images that may be left out; see
    /// [`DataConfig::bad_image_limit`](crate::config::DataConfig::bad_image_limit). There is no limit
    /// for images without labels.
    pub bad_image_limit: f64,
    /// The options for decoding images. The weights determine the orientation.
    pub decode: DecodeOptions,
    /// The views of each image; their probabilities are averaged.
    pub tta: TtaConfig,
    /// Whether [`Evaluation::mistakes`] lists the wrong answers, which takes about 100 bytes each.
    pub mistakes: bool,
    /// A file for the answers to all images of an evaluation; see [`AnswersFile`].
    pub answers: Option<PathBuf>,
    /// A file of decoded images; see [`DataConfig::disk_cache`](crate::config::DataConfig::disk_cache)
    /// and [`kept_images`](crate::kept_images).
    pub disk_cache: Option<DiskCache>,
}

impl Default for InferenceOptions {
    fn default() -> Self {
        Self {
            batch_size: 64,
            workers: 2,
            on_bad_image: BadImage::Skip,
            bad_image_limit: BAD_IMAGE_LIMIT,
            decode: DecodeOptions::default(),
            tta: TtaConfig::None,
            mistakes: true,
            answers: None,
            disk_cache: None,
        }
    }
}

impl InferenceOptions {
    fn loader(
        self,
        samples: Arc<[Sample]>,
        metadata: &WeightsMetadata,
        bad_images: BadImageLimit,
    ) -> Result<Loader> {
        let options = LoaderOptions {
            batch_size: self.batch_size,
            image_size: metadata.image_size,
            framing: metadata.framing,
            workers: self.workers,
            on_bad_image: self.on_bad_image,
            bad_images,
            decode: DecodeOptions {
                orientation: metadata.orientation,
                ..self.decode
            },
            shuffle: None,
            cache_bytes: 0,
            tta: self.tta,
            disk_cache: self.disk_cache,
            ..LoaderOptions::default()
        };
        Ok(Loader::new(samples, options)?)
    }
}

/// Evaluates a classifier on a folder with one sub-folder per class, or on the images listed in a
/// CSV file with the columns `path` and `label`.
///
/// Weights without class names are assumed to have the classes of the images, sorted as text; see
/// [`Evaluation::class_order`].
///
/// # Errors
///
/// If a sub-folder is not a class of the weights, no image is readable, more images are unreadable than
/// `bad_image_limit` allows, or all images of a class are unreadable;
/// [`Error::UnnamedClasses`](crate::Error::UnnamedClasses) and [`Error::ClassOrder`](crate::Error::ClassOrder).
pub fn evaluate(
    classifier: &Classifier,
    data: &Path,
    options: InferenceOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let metadata = classifier.metadata();
    let order = Order::of(metadata, data)?;
    let images = match data.is_file() {
        true => ImageFolder::from_csv(data, None, Some(&order.classes))?,
        false => Listing {
            on_bad_name: options.on_bad_image,
        }
        .with_classes(data, &order.classes)?,
    };
    let name = data.display().to_string();
    let measured = measure(classifier, images, &name, options, progress)?;
    order.check(measured.scores.confusion(), data)?;
    measured.finish(classifier, &order)
}

/// Evaluates a network whose weights contain the class names of `images`. Messages call the images `name`.
///
/// # Errors
///
/// The errors of [`evaluate`].
pub fn evaluate_images(
    classifier: &Classifier,
    images: &ImageFolder,
    name: &str,
    options: InferenceOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let order = Order {
        classes: images.classes.clone(),
        known: ClassOrder::Named,
    };
    let measured = measure(classifier, images.clone(), name, options, progress)?;
    measured.finish(classifier, &order)
}

/// The answers of a network.
struct Answered {
    scores: Scores,
    mistakes: Vec<Mistake>,
    /// All answers, if a file of them is wanted.
    answers: Option<AnswersFile>,
    /// The number of unreadable images of each label.
    skipped: BTreeMap<usize, usize>,
}

impl Answered {
    fn finish(self, classifier: &Classifier, order: &Order) -> Result<Evaluation> {
        let (names, scores) = (order.classes.names(), &self.scores);
        let evaluation = scores.evaluation(names, order.known, &self.skipped);
        self.answers.map_or(Ok(()), AnswersFile::finish)?;
        Ok(Evaluation {
            temperature: classifier.temperature(),
            mistakes: self.mistakes,
            ..evaluation
        })
    }
}

fn measure(
    classifier: &Classifier,
    images: ImageFolder,
    name: &str,
    options: InferenceOptions,
    progress: &dyn Progress,
) -> Result<Answered> {
    let names = images.classes.names();
    let create = |path: &PathBuf| AnswersFile::create(path, names);
    let mut all = options.answers.as_ref().map(create).transpose()?;
    let bad_images = BadImageLimit {
        share: options.bad_image_limit,
        classes: Some(images.classes),
        split: name.to_owned(),
        is_quiet: false,
    };
    let lists_mistakes = options.mistakes;
    let loader = options.loader(images.samples, classifier.metadata(), bad_images)?;
    progress.start("evaluate", Some(loader.len() as u64), Unit::Items);
    let progress = Started(progress);
    let classes = classifier.class_names().len();
    let mut scores = Scores::new(classes, loader.len());
    let mut mistakes = Vec::new();
    for answers in classifier.answers(&loader) {
        let answers = answers?;
        let rows = answers.probabilities()?;
        let Answers {
            logits,
            labels,
            ids,
        } = answers;
        scores.add(&labels, &rows)?;
        // One by one, so that the sum does not depend on the size of the batches.
        for (row, &label) in logits.to_vec2::<f32>()?.iter().zip(&labels) {
            scores.add_loss(cross_entropy(row, label));
        }
        if lists_mistakes {
            mistakes.extend(Mistake::among(&ids, &labels, &rows));
        }
        if let Some(all) = &mut all {
            for ((id, &label), row) in ids.iter().zip(&labels).zip(&rows) {
                all.write(id, label as usize, row)?;
            }
        }
        progress.0.advance(labels.len() as u64);
    }
    Ok(Answered {
        scores,
        mistakes,
        answers: all,
        skipped: loader.skipped_by_label(),
    })
}

/// The number of images of each class that a loader has left out; classes without such images are absent.
pub(crate) fn unreadable(loader: &Loader, class_names: &[String]) -> BTreeMap<String, usize> {
    let named = |(label, count): (usize, usize)| Some((class_names.get(label)?.clone(), count));
    let counts = loader.skipped_by_label().into_iter();
    counts.filter_map(named).collect()
}

/// Scores the images of some batches in evaluation mode. Also collects their logits, if `collected` is given. With
/// `by_features`, images are computed in the same way as cached features, so both give the same bits.
pub(crate) fn score(
    network: &dyn Model,
    batches: impl Iterator<Item = Result<Batch>>,
    by_features: bool,
    mut collected: Option<&mut Logits>,
) -> Result<ConfusionMatrix> {
    let classes = network.description().classes();
    let loss = Objective::cross_entropy(classes);
    let mut confusion = ConfusionMatrix::new(classes);
    for batch in batches {
        let Batch { inputs, labels, .. } = batch?;
        let logits = match &inputs {
            Inputs::Features(features) => network.infer_head(features)?,
            Inputs::Images(images) if by_features => {
                network.infer_head(&network.features(images)?)?
            }
            Inputs::Images(images) => network.infer(images)?,
        };
        let rows = finite_rows(&logits)?;
        let mean = loss.apply(&logits, &Targets::of(&labels, &vec![1.0; labels.len()]))?;
        let predicted: Vec<u32> = rows.iter().map(|row| largest(row) as u32).collect();
        confusion.add(&labels, &predicted)?;
        confusion.add_loss(mean.mean, mean.weight);
        if let Some(collected) = &mut collected {
            collected.add(&labels, &rows);
        }
    }
    Ok(confusion)
}

/// The class with the largest logit in each row; of equal logits, the first.
///
/// # Errors
/// [`NonFiniteAnswer`](classifier::Error::NonFiniteAnswer).
pub(crate) fn predicted_classes(logits: &Tensor) -> Result<Vec<u32>> {
    let rows = finite_rows(logits)?;
    Ok(rows.iter().map(|row| largest(row) as u32).collect())
}

/// The rows of logits, which must be finite.
fn finite_rows(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    let rows = logits.to_vec2::<f32>()?;
    check_answers(&rows, |row| format!("image {} of a batch", row + 1))?;
    Ok(rows)
}

fn largest(row: &[f32]) -> usize {
    mistakes::largest(row, None).map_or(0, |(class, _)| class)
}

/// Predicts images, such as those of [`Listing::images`]. Their labels do not matter. Predictions come in the images'
/// order, batch by batch, so memory grows with the list of images alone.
///
/// # Errors
///
/// If the options are invalid for these images. The iterator ends with an error if no image is readable, or if an image
/// is unreadable and the options do not allow leaving it out.
pub fn predict<'c>(
    classifier: &'c Classifier,
    images: impl Into<Arc<[Sample]>>,
    options: InferenceOptions,
    progress: &'c dyn Progress,
) -> Result<impl Iterator<Item = Result<Prediction>>> {
    let any = BadImageLimit::default();
    let loader = options.loader(images.into(), classifier.metadata(), any)?;
    progress.start("predict", Some(loader.len() as u64), Unit::Items);
    let progress = Started(progress);
    let answers = classifier.answers(&loader);
    Ok(answers.flat_map(move |answer| {
        let predictions = answer.and_then(of_batch);
        match predictions {
            Ok(predictions) => {
                progress.0.advance(predictions.len() as u64);
                predictions.into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(error.into())],
        }
    }))
}

/// Ends the progress report of a prediction when dropped.
struct Started<'a>(&'a dyn Progress);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn of_batch(answers: Answers) -> classifier::Result<Vec<Prediction>> {
    let rows = answers.probabilities()?;
    let predictions = answers
        .ids
        .into_iter()
        .zip(rows)
        .map(|(id, row)| Prediction {
            id,
            label: largest(&row),
            probabilities: row,
        });
    Ok(predictions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(largest(&[0.1, 0.5, 0.5]), 1);
        assert_eq!(largest(&[]), 0);
    }
}
