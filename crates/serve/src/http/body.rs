//! Bodies of requests: their size, and the memory that all of them may take.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Frame;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::json::Object;
use super::kind::Kind;
use super::problem::{Problem, innermost};
use crate::{Server, Settings};

/// JSON of more bytes is parsed on another thread, so that other connections do not wait.
const PARSED_IN_PLACE: usize = 1 << 16;

/// The most memory for a body before it has come.
const RESERVED: usize = 512 << 10;

/// The memory for the bodies of all requests.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// Bytes that are left.
    room: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new(settings: &Settings) -> Self {
        let bytes = settings.body_budget.max(settings.body_limit);
        Self {
            room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
        }
    }
}

fn no_room() -> Problem {
    Problem::unavailable(
        "the bodies of other requests fill the memory for them; send the request again after the seconds in Retry-After",
        1,
    )
}

/// The memory of a body counts until this is dropped, and the bytes too. So it lasts as long as what was made of them.
pub(super) struct Hold {
    _account: Arc<Account>,
}

/// The whole body of a request.
///
/// # Errors
/// Status 413 for more bytes than the limit, before any is read if `Content-Length` says so; 503 if the bodies of other
/// requests leave no room; 400 if the client stops early.
pub(super) async fn read(server: &Server, request: Request) -> Result<(Bytes, Hold), Problem> {
    let length = declared(request.headers()).unwrap_or(0);
    let mut body = Counted::new(server, request)?;
    let account = Arc::clone(&body.account);
    let mut first: Option<Bytes> = None;
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| account.problem(&error))?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers
        };
        if first.is_none() && joined.is_empty() {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            // Not all of a long body at once: an allocator may keep memory between bodies that were given up, and all
            // of it would be written to in the end.
            joined.reserve_exact(length.min(RESERVED).max(first.len() + data.len()));
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    let bytes = account.holding(first.unwrap_or_else(|| joined.into()));
    Ok((bytes, Hold { _account: account }))
}

/// The files of a form, each with its name. The memory of each counts until it is dropped.
///
/// # Errors
/// Those of [`read`]; status 400 for a damaged form, and for parts that are not files.
pub(super) async fn form(
    server: &Server,
    request: Request,
) -> Result<Vec<(String, Bytes)>, Problem> {
    let headers = request.headers().clone();
    let body = Counted::new(server, request)?;
    let account = Arc::clone(&body.account);
    let mut request = Request::new(Body::new(body));
    *request.headers_mut() = headers;
    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
    let damaged = |error: MultipartError| account.problem(&error);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| {
        Problem::bad_request(format!(
            "{}; expected a boundary in the Content-Type of multipart/form-data, as clients set it by themselves",
            error.body_text()
        ))
    })?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(damaged)? {
        let Some(name) = field.file_name().map(str::to_owned) else {
            let name = field.name().unwrap_or_default();
            return Err(Problem::bad_request(format!(
                "the part {name:?} of the form is not a file; send image files alone, and parameters in the query string"
            )));
        };
        let bytes = field.bytes().await.map_err(damaged)?;
        parts.push((name, account.holding(bytes)));
    }
    Ok(parts)
}

/// The body as JSON.
///
/// # Errors
/// Those of [`Kind::of`] and [`read`]; status 400 for anything but the expected JSON.
pub(super) async fn json<T>(server: &Server, request: Request) -> Result<(T, Hold), Problem>
where
    T: DeserializeOwned + Send + 'static,
{
    Kind::of(request.headers(), &[Kind::Json])?;
    let (bytes, hold) = read(server, request).await?;
    Ok((parsed(bytes).await?, hold))
}

/// JSON from bytes.
///
/// # Errors
/// Status 400 for anything but the expected JSON.
pub(super) async fn parsed<T>(bytes: Bytes) -> Result<T, Problem>
where
    T: DeserializeOwned + Send + 'static,
{
    let is_long = bytes.len() > PARSED_IN_PLACE;
    let parse = move || serde_json::from_slice(&bytes).map(|Object(value)| value);
    let parsed = match is_long {
        true => tokio::task::spawn_blocking(parse).await,
        false => Ok(parse()),
    };
    // The task is not cancelled; it fails if the server ends.
    let parsed = parsed.map_err(|_| Problem::from(crate::room::Refused::Closed))?;
    parsed.map_err(|error| {
        Problem::bad_request(format!("the JSON of the body is not as expected: {error}"))
    })
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    // A length that does not fit is too large in any case.
    Some(length.parse().unwrap_or(usize::MAX))
}

/// A body whose bytes are counted as they come.
struct Counted {
    body: Body,
    /// Bytes that may still come.
    left: usize,
    limit: usize,
    room: Arc<Semaphore>,
    account: Arc<Account>,
}

/// The memory that a body takes, and the problem with it.
#[derive(Default)]
struct Account {
    place: Mutex<Option<OwnedSemaphorePermit>>,
    problem: Mutex<Option<Problem>>,
}

impl Account {
    /// The problem that ended the body, or else this error of reading it.
    fn problem(&self, error: &dyn std::error::Error) -> Problem {
        let known = self
            .problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        known.unwrap_or_else(|| {
            let error = innermost(error);
            Problem::bad_request(format!(
                "the body cannot be read: {error}; send it again, whole"
            ))
        })
    }

    /// The bytes, which count until the last clone of them is dropped.
    fn holding(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            _account: Arc::clone(self),
        })
    }
}

struct Held {
    bytes: Bytes,
    _account: Arc<Account>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Counted {
    fn new(server: &Server, request: Request) -> Result<Self, Problem> {
        let length = declared(request.headers());
        let limit = server.settings().body_limit;
        let room = &server.bodies().room;
        if length.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        if length.is_some_and(|length| length > room.available_permits()) {
            return Err(no_room());
        }
        Ok(Self {
            body: request.into_body(),
            left: limit,
            limit,
            room: Arc::clone(room),
            account: Arc::default(),
        })
    }

    /// Counts bytes that have come.
    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| too_large(self.limit))?;
        let permits = u32::try_from(bytes).map_err(|_| no_room())?;
        let room = Arc::clone(&self.room);
        let more = room
            .try_acquire_many_owned(permits)
            .map_err(|_| no_room())?;
        let place = self.account.place.lock();
        let mut place = place.unwrap_or_else(PoisonError::into_inner);
        match &mut *place {
            Some(place) => place.merge(more),
            None => *place = Some(more),
        }
        Ok(())
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body has more than {limit} bytes, the limit of this server; send less"),
    )
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(problem) = self.count(data.len())
        {
            let known = self.account.problem.lock();
            *known.unwrap_or_else(PoisonError::into_inner) = Some(problem);
            return Poll::Ready(Some(Err(axum::Error::new("the body is refused"))));
        }
        Poll::Ready(frame)
    }
}
