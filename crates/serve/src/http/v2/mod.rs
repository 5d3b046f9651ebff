//! The Open Inference Protocol, version 2, over HTTP, with the extensions for binary data and classification:
//! <https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md>,
//! <https://github.com/triton-inference-server/server/tree/main/docs/protocol>.

mod infer;
mod request;
mod response;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer;
use super::path::Path;
use super::problem::Problem;
use super::query::{Nothing, Query};
use crate::Server;
use crate::room::Model;

/// The input of normalised values, FP32 `[n, 3, height, width]`, as the exported ONNX network takes them.
const VALUES: &str = "input";
/// The input of image files, BYTES `[n]`.
const IMAGES: &str = "image";
/// The output, FP32 `[n, classes]`.
const LOGITS: &str = "logits";

/// Routes for probes, which need no token.
pub(super) fn health() -> Vec<(&'static str, MethodRouter<Server>)> {
    vec![
        ("/v2/health/live", get(live)),
        ("/v2/health/ready", get(ready)),
    ]
}

pub(super) fn routes() -> Vec<(&'static str, MethodRouter<Server>)> {
    vec![
        ("/v2", get(server)),
        ("/v2/models/{model}", get(metadata)),
        ("/v2/models/{model}/ready", get(model_ready)),
        ("/v2/models/{model}/infer", post(infer::infer)),
        ("/v2/models/{model}/versions/{version}", get(metadata)),
        (
            "/v2/models/{model}/versions/{version}/ready",
            get(model_ready),
        ),
        (
            "/v2/models/{model}/versions/{version}/infer",
            post(infer::infer),
        ),
    ]
}

async fn live(Query(Nothing {}): Query<Nothing>) -> Response {
    Json(json!({ "live": true })).into_response()
}

async fn ready(
    State(server): State<Server>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Problem> {
    if server.is_closed() {
        return Err(crate::room::Refused::Closed.into());
    }
    Ok(Json(json!({ "ready": true })).into_response())
}

async fn server(Query(Nothing {}): Query<Nothing>) -> Response {
    let extensions = ["binary_tensor_data", "classification"];
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "name": "classify", "version": version, "extensions": extensions }))
        .into_response()
}

/// The model in a path.
#[derive(Deserialize)]
struct Which {
    model: String,
    version: Option<String>,
}

impl Which {
    /// # Errors
    /// Status 404 for an unknown name or version.
    fn find(&self, server: &Server) -> Result<Arc<Model>, Problem> {
        let model = answer::model(server, Some(&self.model))?;
        if let Some(version) = &self.version
            && version != model.version()
        {
            return Err(Problem::not_found(format!(
                "{} has no version {version:?}; its version is {}",
                model.name(),
                model.version()
            )));
        }
        Ok(model)
    }
}

#[derive(Serialize)]
struct Metadata<'m> {
    name: &'m str,
    versions: [&'m str; 1],
    platform: &'static str,
    inputs: [Tensor; 2],
    outputs: [Tensor; 1],
}

#[derive(Serialize)]
struct Tensor {
    name: &'static str,
    datatype: &'static str,
    /// -1 for any number.
    shape: Vec<i64>,
}

async fn metadata(
    State(server): State<Server>,
    Path(which): Path<Which>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Problem> {
    let model = which.find(&server)?;
    let [height, width] = model.classifier().metadata().image_size.sides();
    let classes = model.classifier().class_names().len();
    let tensor = |name, datatype, shape| Tensor {
        name,
        datatype,
        shape,
    };
    Ok(Json(Metadata {
        name: model.name(),
        versions: [model.version()],
        platform: "classify_safetensors",
        inputs: [
            tensor(
                VALUES,
                "FP32",
                vec![-1, 3, i64::from(height), i64::from(width)],
            ),
            tensor(IMAGES, "BYTES", vec![-1]),
        ],
        outputs: [tensor(LOGITS, "FP32", vec![-1, classes as i64])],
    })
    .into_response())
}

async fn model_ready(
    State(server): State<Server>,
    Path(which): Path<Which>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, Problem> {
    let model = which.find(&server)?;
    if server.is_closed() {
        return Err(crate::room::Refused::Closed.into());
    }
    Ok(Json(json!({ "name": model.name(), "ready": true })).into_response())
}
