//! The answer to an inference request.

use axum::body::Bytes;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use classifier::ranked;
use serde::Serialize;

use super::LOGITS;
use super::request::Form;
use crate::http::problem::Problem;
use crate::room::Model;

/// The length of the JSON before binary data, of a request and of a response.
pub(super) const JSON_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

#[derive(Serialize)]
struct Answered<'m> {
    model_name: &'m str,
    model_version: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m str>,
    outputs: [OutputTensor; 1],
}

#[derive(Serialize)]
struct OutputTensor {
    name: &'static str,
    datatype: &'static str,
    shape: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Logits(Vec<f32>),
    /// `score:index:label` of the classes with the largest logits.
    Classes(Vec<String>),
}

impl Data {
    fn new(model: &Model, rows: &[Vec<f32>], classes: Option<u32>) -> Self {
        let Some(count) = classes else {
            return Data::Logits(rows.concat());
        };
        let names = model.classifier().class_names();
        let best = rows.iter().flat_map(|row| {
            let order = ranked(row).into_iter().take(count as usize);
            order.map(|class| format!("{}:{class}:{}", row[class], names[class]))
        });
        Data::Classes(best.collect())
    }

    fn datatype(&self) -> &'static str {
        match self {
            Data::Logits(_) => "FP32",
            Data::Classes(_) => "BYTES",
        }
    }

    fn len(&self) -> usize {
        match self {
            Data::Logits(values) => values.len(),
            Data::Classes(texts) => texts.len(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Data::Logits(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Data::Classes(texts) => {
                let mut bytes = Vec::new();
                for text in texts {
                    bytes.extend((text.len() as u32).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
                bytes
            }
        }
    }
}

/// The response with the logits of each image.
pub(super) fn response(
    model: &Model,
    id: Option<&str>,
    rows: &[Vec<f32>],
    form: Form,
) -> Result<Response, Problem> {
    let data = Data::new(model, rows, form.classes);
    let binary = form.is_binary.then(|| data.to_bytes());
    let answered = Answered {
        model_name: model.name(),
        model_version: model.version(),
        id,
        outputs: [OutputTensor {
            name: LOGITS,
            datatype: data.datatype(),
            shape: [rows.len(), data.len() / rows.len()],
            parameters: binary.as_ref().map(|binary| BinarySize {
                binary_data_size: binary.len(),
            }),
            data: binary.is_none().then_some(data),
        }],
    };
    let Some(binary) = binary else {
        return Ok(axum::Json(answered).into_response());
    };
    let mut body = serde_json::to_vec(&answered).map_err(|error| {
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, format!("the answer cannot be written: {error}"))
    })?;
    let length = body.len();
    body.extend(binary);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (JSON_LENGTH, length.to_string()),
    ];
    Ok((headers, Bytes::from(body)).into_response())
}
