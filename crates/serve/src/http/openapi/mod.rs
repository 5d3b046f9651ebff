//! `GET /openapi.json`: the routes, for programs.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::query::{Nothing, Query};

/// The paths, in OpenAPI 3.1.
const DOCUMENT: &str = include_str!("document.json");
/// The parameters, responses and schemas to which the paths refer.
const COMPONENTS: &str = include_str!("components.json");

static WHOLE: LazyLock<String> = LazyLock::new(|| {
    // A test reads both files.
    let read = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let mut document = read(DOCUMENT);
    if let Some(info) = document.get_mut("info") {
        info["version"] = json!(env!("CARGO_PKG_VERSION"));
    }
    document.insert("components".to_owned(), Value::Object(read(COMPONENTS)));
    Value::Object(document).to_string()
});

pub(super) async fn openapi(Query(Nothing {}): Query<Nothing>) -> Response {
    let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (kind, WHOLE.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::{routes, v2};
    use crate::page;

    #[test]
    fn every_route_is_documented() {
        let document: Value = serde_json::from_str(&WHOLE).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let documented: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
        let routes = routes().into_iter().chain(v2::health());
        let mut expected: BTreeSet<&str> = routes.map(|(path, _)| path).collect();
        // A part of `/v1/models/{model}`, and the page.
        expected.extend(["/v1/models/{model}:predict", "/page/{file}"]);
        assert_eq!(documented, expected);
    }

    #[test]
    fn every_file_of_the_page_is_documented() {
        let document: Value = serde_json::from_str(&WHOLE).unwrap();
        let files = document.pointer("/paths/~1page~1{file}/parameters/0/schema/enum");
        let files = files.and_then(Value::as_array).unwrap().iter();
        let documented: BTreeSet<&str> = files.filter_map(Value::as_str).collect();
        let files = page::FILES.iter();
        let expected = files.filter_map(|(path, ..)| path.strip_prefix("/page/"));
        assert_eq!(documented, expected.collect());
    }
}
