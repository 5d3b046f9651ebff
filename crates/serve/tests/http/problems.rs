//! Requests that are refused.

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use serve::Settings;

use crate::support::{FORM, form, get, image, post, post_json, send, server, server_with};

#[tokio::test]
async fn what_is_not_there_is_404() {
    let server = server();
    for path in [
        "/none",
        "/v1",
        "/v2/models",
        "/v1/predict/",
        "/v1/models/none",
        "/v2/models/none",
    ] {
        assert!(!get(&server, path).await.problem(404).is_empty(), "{path}");
    }
    let detail = post(&server, "/v1/predict?model=none", "image/png", "")
        .await
        .problem(404);
    assert!(detail.contains("digits, again"), "{detail}");
    post(&server, "/v1/explain?model=none", "image/png", "")
        .await
        .problem(404);
    post(&server, "/v1/explain?class=none", "image/png", "")
        .await
        .problem(404);
}

#[tokio::test]
async fn another_method_is_405_and_the_right_ones_are_named() {
    let server = server();
    for (method, path, allowed) in [
        ("GET", "/v1/predict", "POST"),
        ("DELETE", "/v1/models", "GET,HEAD"),
        ("PUT", "/", "GET,HEAD,POST"),
        ("POST", "/v1/models/digits", "GET,HEAD"),
        ("GET", "/v1/models/digits:predict", "POST"),
        ("POST", "/v2/models/digits", "GET,HEAD"),
        ("OPTIONS", "/v2", "GET,HEAD"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty());
        let got = send(&server, request.unwrap()).await;
        got.problem(405);
        assert_eq!(got.headers[header::ALLOW], allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn another_type_of_body_is_415() {
    let server = server();
    for (path, kind) in [
        ("/v1/predict", "text/plain"),
        ("/v1/predict", "application/json"),
        ("/v1/predict", "application/x-www-form-urlencoded"),
        ("/v1/explain", "multipart/form-data; boundary=x"),
        ("/v1/models/digits:predict", "image/png"),
        ("/v2/models/digits/infer", "text/plain"),
        ("/", "text/html"),
    ] {
        let detail = post(&server, path, kind, "{}").await.problem(415);
        assert!(detail.contains("expected"), "{detail}");
    }
    let request = Request::post("/v2/models/digits/infer").header(header::CONTENT_ENCODING, "gzip");
    let got = send(&server, request.body(Body::from("x")).unwrap()).await;
    got.problem(415);
    assert_eq!(got.headers[header::ACCEPT_ENCODING], "identity");
}

#[tokio::test]
async fn a_bad_query_is_refused_by_name() {
    let server = server();
    for (path, named) in [
        ("/v1/predict?topk=3", "topk"),
        ("/v1/predict?top_k=0", "top_k"),
        ("/v1/predict?top_k=-1", "top_k"),
        ("/v1/predict?top_k=1&top_k=2", "top_k"),
        ("/v1/predict?probabilities=yes", "probabilities"),
        ("/v1/explain?klass=one", "klass"),
        ("/?top_k=3", "top_k"),
        ("/v1/models/digits:predict?x=1", "x"),
        ("/v2/models/digits/infer?x=1", "x"),
    ] {
        let detail = post(&server, path, "application/octet-stream", image("rgb.png")).await;
        let detail = detail.problem(400);
        assert!(detail.contains(named), "{path}: {detail}");
        assert!(detail.matches("unknown field").count() < 2, "{detail}");
    }
    for path in [
        "/v2?x=1",
        "/v2/health/live?x=1",
        "/metrics?x=1",
        "/v1/models?x=1",
    ] {
        let detail = get(&server, path).await.problem(400);
        assert!(detail.contains('x'), "{detail}");
    }
    get(&server, "/v1/models/%FF").await.problem(400);
}

#[tokio::test]
async fn a_bad_body_is_400() {
    let server = server();
    for body in ["", "no image"] {
        post(&server, "/v1/predict", "image/png", body)
            .await
            .problem(400);
        post(&server, "/v1/explain", "image/png", body)
            .await
            .problem(400);
        post(&server, "/", "image/png", body).await.problem(400);
    }
    let truncated = image("rgb.png");
    let truncated = truncated[..truncated.len() / 2].to_vec();
    post(&server, "/v1/predict", "image/png", truncated)
        .await
        .problem(400);
    for kind in ["multipart/form-data", FORM] {
        post(&server, "/v1/predict", kind, "no form")
            .await
            .problem(400);
    }
    post(&server, "/v1/predict", FORM, form(&[]))
        .await
        .problem(400);
    let field =
        "--frontier\r\nContent-Disposition: form-data; name=\"top_k\"\r\n\r\n3\r\n--frontier--\r\n";
    let detail = post(&server, "/v1/predict", FORM, field).await.problem(400);
    assert!(detail.contains("top_k"), "{detail}");
    let cut = form(&[("a.png", &image("rgb.png"))]);
    let cut = cut[..cut.len() - 30].to_vec();
    post(&server, "/v1/predict", FORM, cut).await.problem(400);
}

#[tokio::test]
async fn bad_json_is_400() {
    let server = server();
    let predict = "/v1/models/digits:predict";
    for body in ["", "{", "[]", "nul", "{}"] {
        post(&server, predict, "application/json", body)
            .await
            .problem(400);
        post(&server, "/", "application/json", body)
            .await
            .problem(400);
    }
    let refused: [Value; 9] = [
        // serde would take lists for objects.
        json!([[{"b64": STANDARD.encode(image("rgb.png"))}]]),
        json!({"instances": [[STANDARD.encode(image("rgb.png"))]]}),
        json!({"instances": [{"image_bytes": [STANDARD.encode(image("rgb.png"))]}]}),
        json!({"instances": []}),
        json!({"instances": [{}]}),
        json!({"instances": [{"b64": "%"}]}),
        json!({"instances": [{"b64": "AAAA"}]}),
        json!({"instances": [{"b64": "", "image_bytes": {"b64": ""}}]}),
        json!({"instances": [[1.0]], "signature_name": "x"}),
    ];
    for body in refused {
        let detail = post_json(&server, predict, &body).await.problem(400);
        assert!(!detail.is_empty(), "{body}");
    }
    for parameters in [
        json!({"top_k": 0}),
        json!({"function_to_apply": "none"}),
        json!({"x": 1}),
    ] {
        let body = json!({"inputs": STANDARD.encode(image("rgb.png")), "parameters": parameters});
        post_json(&server, "/", &body).await.problem(400);
    }
}

#[tokio::test]
async fn more_images_than_the_queue_holds_are_413() {
    let server = server_with(Settings {
        queue: 2.try_into().unwrap(),
        ..Settings::default()
    });
    let png = image("rgb.png");
    let files = |count| form(&vec![("a.png", &*png); count]);
    post(&server, "/v1/predict", FORM, files(2)).await.json();
    post(&server, "/v1/predict", FORM, files(3))
        .await
        .problem(413);
}
