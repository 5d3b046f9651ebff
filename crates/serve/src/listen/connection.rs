//! One connection, and the watchdog over its stages.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::Limits;
use super::service::Service;
use super::stage::{LINGER, Stage};
use super::stream::Stream;
use super::watchdog::Watchdog;

/// The answer to a head that arrives too slowly. The request is not known yet, so hyper cannot answer it.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves a connection until it ends, or the client is too slow.
pub(super) async fn serve<S>(stream: S, service: Service, limits: Arc<Limits>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (watched, mut is_ending) = (Arc::clone(&service.watched), service.is_ending.clone());
    let stream = TokioIo::new(Stream::new(stream, Arc::clone(&watched)));
    // The watchdog has hyper's timeout for heads, and others.
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(limits.head_size)
        .max_buf_size(2 * limits.head_size)
        .serve_connection(stream, service);
    let mut ending = None;
    let mut told = pin!(async move {
        // Without a sender the server ends too.
        let _ = is_ending.wait_for(|is_ending| *is_ending).await;
    });
    let mut watchdog = Watchdog::new(&watched, &limits);
    let is_late = poll_fn(|cx| {
        if ending.is_none() && told.as_mut().poll(cx).is_ready() {
            ending = Some(Instant::now());
        }
        loop {
            // An error is the client's: it has gone, or it does not speak HTTP.
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            match watchdog.poll_late(cx, ending) {
                Poll::Ready(Stage::Body) if !watched.is_late() => watched.late(),
                Poll::Ready(_) => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    if is_late.await && watched.stage() == Stage::Head {
        let mut stream = connection.into_parts().io.into_inner();
        let refuse = async {
            // These few bytes find room, unless the client reads nothing.
            poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, TOO_SLOW)).await?;
            poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await
        };
        // If the client has gone or reads nothing, the connection ends without an answer.
        let _ = timeout(LINGER, refuse).await;
    }
}
