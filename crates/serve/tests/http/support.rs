//! A server with a small untrained network, and requests to it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use classifier::{Classifier, Device, WeightsMetadata};
use http_body_util::BodyExt;
use mobilenet::{ImageSize, ModelConfig, Network, Variant};
use serde_json::Value;
use serve::{Server, Settings};
use tower::ServiceExt;

/// Height and width of the network's images.
pub(crate) const SIDES: [usize; 2] = [32, 32];

static CLASSIFIER: LazyLock<Classifier> = LazyLock::new(|| {
    let names = ["zero", "one", "two", "three", "four", "five", "six"];
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, names.len())
    };
    let network = Network::new(&config, 0, &Device::Cpu).unwrap();
    let metadata = WeightsMetadata::new(
        config.into(),
        names.map(str::to_owned).to_vec(),
        ImageSize::square(32),
    );
    let classifier = Classifier::new(Arc::new(network), metadata).unwrap();
    // Untrained, the logits are nearly equal. Divided by this number, they are as far apart as trained ones.
    classifier.with_temperature(3e-9).unwrap()
});

pub(crate) fn classifier() -> &'static Classifier {
    &CLASSIFIER
}

/// The classes of an image with their probabilities, the most probable first.
pub(crate) fn classified(image: &[u8]) -> Vec<(&'static str, f32)> {
    classifier().classify(image).unwrap()
}

/// The logits of an image.
pub(crate) fn logits(image: &[u8]) -> Vec<f32> {
    let fitted = classifier().fitted(&[image.into()]).unwrap();
    classifier().logits_fitted(&fitted).unwrap().swap_remove(0)
}

/// Two models, `digits` and `again`, with these settings.
pub(crate) fn server_with(settings: Settings) -> Server {
    let models = ["digits", "again"].map(|name| (name.to_owned(), classifier().clone()));
    Server::new(models.into(), settings).unwrap()
}

pub(crate) fn server() -> Server {
    server_with(Settings::default())
}

/// A golden image of the decoders.
pub(crate) fn image(name: &str) -> Vec<u8> {
    std::fs::read(golden().join(name)).unwrap()
}

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mnist-data/tests/golden/decode")
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Got {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// The body of a right answer as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The detail of a problem with this status. Checks that it is one as RFC 9457 has it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string(), "{problem}");
        assert_eq!(problem["error"], problem["detail"]);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// Sends a request as a client on this machine does.
pub(crate) async fn send(server: &Server, request: Request<Body>) -> Got {
    send_to(server.router(), request).await
}

pub(crate) async fn send_to(router: axum::Router, mut request: Request<Body>) -> Got {
    let headers = request.headers_mut();
    headers
        .entry(header::HOST)
        .or_insert_with(|| "127.0.0.1:8080".parse().unwrap());
    Got::read(router.oneshot(request).await.unwrap()).await
}

pub(crate) async fn get(server: &Server, path: &str) -> Got {
    send(server, Request::get(path).body(Body::empty()).unwrap()).await
}

/// Posts a body of this type.
pub(crate) async fn post(server: &Server, path: &str, kind: &str, body: impl Into<Body>) -> Got {
    let request = Request::post(path).header(header::CONTENT_TYPE, kind);
    send(server, request.body(body.into()).unwrap()).await
}

pub(crate) async fn post_json(server: &Server, path: &str, body: &Value) -> Got {
    post(server, path, "application/json", body.to_string()).await
}

/// A form with these files: names and contents.
pub(crate) fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        body.extend(
            format!(
                "--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
            )
            .bytes(),
        );
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--frontier--\r\n");
    body
}

pub(crate) const FORM: &str = "multipart/form-data; boundary=frontier";

/// A body of which one part has come, and no more comes.
pub(crate) fn stuck(bytes: usize) -> Body {
    let first = http_body_util::Full::from(vec![0; bytes]);
    Body::new(Stuck(Box::pin(first)))
}

struct Stuck(std::pin::Pin<Box<http_body_util::Full<axum::body::Bytes>>>);

impl hyper::body::Body for Stuck {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        match self.0.as_mut().poll_frame(context) {
            std::task::Poll::Ready(None) => std::task::Poll::Pending,
            other => other,
        }
    }
}
