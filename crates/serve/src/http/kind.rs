//! The type of a body.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::problem::Problem;

/// The type of a body by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// `image/…`, `application/octet-stream`, or no type.
    Binary,
    Json,
    /// `multipart/form-data`.
    Form,
}

impl Kind {
    /// The type of this request's body.
    ///
    /// # Errors
    /// Status 415 for a type that is not among `expected`, and for a compressed body.
    pub(super) fn of(headers: &HeaderMap, expected: &'static [Kind]) -> Result<Kind, Problem> {
        let codings = headers.get_all(header::CONTENT_ENCODING).iter();
        for coding in codings {
            if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
                let detail =
                    format!("the body is encoded as {coding:?}; send it without Content-Encoding");
                return Err(
                    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).with_header(
                        header::ACCEPT_ENCODING,
                        HeaderValue::from_static("identity"),
                    ),
                );
            }
        }
        let Some(found) = headers.get(header::CONTENT_TYPE) else {
            return Ok(expected[0]);
        };
        let text = found.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        let kind = match &*essence {
            "application/octet-stream" => Some(Kind::Binary),
            "application/json" => Some(Kind::Json),
            "multipart/form-data" => Some(Kind::Form),
            other if other.starts_with("image/") => Some(Kind::Binary),
            _ => None,
        };
        kind.filter(|kind| expected.contains(kind)).ok_or_else(|| {
            let types: Vec<&str> = expected.iter().map(|kind| kind.types()).collect();
            Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "the Content-Type is {found:?}; expected {}",
                    types.join(" or ")
                ),
            )
        })
    }

    fn types(self) -> &'static str {
        match self {
            Kind::Binary => "image/png, image/jpeg, another image type, application/octet-stream",
            Kind::Json => "application/json",
            Kind::Form => "multipart/form-data",
        }
    }
}
