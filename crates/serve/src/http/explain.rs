//! `POST /v1/explain`: the places of an image that speak for a class.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use classifier::Image;
use serde::{Deserialize, Serialize};

use super::answer;
use super::body;
use super::kind::Kind;
use super::problem::Problem;
use super::query::Query;
use crate::Server;
use crate::room::Model;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    model: Option<String>,
    /// The name of a class; without it, the predicted class is explained.
    class: Option<String>,
}

#[derive(Serialize)]
struct Explained<'m> {
    model: &'m str,
    label: &'m str,
    score: f32,
    layer: &'m str,
    height: usize,
    width: usize,
    map: &'m [f32],
    /// The image as the network sees it, a PNG file as a data URL.
    seen: String,
}

pub(super) async fn explain(
    State(server): State<Server>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, Problem> {
    let model = answer::model(&server, asked.model.as_deref())?;
    let class = match &asked.class {
        Some(name) => Some(class(&model, name)?),
        None => None,
    };
    Kind::of(request.headers(), &[Kind::Binary])?;
    let (image, _hold) = body::read(&server, request).await?;
    let explained = model.explain(image, class).await?;
    let explained = explained.map_err(answer::bad_image)?;
    let found = &explained.explanation;
    Ok(Json(Explained {
        model: model.name(),
        label: &model.classifier().class_names()[found.class],
        score: found.probability,
        layer: &found.layer,
        height: found.height,
        width: found.width,
        map: &found.map,
        seen: data_url(&explained.seen)?,
    })
    .into_response())
}

fn class(model: &Model, name: &str) -> Result<usize, Problem> {
    let names = model.classifier().class_names();
    names.iter().position(|other| other == name).ok_or_else(|| {
        Problem::not_found(format!(
            "no class of {} is called {name:?}; GET /v1/models lists the classes",
            model.name()
        ))
    })
}

fn data_url(image: &Image) -> Result<String, Problem> {
    let png = image.to_png().map_err(|error| {
        let detail = format!("the image cannot be written as PNG: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}
