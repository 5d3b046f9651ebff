//! The two ways to use a trained network: measure it, and ask it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{D, Tensor};
use mnist_data::{
    BadImage, BadImageLimit, DecodeOptions, DiskCache, ImageFolder, Listing, Loader, LoaderOptions,
    Progress, Sample, TtaConfig, Unit,
};
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ClassOrder, Model};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Inputs};
use crate::class_order::Order;
use crate::config::BAD_IMAGE_LIMIT;
use crate::{Classifier, ConfusionMatrix, Error, Objective, Result, Targets};

/// How images are fed to a trained network.
#[derive(Clone, Debug, PartialEq)]
pub struct InferenceOptions {
    /// Images at a time.
    pub batch_size: usize,
    /// Decoding threads.
    pub workers: usize,
    /// What to do with a file that is no image.
    pub on_bad_image: BadImage,
    /// The share of labelled images that may be left out; see
    /// [`DataConfig::bad_image_limit`](crate::config::DataConfig::bad_image_limit). Of images without
    /// labels any number may.
    pub bad_image_limit: f64,
    /// How images are decoded; whether they are turned, the weights say.
    pub decode: DecodeOptions,
    /// The views of each image whose probabilities are averaged.
    pub tta: TtaConfig,
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
            disk_cache: None,
        }
    }
}

impl InferenceOptions {
    fn loader(
        self,
        samples: Vec<Sample>,
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

/// A network measured on labelled images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Images measured.
    pub images: u64,
    /// Images left out because they could not be read.
    pub skipped: usize,
    /// Share classified correctly.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Precision averaged over the classes that occur; see [`ConfusionMatrix::macro_scores`].
    pub macro_precision: f64,
    /// Recall averaged over them.
    pub macro_recall: f64,
    /// F1 averaged over them.
    pub macro_f1: f64,
    /// The classes that do not occur: no image is of them or was taken for one. The averages
    /// leave them out.
    #[serde(default)]
    pub classes_left_out: Vec<String>,
    /// How it is known, or what was assumed of, which output is which class.
    #[serde(default)]
    pub class_order: ClassOrder,
    /// Each class, in label order.
    pub classes: Vec<ClassReport>,
    /// Counts, a row per true class, a column per predicted one.
    pub confusion: Vec<Vec<u64>>,
}

/// One class of an [`Evaluation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Its images.
    pub support: u64,
    /// Those of its images that could not be read and were left out.
    #[serde(default)]
    pub skipped: usize,
    /// Share of the images predicted as the class that are of it.
    pub precision: f64,
    /// Share of its images that were predicted as it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// What the network says about one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The image's path relative to its input.
    pub id: String,
    /// The most probable class.
    pub label: usize,
    /// Probability of each class, in label order; they sum to 1.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// Probability of the most probable class.
    pub fn probability(&self) -> f32 {
        self.probabilities.get(self.label).copied().unwrap_or(0.0)
    }
}

/// Measures a classifier on a folder with one sub-folder per class, or on the images that a CSV
/// file with the columns `path` and `label` lists.
///
/// Weights that name no classes are assumed to have those of the images, sorted by name as text;
/// see [`Evaluation::class_order`].
///
/// # Errors
///
/// When a sub-folder is no class of the weights, nothing readable is there, more images than
/// `bad_image_limit` allows cannot be read, or not one of a class; [`Error::UnnamedClasses`] and
/// [`Error::ClassOrder`].
pub fn evaluate(
    classifier: &Classifier<'_>,
    data: &Path,
    options: InferenceOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let metadata = classifier.metadata();
    let order = Order::of(metadata, data)?;
    let folder = match data.is_file() {
        true => ImageFolder::from_csv(data, None, Some(&order.classes))?,
        false => Listing {
            on_bad_name: options.on_bad_image,
        }
        .with_classes(data, &order.classes)?,
    };
    let bad_images = BadImageLimit {
        share: options.bad_image_limit,
        classes: Some(order.classes.clone()),
        split: data.display().to_string(),
    };
    let loader = options.loader(folder.samples, metadata, bad_images)?;
    progress.start("evaluate", Some(loader.len() as u64), Unit::Items);
    let answers = classifier.answers(&loader).map(|answer| {
        let (logits, batch) = answer?;
        progress.advance(batch.labels.len() as u64);
        Ok((logits, batch.labels))
    });
    let confusion = count(classifier.classes(), answers);
    progress.finish();
    let confusion = confusion?;
    order.check(&confusion, data)?;
    Ok(report(&confusion, &order, &loader.skipped_by_label()))
}

/// How many images of each class a loader has left out; classes without any are not there.
pub(crate) fn unreadable(loader: &Loader, class_names: &[String]) -> BTreeMap<String, usize> {
    let named = |(label, count): (usize, usize)| Some((class_names.get(label)?.clone(), count));
    let counts = loader.skipped_by_label().into_iter();
    counts.filter_map(named).collect()
}

fn report(
    confusion: &ConfusionMatrix,
    order: &Order,
    skipped: &BTreeMap<usize, usize>,
) -> Evaluation {
    let averages = confusion.macro_scores();
    let scores = confusion.class_scores();
    let names = order.classes.names();
    let left_out = (0..names.len()).filter(|class| !confusion.occurs(*class));
    let classes = names.iter().zip(scores).enumerate();
    Evaluation {
        images: confusion.total(),
        skipped: skipped.values().sum(),
        accuracy: confusion.accuracy(),
        loss: confusion.mean_loss(),
        macro_precision: averages.precision,
        macro_recall: averages.recall,
        macro_f1: averages.f1,
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
            })
            .collect(),
        confusion: confusion.confusion(),
    }
}

/// Counts the images of some batches in evaluation mode; `by_features`, so that images and
/// their features give the same bits.
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

/// Counts answers: logits, and the labels they should have had.
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

/// The class with the largest logit of each row; the first of equals.
///
/// # Errors
/// [`Error::NonFiniteAnswer`].
pub(crate) fn predicted_classes(logits: &Tensor) -> Result<Vec<u32>> {
    let rows = logits.to_vec2::<f32>()?;
    check_answers(&rows, |row| format!("image {} of a batch", row + 1))?;
    Ok(rows.iter().map(|row| largest(row) as u32).collect())
}

/// Refuses logits that are no numbers: no class is the largest of them.
pub(crate) fn check_answers(rows: &[Vec<f32>], image: impl Fn(usize) -> String) -> Result<()> {
    for (index, row) in rows.iter().enumerate() {
        if let Some(&logit) = row.iter().find(|logit| !logit.is_finite()) {
            let image = image(index);
            return Err(Error::NonFiniteAnswer { image, logit });
        }
    }
    Ok(())
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

/// Asks a classifier about images, each named by an id; the answers come in the images' order,
/// batch by batch, so that memory does not grow with their number.
///
/// # Errors
///
/// When the options refuse the images. The iterator ends with an error when none of the images
/// can be read, or one of them cannot and the options say so.
pub fn predict<'c>(
    classifier: &'c Classifier<'_>,
    images: Vec<(String, PathBuf)>,
    options: InferenceOptions,
    progress: &'c dyn Progress,
) -> Result<impl Iterator<Item = Result<Prediction>>> {
    let samples = images
        .into_iter()
        .map(|(id, path)| Sample::new(id, path, 0))
        .collect();
    let any = BadImageLimit::default();
    let loader = options.loader(samples, classifier.metadata(), any)?;
    progress.start("predict", Some(loader.len() as u64), Unit::Items);
    let progress = Started(progress);
    let answers = classifier.answers(&loader);
    Ok(answers.flat_map(move |answer| {
        let predictions = answer.and_then(|(logits, batch)| of_batch(&logits, batch.ids));
        match predictions {
            Ok(predictions) => {
                progress.0.advance(predictions.len() as u64);
                predictions.into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(error)],
        }
    }))
}

/// Work that ends when this is dropped.
struct Started<'a>(&'a dyn Progress);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn of_batch(logits: &Tensor, ids: Vec<String>) -> Result<Vec<Prediction>> {
    let rows = candle_nn::ops::softmax(logits, D::Minus1)?.to_vec2::<f32>()?;
    let predictions = ids.into_iter().zip(rows).map(|(id, row)| Prediction {
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
