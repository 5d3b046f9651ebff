//! Counters of a server, in the text format of Prometheus (OpenMetrics).

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Labels of a series: names and values.
type Labels<const N: usize> = [(&'static str, String); N];

type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The counters. Each is updated where the counted thing happens.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    request_seconds: Histograms<1>,
    answered: Family<Labels<1>, Counter>,
    cancelled: Family<Labels<1>, Counter>,
    refused: Family<Labels<2>, Counter>,
    queued: Family<Labels<1>, Gauge>,
    batch: Histograms<1>,
    queue: Histograms<1>,
    decode: Histograms<1>,
    network: Histograms<1>,
}

/// The reason why an image was refused, in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The queue was full, or smaller than the request.
    Full,
    /// The image cannot be decoded, or a tensor has the wrong length.
    Image,
    /// The network or a decoder failed.
    Failed,
}

/// The counters of one model.
#[derive(Clone)]
pub(crate) struct ModelMetrics {
    /// Images that were answered with logits or an explanation.
    pub(crate) answered: Counter,
    /// Images whose request ended before their answer.
    pub(crate) cancelled: Counter,
    full: Counter,
    image: Counter,
    failed: Counter,
    /// Images that were accepted and not yet answered.
    pub(crate) queued: Gauge,
    /// Images of a batch.
    pub(crate) batch: Histogram,
    /// Seconds from an image being decoded to its batch.
    pub(crate) queue: Histogram,
    /// Seconds of decoding an image.
    pub(crate) decode: Histogram,
    /// Seconds of the forward pass of a batch.
    pub(crate) network: Histogram,
}

impl ModelMetrics {
    /// The counter of images that were refused for this reason.
    pub(crate) fn refused(&self, reason: Reason) -> &Counter {
        match reason {
            Reason::Full => &self.full,
            Reason::Image => &self.image,
            Reason::Failed => &self.failed,
        }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("classify");
        let new = Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            answered: Family::default(),
            cancelled: Family::default(),
            refused: Family::default(),
            queued: Family::default(),
            batch: Family::new_with_constructor(images),
            queue: Family::new_with_constructor(seconds),
            decode: Family::new_with_constructor(seconds),
            network: Family::new_with_constructor(seconds),
            registry: Registry::default(),
        };
        let requests = "Requests by path and status";
        registry.register("requests", requests, new.requests.clone());
        let times = "Seconds from a request's head to its answer, by path";
        registry.register("request_seconds", times, new.request_seconds.clone());
        let answered = "Images that were answered";
        registry.register("images_answered", answered, new.answered.clone());
        let cancelled = "Images whose request ended before their answer";
        registry.register("images_cancelled", cancelled, new.cancelled.clone());
        let refused = "Images that were refused, by reason";
        registry.register("images_refused", refused, new.refused.clone());
        let queued = "Images that were accepted and not yet answered";
        registry.register("images_queued", queued, new.queued.clone());
        registry.register("batch_images", "Images of a batch", new.batch.clone());
        let queue = "Seconds from an image being decoded to the begin of its batch";
        registry.register("queue_seconds", queue, new.queue.clone());
        let decode = "Seconds of decoding an image";
        registry.register("decode_seconds", decode, new.decode.clone());
        let network = "Seconds of the forward pass of a batch";
        registry.register("network_seconds", network, new.network.clone());
        Self { registry, ..new }
    }

    /// Counts a request. `path` is the route's pattern, such as `/v2/models/{model}/infer`, so that clients cannot make
    /// series of their own.
    pub(crate) fn request(&self, path: &str, status: u16, seconds: f64) {
        let path = ("path", path.to_owned());
        let labels = [path.clone(), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&[path]).observe(seconds);
    }

    /// The counters of the model of this name. A reloaded model goes on with the counters of the old one.
    pub(crate) fn model(&self, name: &str) -> ModelMetrics {
        let label = [("model", name.to_owned())];
        let refused = |reason: &str| {
            let [model] = label.clone();
            let labels = [model, ("reason", reason.to_owned())];
            self.refused.get_or_create_owned(&labels)
        };
        ModelMetrics {
            answered: self.answered.get_or_create_owned(&label),
            cancelled: self.cancelled.get_or_create_owned(&label),
            full: refused("full"),
            image: refused("image"),
            failed: refused("failed"),
            queued: self.queued.get_or_create_owned(&label),
            batch: self.batch.get_or_create_owned(&label),
            queue: self.queue.get_or_create_owned(&label),
            decode: self.decode.get_or_create_owned(&label),
            network: self.network.get_or_create_owned(&label),
        }
    }

    /// The counters as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A histogram from 50 µs to 26 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 20))
}

/// A histogram from 1 to 256 images.
fn images() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_their_labels() {
        let metrics = Metrics::new();
        metrics.request("/v1/predict", 200, 0.25);
        metrics.request("/v1/predict", 503, 0.5);
        let digits = metrics.model("digits");
        digits.answered.inc();
        metrics.model("digits").answered.inc();
        digits.refused(Reason::Full).inc_by(3);
        digits.queued.inc_by(2);
        digits.batch.observe(32.0);
        let text = metrics.text();
        for line in [
            "classify_requests_total{path=\"/v1/predict\",status=\"503\"} 1",
            "classify_request_seconds_sum{path=\"/v1/predict\"} 0.75",
            "classify_images_answered_total{model=\"digits\"} 2",
            "classify_images_refused_total{model=\"digits\",reason=\"full\"} 3",
            "classify_images_queued{model=\"digits\"} 2",
            "classify_batch_images_bucket{le=\"32.0\",model=\"digits\"} 1",
            "classify_batch_images_bucket{le=\"16.0\",model=\"digits\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
