//! The page at `/`: draw a digit, or try pictures. It needs no build step and asks no other host.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

/// Scripts and styles come only from this server, and requests go only to it. `data:` and `blob:` are for pictures.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and text of each file.
macro_rules! files {
    ($($path:literal $kind:ident $file:literal),* $(,)?) => {
        [$(($path, $kind, include_str!($file))),*]
    };
}

pub(crate) const FILES: [(&str, &str, &str); 12] = files![
    "/" HTML "index.html",
    "/page/style.css" CSS "style.css",
    "/page/main.js" SCRIPT "main.js",
    "/page/api.js" SCRIPT "api.js",
    "/page/camera.js" SCRIPT "camera.js",
    "/page/csv.js" SCRIPT "csv.js",
    "/page/dom.js" SCRIPT "dom.js",
    "/page/draw.js" SCRIPT "draw.js",
    "/page/heat.js" SCRIPT "heat.js",
    "/page/mnist.js" SCRIPT "mnist.js",
    "/page/pad.js" SCRIPT "pad.js",
    "/page/photos.js" SCRIPT "photos.js",
];

/// The routes of the page's files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let add = |router: Router<S>, (path, kind, text)| router.route(path, file(kind, text));
    FILES.into_iter().fold(Router::new(), add)
}

fn file<S: Clone + Send + Sync + 'static>(
    kind: &'static str,
    text: &'static str,
) -> MethodRouter<S> {
    let answer = move || async move {
        let headers = [
            (CONTENT_TYPE, kind),
            // Another version of the server may have other files at the same paths.
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
        ];
        (headers, text).into_response()
    };
    get(answer)
}
