//! `POST /v1/predict`: an image file as the body, or several in a form.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::answer::{self, Scored, Scores, TopK};
use super::body;
use super::kind::Kind;
use super::problem::Problem;
use super::query::Query;
use crate::Server;
use crate::room::{Input, Model};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    model: Option<String>,
    top_k: Option<TopK>,
    #[serde(default)]
    probabilities: bool,
}

#[derive(Serialize)]
struct Predicted<'m> {
    label: &'m str,
    score: f32,
    top_k: Vec<Scored<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Scores<'m>>,
}

impl<'m> Predicted<'m> {
    fn new(model: &'m Model, logits: &[f32], asked: &Asked) -> Self {
        let scores = Scores::new(model, logits);
        let top_k = scores.top(TopK::or_default(asked.top_k));
        Self {
            label: top_k[0].label,
            score: top_k[0].score,
            top_k,
            probabilities: asked.probabilities.then_some(scores),
        }
    }
}

#[derive(Serialize)]
struct One<'m> {
    model: &'m str,
    #[serde(flatten)]
    predicted: Predicted<'m>,
}

#[derive(Serialize)]
struct Several<'m> {
    model: &'m str,
    images: Vec<Named<'m>>,
}

#[derive(Serialize)]
struct Named<'m> {
    name: &'m str,
    #[serde(flatten)]
    result: Found<'m>,
}

/// An answer, or the problem with the image.
#[derive(Serialize)]
#[serde(untagged)]
enum Found<'m> {
    Predicted(Predicted<'m>),
    Problem { error: String },
}

pub(super) async fn predict(
    State(server): State<Server>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, Problem> {
    let model = answer::model(&server, asked.model.as_deref())?;
    let kind = Kind::of(request.headers(), &[Kind::Binary, Kind::Form])?;
    if kind == Kind::Form {
        return several(&server, &model, &asked, request).await;
    }
    let (image, _hold) = body::read(&server, request).await?;
    let logits = answer::logits(&model, image).await?;
    let one = One {
        model: model.name(),
        predicted: Predicted::new(&model, &logits, &asked),
    };
    Ok(Json(one).into_response())
}

/// The answers for the files of a form. A bad image has a problem in its place.
async fn several(
    server: &Server,
    model: &Model,
    asked: &Asked,
    request: Request,
) -> Result<Response, Problem> {
    let parts = body::form(server, request).await?;
    if parts.is_empty() {
        return Err(Problem::bad_request(
            "the form has no parts; send each image file as a part of its own",
        ));
    }
    let (names, images): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let inputs = images.into_iter().map(Input::Image).collect();
    let answers = model.logits(inputs).await?;
    let each = names.iter().zip(answers);
    let images = each.map(|(name, answer)| Named {
        name,
        result: match answer {
            Ok(logits) => Found::Predicted(Predicted::new(model, &logits, asked)),
            Err(error) => Found::Problem { error },
        },
    });
    let several = Several {
        model: model.name(),
        images: images.collect(),
    };
    Ok(Json(several).into_response())
}
