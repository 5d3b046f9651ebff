//! `POST /`: image classification as endpoints of Hugging Face do it. The body is an image file, or JSON with the file
//! in base64 as `inputs`.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::answer::{self, Scores, TopK};
use super::body;
use super::json::{Encoded, Object};
use super::kind::Kind;
use super::problem::Problem;
use super::query::{Nothing, Query};
use crate::Server;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    inputs: Encoded,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(default)]
    top_k: Option<TopK>,
    #[serde(default)]
    function_to_apply: Option<Function>,
}

/// The function that turns logits into scores.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Function {
    Softmax,
}

pub(super) async fn classify(
    State(server): State<Server>,
    Query(Nothing {}): Query<Nothing>,
    request: Request,
) -> Result<Response, Problem> {
    let model = answer::model(&server, None)?;
    let kind = Kind::of(request.headers(), &[Kind::Binary, Kind::Json])?;
    let (bytes, _hold) = body::read(&server, request).await?;
    let (image, count) = match kind {
        Kind::Json => {
            let asked: Asked = body::parsed(bytes).await?;
            let parameters = asked.parameters.unwrap_or_default().0;
            // The only function there is.
            let (None | Some(Function::Softmax)) = parameters.function_to_apply;
            (asked.inputs.0, TopK::or_default(parameters.top_k))
        }
        Kind::Binary | Kind::Form => (bytes, answer::TOP_K),
    };
    let logits = answer::logits(&model, image).await?;
    Ok(Json(Scores::new(&model, &logits).top(count)).into_response())
}
