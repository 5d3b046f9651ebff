//! The classifier: one or more trained networks with their metadata.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use mnist_data::{DecodeOptions, HostBatch, Image, Loader, Orientation, TtaConfig};
use mobilenet::weights::{self, Overrides, WeightsMetadata};
use mobilenet::{ByteTable, GradCam, Images, Model};
use rayon::prelude::*;

use crate::answers::{Answers, check_answers, mean, probabilities, ranked};
use crate::error::image_name;
use crate::{Error, Input, Result};

/// Number of images that are decoded and classified at a time.
const BATCH: usize = 64;

/// Each class with its probability, the most probable first. Ties keep the order of the classes.
pub type Ranked<'c> = Vec<(&'c str, f32)>;

/// Classifies images with one trained network, or with an ensemble that averages the probabilities of several.
///
/// A clone shares the networks. Any number of threads may use one classifier at once. On a CPU, an image's result
/// depends neither on the other threads nor on the other images of its batch. Images are decoded in parallel by rayon,
/// in the caller's thread pool or else in the global one.
#[derive(Clone)]
pub struct Classifier {
    pub(crate) members: Vec<Member>,
    pub(crate) views: TtaConfig,
    decode: DecodeOptions,
}

#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) network: Arc<dyn Model>,
    pub(crate) metadata: Arc<WeightsMetadata>,
    table: Arc<ByteTable>,
    /// The number that divides the logits.
    pub(crate) temperature: Option<f64>,
    /// Assumptions about metadata that the weights file lacks.
    assumed: Vec<String>,
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let models = self.members.iter().map(|member| &member.metadata.model);
        f.debug_struct("Classifier")
            .field("models", &models.collect::<Vec<_>>())
            .field("class_names", &self.class_names())
            .field("views", &self.views)
            .field("decode", &self.decode)
            .finish()
    }
}

impl Classifier {
    /// Loads a weights file on the CPU. The file may have any origin that [`weights::load_model`]
    /// supports.
    ///
    /// A file that `classify` wrote contains the class names and the preprocessing of images. Other
    /// files may lack some of these. [`Classifier::assumed`] lists the values assumed instead, and
    /// [`Classifier::open_on`] overrides them.
    ///
    /// # Errors
    /// [`Error::Network`], as [`weights::load_model`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(path, Overrides::default(), &Device::Cpu)
    }

    /// [`Classifier::open`] on any device, with overrides for metadata that the file lacks.
    ///
    /// # Errors
    /// Those of [`Classifier::open`], and an error if the overrides do not fit the file.
    pub fn open_on(path: impl AsRef<Path>, overrides: Overrides, device: &Device) -> Result<Self> {
        let loaded = weights::load_model(path.as_ref(), overrides, device)?;
        let mut classifier = Self::new(Arc::from(loaded.network), loaded.metadata)?;
        classifier.members[0].assumed = loaded.report.assumed;
        Ok(classifier)
    }

    /// A classifier from a network in memory and its metadata.
    ///
    /// # Errors
    /// [`Error::ClassNames`] if the numbers of names and outputs differ; [`Error::Network`] for
    /// invalid metadata.
    pub fn new(network: Arc<dyn Model>, metadata: WeightsMetadata) -> Result<Self> {
        metadata.check()?;
        let (names, outputs) = (metadata.class_names.len(), network.description().classes());
        if names != outputs {
            return Err(Error::ClassNames { names, outputs });
        }
        let member = Member {
            table: Arc::new(metadata.normalisation.table()),
            network,
            metadata: Arc::new(metadata),
            temperature: None,
            assumed: Vec::new(),
        };
        Ok(Self {
            members: vec![member],
            views: TtaConfig::None,
            decode: DecodeOptions::default(),
        })
    }

    /// Joins the networks of both classifiers to an ensemble.
    ///
    /// # Errors
    /// [`Error::Ensemble`] if classes, image size, framing or orientation differ.
    pub fn with(mut self, other: Classifier) -> Result<Self> {
        let (ours, theirs) = (self.metadata(), other.metadata());
        let differs = |what: String| Err(Error::Ensemble(what));
        if ours.class_order != theirs.class_order {
            return differs("one of them has class names, and another has none".to_owned());
        }
        if ours.class_names != theirs.class_names {
            return differs(format!(
                "their classes differ: {:?} and {:?}",
                ours.class_names, theirs.class_names
            ));
        }
        let seen = |of: &WeightsMetadata| {
            let turned = match of.orientation {
                Orientation::Ignore => "as they are in the file",
                Orientation::Apply => "turned upright",
            };
            format!("{} pixels, {}, {turned}", of.image_size, of.framing)
        };
        let (ours, theirs) = (seen(ours), seen(theirs));
        if ours != theirs {
            return differs(format!("their images differ: {ours}; and {theirs}"));
        }
        self.members.extend(other.members);
        Ok(self)
    }

    /// The same classifier, with probabilities averaged over these views of each image. For images from a loader, the
    /// loader's views are used instead.
    #[must_use]
    pub fn with_views(self, views: TtaConfig) -> Self {
        Self { views, ..self }
    }

    /// The same classifier with other options for decoding bytes. The orientation always comes from the weights. Images
    /// from a loader are decoded with the loader's options.
    #[must_use]
    pub fn with_decoding(self, decode: DecodeOptions) -> Self {
        Self { decode, ..self }
    }

    /// The options for decoding bytes; the orientation comes from the weights.
    #[must_use]
    pub fn decoding(&self) -> DecodeOptions {
        self.decode
    }

    /// The same classifier with calibrated probabilities: each network's logits are divided by the temperature in its
    /// weights, which training has fitted on its validation images (Guo et al., 2017). The largest probability does not
    /// change its place for a single network and a single view.
    ///
    /// The logits of each network and view are divided before the probabilities are averaged. So an ensemble averages
    /// calibrated probabilities. The average itself is usually less sure than its members.
    ///
    /// # Errors
    /// [`Error::NoTemperature`] if the weights of a network have no temperature.
    pub fn calibrated(mut self) -> Result<Self> {
        for member in &mut self.members {
            let temperature = member.metadata.temperature;
            member.temperature = Some(temperature.ok_or(Error::NoTemperature)?);
        }
        Ok(self)
    }

    /// The same classifier, with the logits of all its networks divided by this temperature; 1 changes nothing.
    ///
    /// # Errors
    /// [`Error::Temperature`] unless it is a finite number above 0.
    pub fn with_temperature(mut self, temperature: f64) -> Result<Self> {
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(Error::Temperature(temperature));
        }
        for member in &mut self.members {
            member.temperature = Some(temperature);
        }
        Ok(self)
    }

    /// The temperature that divides the logits. `None` without one, and for networks with different temperatures.
    pub fn temperature(&self) -> Option<f64> {
        let first = self.members[0].temperature;
        let is_same = |member: &Member| member.temperature == first;
        first.filter(|_| self.members.iter().all(is_same))
    }

    /// The metadata of the first network's weights. Classes, image size, framing and orientation are the same for all
    /// networks.
    pub fn metadata(&self) -> &WeightsMetadata {
        &self.members[0].metadata
    }

    /// The class names in the order of the outputs. If the weights have no class names, these are output numbers; see
    /// [`class_order`](WeightsMetadata::class_order) of the metadata.
    pub fn class_names(&self) -> &[String] {
        &self.metadata().class_names
    }

    /// The assumptions about metadata that the weights files lack, such as the image size.
    pub fn assumed(&self) -> impl Iterator<Item = &str> {
        let members = self.members.iter();
        members.flat_map(|member| member.assumed.iter().map(String::as_str))
    }

    /// Classifies one image, given as encoded bytes or as an [`Image`]. Returns its classes with their probabilities.
    ///
    /// # Errors
    /// [`Error::Image`] for bytes that are empty, truncated, damaged or of an unknown format, and for images of
    /// more than 32,768 pixels a side or 512 MiB; [`Error::NonFiniteAnswer`] if a logit is not finite.
    pub fn classify<'i>(&self, image: impl Into<Input<'i>>) -> Result<Ranked<'_>> {
        let mut answers = self.classify_all([image])?;
        Ok(answers.swap_remove(0))
    }

    /// Classifies images. Returns the classes of each image, in the order of the images.
    ///
    /// # Errors
    /// As [`Classifier::classify`], for the first image that fails. The error contains its index.
    pub fn classify_all<'i, I>(&self, images: I) -> Result<Vec<Ranked<'_>>>
    where
        I: IntoIterator<Item: Into<Input<'i>>>,
    {
        let rows = self.probabilities(images)?;
        Ok(rows.into_iter().map(|row| self.ranked(&row)).collect())
    }

    /// Classifies the images of an RGB batch `[n, height, width, 3]`, of any size. Returns the classes of each image.
    ///
    /// # Errors
    /// [`Error::Pixels`] if the number of bytes does not match the shape; [`Error::NonFiniteAnswer`].
    pub fn classify_pixels(&self, pixels: &[u8], shape: [usize; 4]) -> Result<Vec<Ranked<'_>>> {
        let wrong = || Error::Pixels {
            found: pixels.len(),
            shape,
        };
        let sides = [shape[2], shape[1]].map(|side| u32::try_from(side).ok());
        let bytes = shape
            .iter()
            .try_fold(1_usize, |n, side| n.checked_mul(*side));
        let ([Some(width), Some(height)], 3) = (sides, shape[3]) else {
            return Err(wrong());
        };
        if bytes != Some(pixels.len()) || width == 0 || height == 0 {
            return Err(wrong());
        }
        let each = pixels.chunks_exact(shape[1] * shape[2] * 3);
        let images = each.map(|pixels| Image::from_rgb(width, height, pixels.to_vec()));
        self.classify_all(&images.collect::<mnist_data::Result<Vec<_>>>()?)
    }

    /// The probabilities of each image, `[n][classes]` in the order of the outputs.
    ///
    /// # Errors
    /// As [`Classifier::classify_all`].
    pub fn probabilities<'i, I>(&self, images: I) -> Result<Vec<Vec<f32>>>
    where
        I: IntoIterator<Item: Into<Input<'i>>>,
    {
        let images: Vec<Input<'i>> = images.into_iter().map(Into::into).collect();
        let mut rows = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH) {
            let decoded = self.decoded(batch, rows.len(), images.len())?;
            let name = |row: usize| image_name(rows.len() + row, images.len());
            let logits = self.logits_of_views(&decoded, name)?;
            rows.extend(probabilities(&logits)?);
        }
        Ok(rows)
    }

    /// Classifies the images of a loader. Returns each batch with its logits.
    ///
    /// # Errors
    /// The iterator yields the loader's errors as [`Error::Data`], and [`Error::NonFiniteAnswer`]
    /// with the image's id.
    pub fn answers<'c>(
        &'c self,
        loader: &Loader,
    ) -> impl Iterator<Item = Result<Answers>> + use<'c> {
        let views = loader.options().tta.views().len();
        let mut batches = loader.epoch(0);
        std::iter::from_fn(move || {
            let answer = |first: HostBatch, others: &mut dyn Iterator<Item = _>| {
                let HostBatch { labels, ids, .. } = &first;
                let (labels, ids) = (labels.clone(), ids.clone());
                let views = std::iter::once(Ok(first)).chain(others);
                let views = views.map(|batch: mnist_data::Result<_>| self.moved(batch?));
                let logits = self.logits(views, |row| ids[row].clone())?;
                Ok(Answers {
                    logits,
                    labels,
                    ids,
                })
            };
            let first = batches.next()?;
            Some(match first {
                Ok(first) => answer(first, &mut batches.by_ref().take(views - 1)),
                Err(error) => Err(error.into()),
            })
        })
    }

    /// An image as the networks see it: decoded, and fitted to their size. It is decoded on the calling thread.
    ///
    /// # Errors
    /// [`Error::Image`] if the image cannot be decoded.
    pub fn fit<'i>(&self, image: impl Into<Input<'i>>) -> Result<Image> {
        let fitted = image.into().prepared(self.metadata(), self.decode);
        fitted.map_err(|problem| Error::Image {
            index: 0,
            count: 1,
            problem,
        })
    }

    /// Images as the networks see them: decoded by rayon's threads, and fitted to their size.
    ///
    /// # Errors
    /// [`Error::Image`] for the first image that cannot be decoded.
    pub fn fitted(&self, images: &[Input<'_>]) -> Result<Vec<Image>> {
        self.decoded(images, 0, images.len())
    }

    /// Grad-CAM maps of images of the network's size.
    pub(crate) fn grad_cam(&self, images: &[Image], classes: Option<&[usize]>) -> Result<GradCam> {
        let [member] = &self.members[..] else {
            return Err(Error::ExplainEnsemble);
        };
        let pixels = self.tensor(images.iter().cloned())?;
        let images = Images::bytes(&pixels, Arc::clone(&member.table))?;
        Ok(member.network.grad_cam(&images, classes)?)
    }

    /// The images at the networks' size. For errors, `first` is the index of the first image among all `count` images.
    fn decoded(&self, images: &[Input<'_>], first: usize, count: usize) -> Result<Vec<Image>> {
        let decoded: Vec<_> = images
            .par_iter()
            .map(|image| image.prepared(self.metadata(), self.decode))
            .collect();
        let decoded = decoded.into_iter().enumerate();
        decoded
            .map(|(row, image)| {
                image.map_err(|problem| Error::Image {
                    index: first + row,
                    count,
                    problem,
                })
            })
            .collect()
    }

    /// Finite logits `[n, classes]` of images of the networks' size, averaged over this classifier's views.
    pub(crate) fn logits_of_views(
        &self,
        images: &[Image],
        name: impl Fn(usize) -> String,
    ) -> Result<Tensor> {
        let views = self.views.views().iter();
        let views = views.map(|view| self.tensor(images.iter().map(|image| view.of(image))));
        self.logits(views, name)
    }

    /// Images of the networks' size as u8 `[n, height, width, 3]` on the first one's device.
    fn tensor(&self, images: impl ExactSizeIterator<Item = Image>) -> Result<Tensor> {
        let count = images.len();
        let sides = self.metadata().image_size.sides();
        let [height, width] = sides.map(|side| side as usize);
        let mut pixels = Vec::with_capacity(count * height * width * 3);
        images.for_each(|image| pixels.extend(image.to_rgb()));
        Ok(Tensor::from_vec(
            pixels,
            (count, height, width, 3),
            self.members[0].network.device(),
        )?)
    }

    /// A loader's batch as a u8 tensor `[n, height, width, 3]` on the first network's device.
    fn moved(&self, batch: HostBatch) -> Result<Tensor> {
        let shape = (batch.count, batch.height, batch.width, 3);
        let device = self.members[0].network.device();
        Ok(Tensor::from_vec(batch.pixels, shape, device)?)
    }

    /// Finite logits `[n, classes]` of images, averaged over the views. `name` gives an image's name in messages.
    fn logits(
        &self,
        views: impl Iterator<Item = Result<Tensor>>,
        name: impl Fn(usize) -> String,
    ) -> Result<Tensor> {
        let mut logits = Vec::new();
        for pixels in views {
            let pixels = pixels?;
            for member in &self.members {
                logits.push(member.logits(&pixels)?);
            }
        }
        let logits = mean(logits)?;
        check_answers(&logits.to_vec2()?, name)?;
        Ok(logits)
    }

    fn ranked(&self, row: &[f32]) -> Ranked<'_> {
        let names = self.class_names();
        let order = ranked(row).into_iter();
        order.map(|class| (&*names[class], row[class])).collect()
    }
}

impl Member {
    /// The logits of the network, which normalises the bytes with its own table.
    fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        let pixels = pixels.to_device(self.network.device())?;
        self.calibrated_logits(&Images::bytes(&pixels, Arc::clone(&self.table))?)
    }

    /// The logits of the network, divided by the temperature if there is one.
    pub(crate) fn calibrated_logits(&self, images: &Images) -> Result<Tensor> {
        let logits = self.network.infer(images)?;
        Ok(match self.temperature {
            Some(temperature) => (logits / temperature)?,
            None => logits,
        })
    }
}
