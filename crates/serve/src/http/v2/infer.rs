//! `POST /v2/models/{m}/infer`.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::Which;
use super::request::Asked;
use super::response::{JSON_LENGTH, response};
use crate::Server;
use crate::http::body;
use crate::http::kind::Kind;
use crate::http::path::Path;
use crate::http::problem::Problem;
use crate::http::query::{Nothing, Query};

pub(super) async fn infer(
    State(server): State<Server>,
    Path(which): Path<Which>,
    Query(Nothing {}): Query<Nothing>,
    request: Request,
) -> Result<Response, Problem> {
    let model = which.find(&server)?;
    Kind::of(request.headers(), &[Kind::Json, Kind::Binary])?;
    let json = json_length(request.headers())?;
    let (body, _hold) = body::read(&server, request).await?;
    let (json, rest) = parts(body, json)?;
    let mut asked: Asked = body::parsed(json).await?;
    let form = asked.form()?;
    let id = asked.id.take();
    let sides = model.classifier().metadata().image_size.sides();
    let images = asked.images(&rest, sides)?;
    drop(rest);
    let count = images.len();
    let answers = model.logits(images).await?;
    let mut rows = Vec::with_capacity(count);
    for (index, answer) in answers.into_iter().enumerate() {
        let row = answer.map_err(|problem| {
            Problem::bad_request(format!(
                "image {index} of {count} cannot be used: {problem}"
            ))
        })?;
        rows.push(row);
    }
    response(&model, id.as_deref(), &rows, form)
}

/// The length of the JSON, if binary data follow it.
fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
    let Some(found) = headers.get(JSON_LENGTH) else {
        return Ok(None);
    };
    let length = found.to_str().ok().and_then(|text| text.parse().ok());
    match length {
        // A body of a tensor alone is for models with a single input.
        Some(0) => Err(Problem::bad_request(
            "Inference-Header-Content-Length is 0; expected JSON before the binary data, since this model has more than one input",
        )),
        Some(length) => Ok(Some(length)),
        None => Err(Problem::bad_request(format!(
            "Inference-Header-Content-Length is {found:?}; expected the length of the JSON in bytes"
        ))),
    }
}

/// The JSON of the body, and the bytes after it.
fn parts(mut body: Bytes, json: Option<usize>) -> Result<(Bytes, Bytes), Problem> {
    let length = json.unwrap_or(body.len());
    if length > body.len() {
        return Err(Problem::bad_request(format!(
            "Inference-Header-Content-Length is {length} and the body has {} bytes; expected the length of the JSON",
            body.len()
        )));
    }
    let rest = body.split_off(length);
    Ok((body, rest))
}
