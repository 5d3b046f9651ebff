//! The routes.

mod answer;
mod body;
mod explain;
mod guard;
mod hugging_face;
mod json;
mod kind;
mod measure;
mod models;
mod openapi;
mod path;
mod predict;
mod problem;
mod query;
mod v2;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};

pub(crate) use body::Bodies;
pub(crate) use problem::Problem;
use query::{Nothing, Query};

use crate::{Server, page};

/// The content type of the text that `prometheus-client` writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn router(server: Server) -> Router {
    let mut open = page::router();
    for (path, methods) in v2::health() {
        open = open.route(path, methods);
    }
    let mut guarded = Router::new();
    for (path, methods) in routes() {
        guarded = guarded.route(path, methods);
    }
    let token = from_fn_with_state(server.clone(), guard::token);
    let admit = from_fn_with_state(server.clone(), guard::admit);
    let measure = from_fn_with_state(server.clone(), measure::measure);
    open.merge(guarded.route_layer(token))
        .method_not_allowed_fallback(async |method: Method| wrong_method(&method))
        .fallback(no_route)
        .layer(admit)
        .layer(measure)
        .with_state(server)
}

/// The routes that need the token.
fn routes() -> Vec<(&'static str, MethodRouter<Server>)> {
    let mut routes = vec![
        ("/", post(hugging_face::classify)),
        ("/v1/predict", post(predict::predict)),
        ("/v1/explain", post(explain::explain)),
        ("/v1/models", get(models::list)),
        ("/v1/models/{model}", any(models::model)),
        ("/metrics", get(metrics)),
        ("/openapi.json", get(openapi::openapi)),
    ];
    routes.extend(v2::routes());
    routes
}

async fn metrics(State(server): State<Server>, Query(Nothing {}): Query<Nothing>) -> Response {
    let kind = [(header::CONTENT_TYPE, OPEN_METRICS)];
    (kind, server.metrics().text()).into_response()
}

async fn no_route(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {:?}; GET /openapi.json lists all paths",
        uri.path()
    ))
}

fn wrong_method(method: &Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not a method of this path; the header Allow lists its methods"),
    )
}
