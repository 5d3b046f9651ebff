//! Counts requests, and adds the headers of every answer.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::Server;

pub(super) async fn measure(
    State(server): State<Server>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    // Paths of clients would make as many counters.
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    let seconds = start.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    server.metrics().request(path, status, seconds);
    response
}
