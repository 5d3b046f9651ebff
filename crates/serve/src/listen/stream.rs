//! A client's stream. It reports arrived and sent bytes, and reads the rest of a refused request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stage::Watched;

pub(super) struct Stream<S> {
    inner: S,
    watched: Arc<Watched>,
    end: End,
}

/// The steps of the end of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The rest of a request is read.
    Lingering,
    Closed,
}

impl<S> Stream<S> {
    pub(super) fn new(inner: S, watched: Arc<Watched>) -> Self {
        Self {
            inner,
            watched,
            end: End::Open,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.watched.bytes();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes a stream when it has handed over all its bytes.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.watched.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end == End::Open {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.end = match self.watched.finished() {
                true => End::Lingering,
                false => End::Closed,
            };
        }
        let mut space = [0; 16 << 10];
        while self.end == End::Lingering {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                self.end = End::Closed;
            }
        }
        Poll::Ready(Ok(()))
    }
}
