#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::poll_fn;
use std::task::Poll;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tower::ServiceExt;

use crate::room::tests::scripted::{SIDE, Scripted, gray};
use crate::{Server, Settings};

/// The memory of a body counts until the answer, although JSON is read and dropped before.
#[tokio::test]
async fn the_memory_of_a_body_is_taken_until_its_answer() {
    let file = STANDARD.encode(gray(1));
    let instances = json!({"instances": [{"b64": file}]}).to_string();
    let side = SIDE as usize;
    let values = json!({"inputs": [{
        "name": "input", "datatype": "FP32", "shape": [1, 3, side, side],
        "data": vec![0; 3 * side * side],
    }]});
    let hugging_face = json!({"inputs": file}).to_string();
    for (path, body) in [
        ("/v1/models/a:predict", instances),
        ("/v2/models/a/infer", values.to_string()),
        ("/", hugging_face),
    ] {
        let network = Scripted::new(1);
        let settings = Settings {
            body_limit: body.len(),
            body_budget: 2 * body.len() - 1,
            ..Settings::default()
        };
        let server = Server::new(vec![("a".to_owned(), network.classifier())], settings).unwrap();
        let send = || {
            let request = Request::post(path)
                .header(header::HOST, "localhost")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.clone()));
            server.router().oneshot(request.unwrap())
        };
        let (started, opener) = network.gated();
        let first = tokio::spawn(send());
        let computes = tokio::task::spawn_blocking(move || started.recv());
        computes.await.unwrap().unwrap();
        // The refusal waits for nothing, so it is there at once.
        let mut second = Box::pin(send());
        let second = poll_fn(|context| Poll::Ready(second.as_mut().poll(context))).await;
        let refused = StatusCode::SERVICE_UNAVAILABLE;
        assert!(
            matches!(second, Poll::Ready(Ok(answer)) if answer.status() == refused),
            "{path}"
        );
        drop(opener);
        assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
}
