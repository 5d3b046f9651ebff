//! Labels and scores, as several protocols give them.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Bytes;
use classifier::{ranked, softmax};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::Server;
use crate::room::{Input, Model};

/// Classes in an answer that is not asked for a number of them, as in Hugging Face's.
pub(super) const TOP_K: usize = 5;

/// A number of classes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct TopK(NonZeroU32);

impl TopK {
    pub(super) fn or_default(of: Option<Self>) -> usize {
        of.map_or(TOP_K, |TopK(count)| count.get() as usize)
    }
}

/// A class and its probability.
#[derive(Debug, Serialize)]
pub(super) struct Scored<'m> {
    pub(super) label: &'m str,
    pub(super) score: f32,
}

/// The probabilities of all classes of an image.
pub(super) struct Scores<'m> {
    names: &'m [String],
    pub(super) values: Vec<f32>,
}

impl<'m> Scores<'m> {
    pub(super) fn new(model: &'m Model, logits: &[f32]) -> Self {
        Self {
            names: model.classifier().class_names(),
            values: softmax(logits),
        }
    }

    /// The most probable classes, the most probable first. Of equal ones, the first class comes first.
    pub(super) fn top(&self, count: usize) -> Vec<Scored<'m>> {
        let order = ranked(&self.values).into_iter().take(count);
        let scored = order.map(|class| Scored {
            label: &self.names[class],
            score: self.values[class],
        });
        scored.collect()
    }
}

/// An object: a member for each class, in the order of the outputs.
impl Serialize for Scores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, value) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The model of this name. Without a name, and for `default` if no model is called so, the first one.
///
/// # Errors
/// Status 404 for any other name.
pub(super) fn model(server: &Server, name: Option<&str>) -> Result<Arc<Model>, Problem> {
    let found = server.model(name);
    let found = found.or_else(|| (name == Some("default")).then(|| server.model(None))?);
    found.ok_or_else(|| {
        let models = server.models();
        let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
        Problem::not_found(format!(
            "no model is called {:?}; expected one of: {}",
            name.unwrap_or_default(),
            names.join(", ")
        ))
    })
}

/// The answer for one image file.
///
/// # Errors
/// Status 400 for a file that is no image, and those of the model.
pub(super) async fn logits(model: &Model, image: Bytes) -> Result<Vec<f32>, Problem> {
    let mut answers = model.logits(vec![Input::Image(image)]).await?;
    answers.swap_remove(0).map_err(bad_image)
}

pub(super) fn bad_image(problem: String) -> Problem {
    Problem::bad_request(format!("the image cannot be used: {problem}"))
}
