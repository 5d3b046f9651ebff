//! `/v1/models`: the list of models, and the first version of KServe's and TensorFlow Serving's protocol.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::answer::{self, Scores};
use super::body;
use super::json::{Encoded, Object};
use super::path::Path;
use super::problem::Problem;
use super::query::{Nothing, Query};
use crate::Server;
use crate::room::Input;

#[derive(Serialize)]
struct Listed<'m> {
    name: &'m str,
    version: &'m str,
    classes: &'m [String],
    /// Height and width of the images as the network sees them.
    image_size: [u32; 2],
    /// The name of the architecture.
    model: String,
}

#[derive(Serialize)]
struct Models<'m> {
    models: Vec<Listed<'m>>,
}

/// `GET /v1/models`.
pub(super) async fn list(
    State(server): State<Server>,
    Query(Nothing {}): Query<Nothing>,
) -> Response {
    let models = server.models();
    let listed = models.iter().map(|model| {
        let metadata = model.classifier().metadata();
        Listed {
            name: model.name(),
            version: model.version(),
            classes: model.classifier().class_names(),
            image_size: metadata.image_size.sides(),
            model: metadata.model.name().to_string(),
        }
    });
    let models = listed.collect();
    Json(Models { models }).into_response()
}

#[derive(Serialize)]
struct Status<'m> {
    name: &'m str,
    ready: bool,
}

/// The end of a path that asks for predictions.
const PREDICT: &str = ":predict";

/// `GET /v1/models/{m}` and `POST /v1/models/{m}:predict`. The router has no paths that end in such a suffix.
pub(super) async fn model(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(Nothing {}): Query<Nothing>,
    request: Request,
) -> Result<Response, Problem> {
    let allowed = match (name.strip_suffix(PREDICT), request.method()) {
        (Some(name), &Method::POST) => return predict(&server, name, request).await,
        (Some(_), _) => "POST",
        (None, &Method::GET | &Method::HEAD) => {
            let model = answer::model(&server, Some(&name))?;
            let (name, ready) = (model.name(), !server.is_closed());
            return Ok(Json(Status { name, ready }).into_response());
        }
        (None, _) => "GET,HEAD",
    };
    Err(super::wrong_method(request.method())
        .with_header(header::ALLOW, HeaderValue::from_static(allowed)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    instances: Vec<Object<Instance>>,
}

/// An image file: `{"b64": …}`, as the value of `image_bytes` or without it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instance {
    b64: Option<Encoded>,
    image_bytes: Option<Object<Wrapped>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    b64: Encoded,
}

#[derive(Serialize)]
struct Predictions<'m> {
    predictions: Vec<Prediction<'m>>,
}

#[derive(Serialize)]
struct Prediction<'m> {
    label: &'m str,
    score: f32,
    /// In the order of the model's classes.
    probabilities: Vec<f32>,
}

async fn predict(server: &Server, name: &str, request: Request) -> Result<Response, Problem> {
    let model = answer::model(server, Some(name))?;
    let (asked, _hold) = body::json::<Asked>(server, request).await?;
    if asked.instances.is_empty() {
        return Err(Problem::bad_request(
            "instances is empty; expected at least one image",
        ));
    }
    let images = asked.instances.into_iter().enumerate();
    let images = images.map(|(index, Object(instance))| {
        match (instance.b64, instance.image_bytes) {
            (Some(Encoded(image)), None)
            | (None, Some(Object(Wrapped { b64: Encoded(image) }))) => Ok(Input::Image(image)),
            _ => Err(Problem::bad_request(format!(
                r#"instances[{index}] is not as expected; give {{"b64": "…"}} or {{"image_bytes": {{"b64": "…"}}}}"#
            ))),
        }
    });
    let images: Vec<Input> = images.collect::<Result<_, _>>()?;
    let answers = model.logits(images).await?;
    let mut predictions = Vec::with_capacity(answers.len());
    for (index, answer) in answers.into_iter().enumerate() {
        let logits = answer.map_err(|problem| {
            Problem::bad_request(format!("instances[{index}] cannot be used: {problem}"))
        })?;
        let scores = Scores::new(&model, &logits);
        let best = scores.top(1).swap_remove(0);
        predictions.push(Prediction {
            label: best.label,
            score: best.score,
            probabilities: scores.values,
        });
    }
    Ok(Json(Predictions { predictions }).into_response())
}
