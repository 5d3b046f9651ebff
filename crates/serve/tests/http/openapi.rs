//! `/openapi.json` says what the handlers do: paths, methods, statuses, types and shapes.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use classifier::Classifier;
use serde_json::{Value, json};
use serve::{Server, Settings};
use tower::ServiceExt;

use crate::schema::{check, resolved};
use crate::support::{FORM, Got, SIDES, classifier, form, get, image, send, stuck};

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The version of a model with these weights.
fn version(classifier: &Classifier) -> String {
    let mut fingerprint = classifier.fingerprint().unwrap();
    fingerprint.truncate(8);
    fingerprint
}

/// The statuses for which there are requests here.
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 413, 415, 500, 503];

/// A method of a path, with its documentation.
struct Operation<'d> {
    path: &'d str,
    method: String,
    documented: &'d Value,
}

impl Operation<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The statuses that are documented.
    fn statuses(&self) -> BTreeSet<u16> {
        let statuses = self.documented["responses"].as_object().unwrap().keys();
        statuses.map(|status| status.parse().unwrap()).collect()
    }

    /// The statuses and types of the answers that are documented.
    fn answers(&self, document: &Value) -> BTreeSet<(u16, String)> {
        let kinds = |status: u16| {
            let response = &self.documented["responses"][status.to_string()];
            let content = resolved(document, response)["content"].as_object();
            let kinds = content.into_iter().flatten();
            kinds
                .map(move |(kind, _)| (status, kind.clone()))
                .collect::<Vec<_>>()
        };
        self.statuses().into_iter().flat_map(kinds).collect()
    }

    /// The path with its parameters.
    fn filled(&self, model: &str, version: &str, file: &str) -> String {
        let path = self.path.replace("{model}", model).replace("{file}", file);
        path.replace("{version}", version)
    }

    /// Right requests: for each, the type of the body and the body.
    fn right(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (png, jpeg) = (image("rgb.png"), image("jpeg.jpeg"));
        let encoded = STANDARD.encode(&png);
        let mut images = vec![
            ("image/png", png.clone()),
            ("image/jpeg", jpeg.clone()),
            ("application/octet-stream", png.clone()),
        ];
        let json = |value: Value| ("application/json", value.to_string().into_bytes());
        let path = self.path.replace("/versions/{version}", "");
        match (&*self.method, &*path) {
            ("GET", _) => vec![("", Vec::new())],
            ("POST", "/") => {
                let parameters = json!({"top_k": 3, "function_to_apply": "softmax"});
                images.push(json(json!({"inputs": encoded})));
                images.push(json(json!({"inputs": encoded, "parameters": parameters})));
                images
            }
            ("POST", "/v1/predict") => {
                images.push((
                    FORM,
                    form(&[("a.png", &png), ("b.png", b"bad"), ("c", &jpeg)]),
                ));
                images
            }
            ("POST", "/v1/explain") => images,
            ("POST", "/v1/models/{model}:predict") => {
                let instances = [
                    json!({"b64": encoded}),
                    json!({"image_bytes": {"b64": encoded}}),
                ];
                vec![json(json!({"instances": instances}))]
            }
            ("POST", "/v2/models/{model}/infer") => {
                let file =
                    json!({"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded]});
                let values = json!({
                    "name": "input", "datatype": "FP32", "shape": [1, 3, SIDES[0], SIDES[1]],
                    "data": vec![0.5; 3 * SIDES[0] * SIDES[1]],
                });
                let output =
                    |parameters: Value| json!([{"name": "logits", "parameters": parameters}]);
                vec![
                    json(json!({"inputs": [file]})),
                    json(json!({"inputs": [values], "id": "7"})),
                    json(
                        json!({"inputs": [file], "outputs": output(json!({"classification": 2}))}),
                    ),
                    json(
                        json!({"inputs": [file], "outputs": output(json!({"binary_data": true}))}),
                    ),
                ]
            }
            (method, path) => panic!("{method} {path} has no right request here"),
        }
    }
}

/// Servers in the states that statuses are about.
struct Servers {
    plain: Server,
    closed: Server,
    /// With a token.
    guarded: Server,
    /// For bodies of 10 bytes.
    small: Server,
    /// Another body fills the memory for bodies.
    full: Server,
    /// The logits of its model are infinite.
    broken: Server,
    /// The versions of the models of all others and of this one.
    versions: [String; 2],
}

impl Servers {
    async fn new() -> Self {
        let with = |settings| {
            let models = vec![("digits".to_owned(), classifier().clone())];
            Server::new(models, settings).unwrap()
        };
        let broken = classifier().clone().with_temperature(1e-60).unwrap();
        let servers = Self {
            versions: [classifier(), &broken].map(version),
            plain: with(Settings::default()),
            closed: with(Settings::default()),
            guarded: with(Settings {
                token: Some("secret".to_owned()),
                ..Settings::default()
            }),
            small: with(Settings {
                body_limit: 10,
                ..Settings::default()
            }),
            full: with(Settings {
                body_limit: 1 << 18,
                body_budget: 1 << 18,
                ..Settings::default()
            }),
            broken: Server::new(vec![("digits".to_owned(), broken)], Settings::default()).unwrap(),
        };
        servers.closed.close();
        let first = Request::post("/v1/predict").header(header::HOST, "localhost");
        let first = first.body(stuck(1 << 18)).unwrap();
        tokio::spawn(servers.full.router().oneshot(first));
        tokio::task::yield_now().await;
        servers
    }

    /// The answers to requests that have this status, if the operation can have it.
    async fn answers(&self, operation: &Operation<'_>, status: u16) -> Vec<Got> {
        let mut answers = Vec::new();
        for (kind, body) in operation.right() {
            let version = &self.versions[usize::from(status == 500)];
            let mut path = operation.filled("digits", version, "style.css");
            let mut kind = kind;
            let mut hosts = vec!["127.0.0.1"];
            let server = match status {
                401 => &self.guarded,
                413 => &self.small,
                500 => &self.broken,
                503 if operation.method == "GET" => &self.closed,
                503 => &self.full,
                _ => &self.plain,
            };
            match status {
                400 => hosts.push("127.0.0.1"),
                403 => hosts = vec!["evil.example"],
                404 => {
                    path = operation.filled("none", version, "none");
                    if !operation.path.contains('{') {
                        path.push_str("?model=none");
                    }
                }
                415 => kind = "text/plain",
                _ => {}
            }
            let mut request = Request::builder().method(&*operation.method).uri(path);
            if !kind.is_empty() {
                request = request.header(header::CONTENT_TYPE, kind);
            }
            for host in hosts {
                request = request.header(header::HOST, host);
            }
            answers.push(send(server, request.body(Body::from(body)).unwrap()).await);
        }
        answers
    }
}

async fn document() -> Value {
    get(&crate::support::server(), "/openapi.json").await.json()
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, documented) in item.as_object().unwrap() {
            if method != "parameters" {
                operations.push(Operation {
                    path,
                    method: method.to_uppercase(),
                    documented,
                });
            }
        }
    }
    operations
}

/// The type of an answer, without parameters.
fn kind(got: &Got) -> &str {
    let kind = got.headers[header::CONTENT_TYPE].to_str().unwrap();
    kind.split(';').next().unwrap()
}

#[tokio::test]
async fn the_answers_are_those_that_are_documented() {
    let document = document().await;
    let servers = Servers::new().await;
    for operation in operations(&document) {
        let documented = operation.statuses();
        let mut given = BTreeSet::new();
        for status in STATUSES {
            let name = format!("{} {status}", operation.name());
            for got in servers.answers(&operation, status).await {
                let found = got.status.as_u16();
                let is_expected = match documented.contains(&status) {
                    // Grad-CAM does not use the temperature that makes logits infinite.
                    true => found == status || name == "POST /v1/explain 500",
                    false => documented.contains(&found),
                };
                assert!(is_expected, "{name}: {found} {:?}", got.body);
                given.insert((found, kind(&got).to_owned()));
                is_documented(&document, &operation, &got);
            }
        }
        // The loop that accepts connections watches the time. The scripts of the page are of another type than the style
        // that is asked for.
        let mut never: BTreeSet<(u16, String)> = operation.answers(&document);
        never.retain(|(status, kind)| *status != 408 && kind != "text/javascript");
        never.retain(|(status, _)| operation.path != "/v1/explain" || *status != 500);
        never.retain(|answer| !given.contains(answer));
        assert!(never.is_empty(), "{}: {never:?}", operation.name());
    }
}

/// Checks the type, the shape and the headers of an answer.
fn is_documented(document: &Value, operation: &Operation<'_>, got: &Got) {
    let name = format!("{} {}", operation.name(), got.status);
    let response = &operation.documented["responses"][got.status.as_str()];
    let response = resolved(document, response);
    let kind = kind(got);
    let content = &response["content"][kind];
    assert!(content.is_object(), "{name}: {kind} is not documented");
    if kind.ends_with("json") {
        let body = serde_json::from_slice(&got.body).unwrap();
        check(document, &content["schema"], &body)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (header, _) in response["headers"].as_object().into_iter().flatten() {
        assert!(got.headers.contains_key(&**header), "{name}: {header}");
    }
}

#[tokio::test]
async fn the_documented_types_of_bodies_are_those_that_are_right() {
    let document = document().await;
    for operation in operations(&document) {
        let content = operation.documented.pointer("/requestBody/content");
        let content = content.and_then(Value::as_object).into_iter().flatten();
        let documented: BTreeSet<&str> = content.map(|(kind, _)| &**kind).collect();
        let right = operation
            .right()
            .into_iter()
            .map(|(kind, _)| kind.split(';').next().unwrap());
        let right: BTreeSet<&str> = right.filter(|kind| !kind.is_empty()).collect();
        assert_eq!(documented, right, "{}", operation.name());
        // The schemas admit what is right.
        for (kind, body) in operation.right() {
            if kind == "application/json" {
                let schema = &operation.documented["requestBody"]["content"][kind]["schema"];
                let body = serde_json::from_slice(&body).unwrap();
                check(&document, schema, &body)
                    .unwrap_or_else(|error| panic!("{}: {error}", operation.name()));
            }
        }
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let document = document().await;
    let server = crate::support::server();
    let operations = operations(&document);
    for operation in &operations {
        let same = operations
            .iter()
            .filter(|other| other.path == operation.path);
        let mut methods: BTreeSet<&str> = same.map(|other| &*other.method).collect();
        for method in METHODS {
            if methods.contains(method) {
                continue;
            }
            let request = Request::builder().method(method);
            let request = request.uri(operation.filled("digits", "1", "style.css"));
            let got = send(&server, request.body(Body::empty()).unwrap()).await;
            got.problem(405);
            if methods.contains("GET") {
                methods.insert("HEAD");
            }
            let allowed = got.headers[header::ALLOW].to_str().unwrap();
            assert_eq!(
                allowed.split(',').collect::<BTreeSet<_>>(),
                methods,
                "{method} {}",
                operation.path
            );
        }
    }
}

#[tokio::test]
async fn the_version_is_that_of_the_crate() {
    let document = document().await;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["openapi"], "3.1.0");
    let names = operations(&document);
    let names: BTreeSet<&str> = names
        .iter()
        .map(|operation| operation.documented["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), operations(&document).len());
}
