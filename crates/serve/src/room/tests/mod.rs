//! Tests of a model at work. A scripted network stops where a test wants it to, so no test waits for a time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancelled;
mod failing;
mod queue;
pub(crate) mod scripted;

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use classifier::Classifier;
use mnist_data::{Decoding, Image};

use super::{Answer, Decoders, Input, Model, Refused};
use crate::Settings;
use crate::metrics::Metrics;
use scripted::{SIDE, Scripted, gray, large};

/// Batches of at most eight images, which wait for ever for images on their way; one decoder.
fn settings() -> Settings {
    Settings {
        max_batch: number(8),
        max_wait: Duration::MAX,
        queue: number(16),
        decoders: number(1),
        ..Settings::default()
    }
}

fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// A model with its metrics and its network.
struct Lab {
    network: Arc<Scripted>,
    metrics: Metrics,
    decoders: Decoders,
    model: Model,
}

impl Lab {
    fn new(settings: &Settings) -> Self {
        let network = Scripted::new(1);
        let metrics = Metrics::new();
        let decoders = Decoders::new(settings.decoders.get());
        let classifier = network.classifier();
        let name = "digits".to_owned();
        let model = Model::start(name, classifier, settings, &metrics, &decoders).unwrap();
        Self {
            network,
            metrics,
            decoders,
            model,
        }
    }

    /// Whether the metrics have this line.
    fn counts(&self, line: &str) {
        let text = self.metrics.text();
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    fn counts_images(&self, what: &str, count: usize) {
        self.counts(&format!(
            "classify_images_{what}{{model=\"digits\"}} {count}"
        ));
    }

    /// The logits of one image.
    async fn logits(&self, file: Vec<u8>) -> Result<Answer, Refused> {
        let mut answers = self.model.logits(vec![image(file)]).await?;
        Ok(answers.swap_remove(0))
    }
}

fn image(file: Vec<u8>) -> Input {
    Input::Image(file.into())
}

/// The logits of a file, computed alone and without a server.
fn expected(classifier: &Classifier, file: &[u8]) -> Vec<f32> {
    let seen = classifier.fit(file).unwrap();
    classifier.logits_fitted(&[seen]).unwrap().swap_remove(0)
}

/// The future after one more poll.
async fn polled<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[tokio::test]
async fn images_and_tensors_of_a_request_share_a_batch_and_keep_their_bits() {
    let lab = Lab::new(&settings());
    let size = (3 * SIDE * SIDE) as usize;
    let values: Vec<f32> = (0..size).map(|index| (index as f32).sin()).collect();
    let files = [gray(7), large(3), gray(200)];
    let mut inputs: Vec<Input> = files.iter().cloned().map(image).collect();
    inputs.insert(1, Input::Tensor(values.clone()));
    let answers = lab.model.logits(inputs).await.unwrap();
    assert_eq!(lab.network.batches(), [3, 1]);
    let classifier = Scripted::new(1).classifier();
    let mut rows = files.map(|file| expected(&classifier, &file)).to_vec();
    rows.insert(
        1,
        classifier.logits_of_values(&values, 1).unwrap().remove(0),
    );
    for (answer, row) in answers.into_iter().zip(rows) {
        assert_eq!(answer.unwrap(), row);
    }
    lab.counts_images("answered_total", 4);
    lab.counts_images("queued", 0);
    lab.counts("classify_batch_images_sum{model=\"digits\"} 4.0");
    lab.counts("classify_decode_seconds_count{model=\"digits\"} 3");
    lab.counts("classify_network_seconds_count{model=\"digits\"} 1");
    assert!(lab.model.logits(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_problem_is_of_its_own_image() {
    let lab = Lab::new(&settings());
    let inputs = vec![
        image(b"no image".to_vec()),
        Input::Tensor(vec![0.0; 7]),
        image(gray(1)),
        image(Vec::new()),
    ];
    let answers = lab.model.logits(inputs).await.unwrap();
    let problem = |index: usize| answers[index].as_ref().unwrap_err().as_str();
    assert!(problem(0).contains("it is no JPEG"), "{}", problem(0));
    assert!(problem(1).contains("7 values; expected 3072"));
    assert!(answers[2].is_ok());
    assert!(problem(3).contains("empty"), "{}", problem(3));
    lab.counts("classify_images_refused_total{model=\"digits\",reason=\"image\"} 3");
    lab.counts_images("answered_total", 1);
}

#[tokio::test]
async fn a_small_file_of_a_huge_image_is_refused() {
    let limited = Settings {
        pixel_limit: 1 << 20,
        ..settings()
    };
    let lab = Lab::new(&limited);
    let bomb = b"P6 20000 20000 255\n".to_vec();
    let problem = lab.logits(bomb).await.unwrap().unwrap_err();
    let expected = "20000 × 20000 pixels are beyond the limit: decoding them takes more than 1 MiB";
    assert!(problem.contains(expected), "{problem}");
    // An image that is too large for decoding at once, and not for a decoder.
    let plain = Image::from_gray(600, 600, vec![9; 600 * 600]).unwrap();
    let file = plain.to_png().unwrap();
    assert!(file.len() < 4 << 10, "{}", file.len());
    assert!(lab.logits(file).await.unwrap().is_ok());
}

#[test]
fn the_settings_reach_the_decoder() {
    let fast = Settings {
        decode: Decoding::Fast,
        pixel_limit: 77 << 20,
        ..settings()
    };
    let options = Lab::new(&fast).model.classifier().decoding();
    assert_eq!(options.decoding, Decoding::Fast);
    assert_eq!(options.max_bytes, 77 << 20);
}

#[test]
fn the_version_is_of_the_weights() {
    let lab = Lab::new(&settings());
    let fingerprint = Scripted::new(1).classifier().fingerprint().unwrap();
    assert_eq!(lab.model.version(), &fingerprint[..8]);
    let other = Scripted::new(2).classifier().fingerprint().unwrap();
    assert_ne!(lab.model.version(), &other[..8]);
}

#[tokio::test]
async fn an_explanation_has_the_image_as_the_network_sees_it() {
    let lab = Lab::new(&settings());
    let file = large(5);
    let explained = lab.model.explain(file.clone().into(), Some(2)).await;
    let explained = explained.unwrap().unwrap();
    let classifier = Scripted::new(1).classifier();
    assert_eq!(explained.seen, classifier.fit(&file).unwrap());
    let expected = classifier.explain([&file], Some(2)).unwrap();
    assert_eq!(explained.explanation, expected[0]);
    let problem = lab.model.explain(b"no image"[..].into(), None).await;
    assert!(problem.unwrap().is_err());
    let refused = lab.model.explain(file.into(), Some(99)).await;
    assert!(matches!(refused, Err(Refused::Failed(_))));
    lab.counts_images("answered_total", 1);
    lab.counts_images("queued", 0);
}
