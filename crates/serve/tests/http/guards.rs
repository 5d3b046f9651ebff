//! Hosts, pages of other sites, tokens, and headers of every answer.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header, request};
use axum::routing::get as route_get;
use serde_json::json;
use serve::{Server, Settings};
use tower::ServiceExt;

use crate::support::{Got, get, image, post, send, send_to, server, server_with, stuck};

/// Sends a request whose `Host` headers are exactly these.
async fn with_hosts(server: &Server, hosts: &[&str]) -> Got {
    let mut request = Request::get("/v2/health/live");
    for host in hosts {
        request = request.header(header::HOST, *host);
    }
    exactly(server, request).await
}

async fn exactly(server: &Server, request: request::Builder) -> Got {
    let response = server
        .router()
        .oneshot(request.body(Body::empty()).unwrap());
    Got::read(response.await.unwrap()).await
}

#[tokio::test]
async fn a_request_has_one_host() {
    let server = server();
    assert_eq!(with_hosts(&server, &["127.0.0.1"]).await.status, 200);
    for hosts in [
        &[][..],
        &["127.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "evil.example"],
        &[""],
        &["a b"],
        &["user@127.0.0.1"],
        &["localhost@localhost:80"],
        &["127.0.0.1:port"],
        &["127.0.0.1:99999"],
        &[":80"],
        &["127.0.0.1, 127.0.0.1"],
    ] {
        with_hosts(&server, hosts).await.problem(400);
    }
}

#[tokio::test]
async fn another_host_is_refused_unless_it_is_allowed() {
    let refused = with_hosts(&server(), &["evil.example:8080"]).await;
    assert!(refused.problem(403).contains("allowed hosts"));
    for allowed in ["evil.example", "*"] {
        let server = server_with(Settings {
            allowed_hosts: vec![allowed.to_owned()],
            ..Settings::default()
        });
        assert_eq!(
            with_hosts(&server, &["evil.example:8080"]).await.status,
            200
        );
    }
    // A URI with a host counts more than the header.
    let server = server();
    let whole = |uri: &str| Request::get(uri).header(header::HOST, "127.0.0.1");
    let got = exactly(&server, whole("http://evil.example/v2/health/live")).await;
    got.problem(403);
    let got = exactly(&server, whole("http://127.0.0.1:80/v2/health/live")).await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn pages_of_other_sites_post_nothing() {
    let server = server();
    let send = |headers: &'static [(&'static str, &'static str)]| {
        let mut request = Request::post("/v1/predict").header(header::HOST, "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(&server, request.body(image("rgb.png").into()).unwrap())
    };
    for allowed in [
        &[][..],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "http://127.0.0.1:8080")],
        // A proxy may speak TLS for the server.
        &[("Origin", "https://127.0.0.1:8080")],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Origin", "https://outside.example"),
        ],
    ] {
        assert_eq!(send(allowed).await.status, 200, "{allowed:?}");
    }
    for refused in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[
            ("Sec-Fetch-Site", "cross-site"),
            ("Origin", "http://127.0.0.1:8080"),
        ],
        &[("Origin", "http://evil.example")],
        &[("Origin", "http://127.0.0.1:8081")],
        &[("Origin", "http://127.0.0.1")],
        &[("Origin", "null")],
    ] {
        send(refused).await.problem(403);
    }
    // Links from other sites work.
    let link = Request::get("/v1/models").header("Sec-Fetch-Site", "cross-site");
    let got = crate::support::send(&server, link.body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn the_token_is_needed_except_for_probes_and_the_page() {
    let server = server_with(Settings {
        token: Some("secret".to_owned()),
        ..Settings::default()
    });
    for path in ["/", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(get(&server, path).await.status, 200, "{path}");
    }
    for path in [
        "/v1/models",
        "/v1/models/digits",
        "/v2",
        "/v2/models/digits",
        "/metrics",
    ] {
        let got = get(&server, path).await;
        got.problem(401);
        assert_eq!(got.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    // The body is not read first.
    let never = Body::new(NeverRead);
    post(&server, "/v1/predict", "image/png", never)
        .await
        .problem(401);
    post(&server, "/", "image/png", image("rgb.png"))
        .await
        .problem(401);
    for (authorization, status) in [
        ("Bearer secret", 200),
        ("bearer secret", 200),
        ("Bearer secrets", 401),
        ("Bearer secre", 401),
        ("Bearer ", 401),
        ("Bearer", 401),
        ("secret", 401),
        ("Basic c2VjcmV0", 401),
    ] {
        let request = Request::get("/v1/models").header(header::AUTHORIZATION, authorization);
        let got = send(&server, request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.status, status, "{authorization}");
    }
}

/// A body that fails the test if somebody reads it.
struct NeverRead;

impl hyper::body::Body for NeverRead {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        panic!("the body was read");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let server = server_with(Settings {
        body_limit: 1000,
        ..Settings::default()
    });
    let paths = ["/v1/predict", "/v1/explain", "/", "/v2/models/digits/infer"];
    for path in paths {
        for length in ["1001", "99999999999999999999999"] {
            let request = Request::post(path).header(header::CONTENT_LENGTH, length);
            let got = send(&server, request.body(Body::new(NeverRead)).unwrap()).await;
            assert!(got.problem(413).contains("1000"));
        }
        // Without Content-Length, the bytes are counted as they come.
        let long = http_body_util::Full::from(vec![0; 1001]);
        let request = Request::post(path).body(Body::new(long)).unwrap();
        send(&server, request).await.problem(413);
        let request = Request::post(path).body(Body::from(vec![0; 1000])).unwrap();
        send(&server, request).await.problem(400);
    }
    let form = crate::support::form(&[("a.png", &[0; 1000])]);
    post(&server, "/v1/predict", crate::support::FORM, form)
        .await
        .problem(413);
}

#[tokio::test]
async fn all_bodies_together_have_a_limit() {
    let server = server_with(Settings {
        body_limit: 1000,
        body_budget: 2500,
        ..Settings::default()
    });
    let half_sent = || {
        let request = Request::post("/v1/predict").header(header::HOST, "localhost");
        tokio::spawn(server.router().oneshot(request.body(stuck(900)).unwrap()))
    };
    let held = [half_sent(), half_sent()];
    tokio::task::yield_now().await;
    for (bytes, status) in [(701, 503), (700, 400)] {
        for body in [
            Body::from(vec![0; bytes]),
            Body::new(http_body_util::Full::from(vec![0; bytes])),
        ] {
            let got = post(&server, "/v1/predict", "image/png", body).await;
            got.problem(status);
            assert_eq!(got.headers.contains_key(header::RETRY_AFTER), status == 503);
        }
    }
    // If the length is known, nothing is read.
    let request = Request::post("/v1/predict").header(header::CONTENT_LENGTH, 701);
    let got = send(&server, request.body(Body::new(NeverRead)).unwrap()).await;
    got.problem(503);
    // A client that goes leaves its room.
    for request in held {
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }
    post(&server, "/v1/predict", "image/png", vec![0; 701])
        .await
        .problem(400);
}

#[tokio::test]
async fn every_answer_forbids_guessing_and_caching() {
    let server = server();
    let png = image("rgb.png");
    for got in [
        get(&server, "/v1/models").await,
        get(&server, "/none").await,
        get(&server, "/v1/predict").await,
        post(&server, "/v1/predict", "image/png", png).await,
        with_hosts(&server, &["evil.example"]).await,
    ] {
        assert_eq!(got.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store");
    }
}

#[tokio::test]
async fn requests_are_counted_by_path_and_status() {
    let server = server();
    for _ in 0..2 {
        get(&server, "/v1/models/digits").await.json();
    }
    get(&server, "/v1/models/none").await.problem(404);
    get(&server, "/none").await.problem(404);
    let got = get(&server, "/metrics").await;
    assert_eq!(
        got.headers[header::CONTENT_TYPE],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    for line in [
        r#"classify_requests_total{path="/v1/models/{model}",status="200"} 2"#,
        r#"classify_requests_total{path="/v1/models/{model}",status="404"} 1"#,
        r#"classify_requests_total{path="other",status="404"} 1"#,
        r#"classify_request_seconds_count{path="/v1/models/{model}"} 3"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn another_program_mounts_the_routes_below_a_path() {
    let server = server_with(Settings {
        token: Some("secret".to_owned()),
        ..Settings::default()
    });
    for prefix in ["/vision", "/vision/"] {
        let app = Router::new()
            .route("/own", route_get(async || "own"))
            .nest(prefix, server.router());
        let ask = async |method: &str, path: &str, token: bool| {
            let mut request = Request::builder().method(method).uri(path);
            if token {
                request = request.header(header::AUTHORIZATION, "Bearer secret");
            }
            send_to(app.clone(), request.body(image("rgb.png").into()).unwrap()).await
        };
        assert_eq!(ask("GET", "/own", false).await.body, "own");
        assert_eq!(ask("GET", prefix, false).await.status, 200);
        assert_eq!(
            ask("GET", "/vision/v2/health/live", false).await.json(),
            json!({"live": true})
        );
        ask("POST", "/vision/v1/predict", false).await.problem(401);
        let got = ask("POST", "/vision/v1/predict", true).await.json();
        assert_eq!(got["model"], "digits");
        let got = ask("GET", "/vision/v1/models/digits", true).await.json();
        assert_eq!(got["name"], "digits");
        ask("DELETE", "/vision/v2", true).await.problem(405);
        ask("GET", "/vision/none", true).await.problem(404);
    }
}
