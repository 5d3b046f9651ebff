//! The service of a connection: the router, with limits on the arrival of requests.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::time::Instant;

use super::stage::Watched;
use crate::http::Problem;

/// Answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) router: Router,
    pub(super) watched: Arc<Watched>,
    /// Whether the server ends.
    pub(super) is_ending: watch::Receiver<bool>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

impl Service {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let watched = &self.watched;
        let called = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            let path = request.uri().path().to_owned();
            (Instant::now(), request.method().clone(), path)
        });
        watched.request(!request.body().is_end_stream());
        let request = request.map(|body| Received {
            body,
            watched: Arc::clone(watched),
        });
        let mut answer = TowerToHyperService::new(self.router).call(request);
        let mut answer = in_time(watched, Pin::new(&mut answer)).await;
        if *self.is_ending.borrow() {
            close(&mut answer);
        }
        if let Some((start, method, path)) = called {
            let (status, time) = (answer.status().as_u16(), start.elapsed());
            tracing::debug!("{method} {path} {status} {time:?}");
        }
        watched.answer();
        let watched = Arc::clone(watched);
        Ok(answer.map(|body| Answer { body, watched }))
    }
}

/// The handler's answer, or another if the request takes too long to arrive.
async fn in_time<F>(watched: &Watched, mut answer: Pin<&mut F>) -> Response<Body>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    // The watchdog belongs to the same task, which it runs once more.
    poll_fn(|cx| match watched.is_late() {
        true => Poll::Ready(late()),
        false => answer.as_mut().poll(cx).map(|Ok(answer)| answer),
    })
    .await
}

fn late() -> Response<Body> {
    let detail = "the request took too long to arrive; send it faster, or a smaller one";
    let mut answer = Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response();
    close(&mut answer);
    answer
}

/// Makes this answer the connection's last one.
fn close(answer: &mut Response<Body>) {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
}

/// The body of a request, which reports its arrival.
struct Received {
    body: Incoming,
    watched: Arc<Watched>,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        if frame.is_none() || self.body.is_end_stream() {
            self.watched.received();
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which reports that it was handed over.
pub(super) struct Answer {
    body: Body,
    watched: Arc<Watched>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watched.answer_given();
    }
}
