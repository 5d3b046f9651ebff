//! A model at work: its queue, its decoding, and the thread that runs its network.
//!
//! A request is a future, and its images take these steps:
//! 1. [`places`]: a place in the model's bounded queue, for all images of a request or none. An image counts until its
//!    answer is taken or its request is dropped. A full queue refuses at once, with an estimate of the time until there is
//!    room.
//! 2. [`decoders`]: decoding. Small images are decoded on the connection's thread. All others, and explanations, run on
//!    tokio's threads for blocking work, at most `Settings::decoders` at once for all models. Each takes at most
//!    `Settings::pixel_limit` bytes of memory, so the memory of decoding is bounded.
//! 3. [`network`]: a batch, on one thread for each model. [`policy`] decides when it is sent. A single client never waits,
//!    and up to `Settings::max_batch` clients find a common batch.
//! 4. [`compute`]: a forward pass for the images of a batch and one for its tensors. If a pass fails or panics, its inputs
//!    are computed one by one, so that one image cannot spoil the answers of others.
//!
//! If the future is dropped, its images leave the step in which they are. A request holds its model. So the thread ends
//! after the last request, and a reload only swaps the list of models.

mod compute;
mod decoders;
mod network;
mod places;
mod policy;
#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use classifier::{Classifier, DecodeOptions, Explanation, Image};
use futures_util::future::try_join_all;

use crate::metrics::{Metrics, ModelMetrics};
use crate::{Error, Settings};
pub(crate) use decoders::Decoders;
use network::{Coming, Network, Prepared};
use places::{Place, Places};
use policy::Policy;

/// An image as a request gives it.
pub(crate) enum Input {
    /// The contents of an image file.
    Image(Bytes),
    /// Normalised values `[3, height, width]`, as the exported ONNX network takes them.
    Tensor(Vec<f32>),
}

/// The logits of an image, or the problem with it.
pub(crate) type Answer = Result<Vec<f32>, String>;

/// The reasons why a model gives no answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The queue is full.
    #[error("the queue is full; try again")]
    Full {
        /// A time after which there may be room again.
        retry_after: Duration,
    },
    /// The queue never has room for this request. The request is wrong.
    #[error("a request of {images} images; this server accepts at most {most} at once")]
    TooMany {
        /// The images of the request.
        images: usize,
        /// The places of the queue.
        most: usize,
    },
    /// The model's thread has ended.
    #[error("the server ends")]
    Closed,
    /// The network failed. Some of these errors are the client's ([`classifier::Error::is_usage`]).
    #[error(transparent)]
    Failed(classifier::Error),
    /// The program panicked on this image. It is a fault of the program; the server goes on.
    #[error("the server failed on this image: {0}")]
    Panicked(String),
}

impl Refused {
    /// What a caught panic says.
    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a text");
        tracing::error!("a panic while answering: {text}");
        Self::Panicked(text.to_owned())
    }
}

/// An explained image.
pub(crate) struct Explained {
    pub(crate) explanation: Explanation,
    /// The image as the network sees it.
    pub(crate) seen: Image,
}

/// A classifier with its queue and its thread. The thread ends when the model is dropped.
pub(crate) struct Model {
    name: String,
    version: OnceLock<String>,
    classifier: Arc<Classifier>,
    /// The same classifier, with little memory for an image.
    at_once: Classifier,
    places: Places,
    decoders: Decoders,
    network: Arc<Network>,
    metrics: ModelMetrics,
}

impl Model {
    pub(crate) fn start(
        name: String,
        classifier: Classifier,
        settings: &Settings,
        metrics: &Metrics,
        decoders: &Decoders,
    ) -> Result<Self, Error> {
        let options = DecodeOptions {
            decoding: settings.decode,
            max_bytes: settings.pixel_limit,
            ..classifier.decoding()
        };
        let classifier = Arc::new(classifier.with_decoding(options));
        let metrics = metrics.model(&name);
        let policy = Policy {
            max_batch: settings.max_batch.get(),
            max_wait: settings.max_wait,
        };
        let network = Network::start(&name, Arc::clone(&classifier), policy, metrics.clone())?;
        Ok(Self {
            name,
            version: OnceLock::new(),
            at_once: decoders::at_once(&classifier),
            classifier,
            places: Places::new(settings.queue.get(), metrics.clone()),
            decoders: decoders.clone(),
            network,
            metrics,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The version of the weights: the first eight digits of their fingerprint. So servers with the same weights name the
    /// same version, and a reload of changed weights changes it. The first call computes it.
    pub(crate) fn version(&self) -> &str {
        self.version
            .get_or_init(|| match self.classifier.fingerprint() {
                Ok(mut fingerprint) => {
                    fingerprint.truncate(8);
                    fingerprint
                }
                Err(error) => {
                    tracing::warn!("{}: its weights have no checksum: {error}", self.name);
                    "unknown".to_owned()
                }
            })
    }

    pub(crate) fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The logits of each image. The images are accepted all or none. If the future is dropped, images that are not yet
    /// decoded or computed never are.
    pub(crate) async fn logits(&self, inputs: Vec<Input>) -> Result<Vec<Answer>, Refused> {
        let places = self.accept(inputs.len())?;
        // All images are on their way before the first is ready, so that they share a batch.
        let coming: Vec<Coming> = places.iter().map(|_| self.network.coming()).collect();
        let is_small = decoders::are_small(&inputs);
        let images = inputs.into_iter().zip(places).zip(coming);
        let answers =
            images.map(|((input, place), coming)| self.answer(input, place, coming, is_small));
        try_join_all(answers).await
    }

    /// Explains an image by the places that speak for this class, or for its predicted class.
    pub(crate) async fn explain(
        &self,
        image: Bytes,
        class: Option<usize>,
    ) -> Result<Result<Explained, String>, Refused> {
        let mut places = self.accept(1)?;
        let place = places.pop().ok_or(Refused::Closed)?;
        let classifier = Arc::clone(&self.classifier);
        let explain = move || -> classifier::Result<Result<Explained, String>> {
            let seen = match fitted(&classifier, &image)? {
                Ok(seen) => seen,
                Err(problem) => return Ok(Err(problem)),
            };
            let classes = class.map(|class| vec![class]);
            let images = std::slice::from_ref(&seen);
            let mut found = classifier.explain_fitted(images, classes.as_deref())?;
            let explanation = found.swap_remove(0);
            Ok(Ok(Explained { explanation, seen }))
        };
        let explained = self.decoders.run(explain).await;
        place.settled(explained.and_then(|explained| explained.map_err(Refused::Failed)))
    }

    /// Takes a place for each image.
    fn accept(&self, images: usize) -> Result<Vec<Place<'_>>, Refused> {
        self.places
            .take(images, |missing| self.network.time_until_room(missing))
    }

    async fn answer(
        &self,
        input: Input,
        place: Place<'_>,
        coming: Coming<'_>,
        is_small: bool,
    ) -> Result<Answer, Refused> {
        let prepared = match input {
            Input::Image(bytes) => self.decoded(bytes, is_small).await,
            Input::Tensor(values) => Ok(self.checked(values)),
        };
        let answer = match prepared {
            Ok(Ok(prepared)) => coming.logits(prepared).await.map(Ok),
            Ok(Err(problem)) => Ok(Err(problem)),
            Err(refused) => Err(refused),
        };
        place.settled(answer)
    }

    /// An image as the network sees it, or the problem with it.
    async fn decoded(
        &self,
        bytes: Bytes,
        is_small: bool,
    ) -> Result<Result<Prepared, String>, Refused> {
        let begin = Instant::now();
        if is_small && let Some(image) = decoders::try_now(&self.at_once, &bytes) {
            self.metrics.decode.observe(begin.elapsed().as_secs_f64());
            return Ok(Ok(Prepared::Image(image)));
        }
        // The decoders have the last word on a bad image.
        let classifier = Arc::clone(&self.classifier);
        let decode = move || {
            let begin = Instant::now();
            (fitted(&classifier, &bytes), begin.elapsed())
        };
        let (decoded, time) = self.decoders.run(decode).await?;
        self.metrics.decode.observe(time.as_secs_f64());
        Ok(decoded.map_err(Refused::Failed)?.map(Prepared::Image))
    }

    /// Normalised values of the right number, or the problem with them.
    fn checked(&self, values: Vec<f32>) -> Result<Prepared, String> {
        let [height, width] = self.classifier.metadata().image_size.sides();
        let expected = 3 * height as usize * width as usize;
        match values.len() == expected {
            true => Ok(Prepared::Values(values)),
            false => Err(format!(
                "{} values; expected {expected} for the shape [3, {height}, {width}]",
                values.len()
            )),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.network.end();
    }
}

/// An image as the network sees it, or the problem with it.
fn fitted(classifier: &Classifier, bytes: &[u8]) -> classifier::Result<Result<Image, String>> {
    match classifier.fit(bytes) {
        Ok(image) => Ok(Ok(image)),
        Err(classifier::Error::Image { problem, .. }) => Ok(Err(problem)),
        Err(error) => Err(error),
    }
}
