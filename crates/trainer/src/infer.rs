//! Evaluation and prediction with a trained network.

use std::collections::BTreeMap;
use std::path::Path;
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
use crate::mistakes::Mistake;
use crate::{
    ClassReport, ConfusionMatrix, Evaluation, Interval, Objective, Prediction, Result, Targets,
};

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
    order.check(&measured.confusion, data)?;
    Ok(report(measured, &order))
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
    Ok(report(measured, &order))
}

/// The counted answers of a network.
struct Measured {
    confusion: ConfusionMatrix,
    mistakes: Vec<Mistake>,
    /// The number of unreadable images of each label.
    skipped: BTreeMap<usize, usize>,
}

fn measure(
    classifier: &Classifier,
    images: ImageFolder,
    name: &str,
    options: InferenceOptions,
    progress: &dyn Progress,
) -> Result<Measured> {
    let bad_images = BadImageLimit {
        share: options.bad_image_limit,
        classes: Some(images.classes),
        split: name.to_owned(),
        is_quiet: false,
    };
    let lists_mistakes = options.mistakes;
    let loader = options.loader(images.samples, classifier.metadata(), bad_images)?;
    progress.start("evaluate", Some(loader.len() as u64), Unit::Items);
    let mut mistakes = Vec::new();
    let answers = classifier.answers(&loader).map(|answer| {
        let answers = answer?;
        if lists_mistakes {
            let rows = answers.probabilities()?;
            mistakes.extend(Mistake::among(&answers.ids, &answers.labels, &rows));
        }
        let Answers { logits, labels, .. } = answers;
        progress.advance(labels.len() as u64);
        Ok((logits, labels))
    });
    let confusion = count(classifier.class_names().len(), answers);
    progress.finish();
    Ok(Measured {
        confusion: confusion?,
        mistakes,
        skipped: loader.skipped_by_label(),
    })
}

/// The number of images of each class that a loader has left out; classes without such images are absent.
pub(crate) fn unreadable(loader: &Loader, class_names: &[String]) -> BTreeMap<String, usize> {
    let named = |(label, count): (usize, usize)| Some((class_names.get(label)?.clone(), count));
    let counts = loader.skipped_by_label().into_iter();
    counts.filter_map(named).collect()
}

fn report(measured: Measured, order: &Order) -> Evaluation {
    let Measured {
        confusion,
        mistakes,
        skipped,
    } = measured;
    let averages = confusion.macro_scores();
    let scores = confusion.class_scores();
    let names = order.classes.names();
    let left_out = (0..names.len()).filter(|class| !confusion.occurs(*class));
    let classes = names.iter().zip(scores).enumerate();
    Evaluation {
        images: confusion.total(),
        skipped: skipped.values().sum(),
        accuracy: confusion.accuracy(),
        accuracy_interval: Interval::default(),
        loss: confusion.mean_loss(),
        macro_precision: averages.precision,
        macro_recall: averages.recall,
        macro_f1: averages.f1,
        macro_f1_interval: Interval::default(),
        balanced_accuracy: None,
        cohen_kappa: None,
        top_k: Vec::new(),
        macro_roc_auc: None,
        macro_average_precision: None,
        calibration: None,
        temperature: None,
        classes_left_out: left_out.map(|class| names[class].clone()).collect(),
        class_order: order.known,
        classes: classes
            .map(|(label, (name, scores))| ClassReport {
                name: name.clone(),
                support: confusion.support(label),
                skipped: skipped.get(&label).copied().unwrap_or(0),
                precision: scores.precision,
                recall: scores.recall,
                f1: scores.f1,
                specificity: None,
                roc_auc: None,
                average_precision: None,
            })
            .collect(),
        confusion: confusion.confusion(),
        curves: Vec::new(),
        mistakes,
    }
}

/// Scores the images of some batches in evaluation mode. With `by_features`, images are computed in the same way as
/// cached features, so both give the same bits.
pub(crate) fn score(
    network: &dyn Model,
    batches: impl Iterator<Item = Result<Batch>>,
    by_features: bool,
) -> Result<ConfusionMatrix> {
    let answers = batches.map(|batch| {
        let batch = batch?;
        let logits = match &batch.inputs {
            Inputs::Features(features) => network.infer_head(features)?,
            Inputs::Images(images) if by_features => {
                network.infer_head(&network.features(images)?)?
            }
            Inputs::Images(images) => network.infer(images)?,
        };
        Ok((logits, batch.labels))
    });
    count(network.description().classes(), answers)
}

/// Counts the predictions of logits by true label.
fn count(
    classes: usize,
    answers: impl Iterator<Item = Result<(Tensor, Vec<u32>)>>,
) -> Result<ConfusionMatrix> {
    let loss = Objective::cross_entropy(classes);
    let mut confusion = ConfusionMatrix::new(classes);
    for answer in answers {
        let (logits, labels) = answer?;
        let weights = vec![1.0; labels.len()];
        let mean = loss.apply(&logits, &Targets::of(&labels, &weights))?;
        confusion.add(&labels, &predicted_classes(&logits)?)?;
        confusion.add_loss(mean.mean, mean.weight);
    }
    Ok(confusion)
}

/// The class with the largest logit in each row; of equal logits, the first.
///
/// # Errors
/// [`NonFiniteAnswer`](classifier::Error::NonFiniteAnswer).
pub(crate) fn predicted_classes(logits: &Tensor) -> Result<Vec<u32>> {
    let rows = logits.to_vec2::<f32>()?;
    check_answers(&rows, |row| format!("image {} of a batch", row + 1))?;
    Ok(rows.iter().map(|row| largest(row) as u32).collect())
}

fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
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
