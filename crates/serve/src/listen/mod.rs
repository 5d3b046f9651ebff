//! Connections: the accept loop, limits for slow and for many clients, and the graceful end.

mod connection;
mod door;
mod service;
mod stage;
mod stream;
mod watchdog;

#[cfg(test)]
mod tests;

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use self::door::Door;
use crate::Server;

/// Limits on connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most connections at a time. A further one takes the place of the one that has been idle for longest. If none
    /// is idle, it waits.
    pub connections: usize,
    /// The largest head of a request in bytes.
    pub head_size: usize,
    /// The time in which the head of a request must arrive, and a new connection's first byte.
    pub head_timeout: Duration,
    /// The time in which a whole request must arrive.
    pub receive_timeout: Duration,
    /// The time in which a client must take an answer.
    pub answer_timeout: Duration,
    /// The longest time between an answer and the next request of the same connection.
    pub idle_timeout: Duration,
    /// The longest time of the graceful end.
    pub end_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Systems often allow a process 1024 open files.
            connections: 768,
            head_size: 32 << 10,
            head_timeout: Duration::from_secs(10),
            receive_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(30),
            // Longer than the 60 seconds of most proxies, so that they close first.
            idle_timeout: Duration::from_secs(75),
            end_timeout: Duration::from_secs(30),
        }
    }
}

/// The pause after the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// The time between two log lines about that.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Serves connections until `shutdown` is ready, then ends gracefully. Returns the number of requests that were cut off.
///
/// At the end the server says that it is not ready. Connections that the system has accepted are served, and requests
/// that have begun are answered, with `Connection: close`. Connections without a request are closed a moment later.
/// After [`Limits::end_timeout`] the rest is cut off.
pub async fn listen(
    listener: TcpListener,
    server: &Server,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let mut door = Door::new(server.router(), limits);
    let mut logged: Option<Instant> = None;
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = door.reap() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let is_over = door.make_room(shutdown.as_mut()).await;
                door.admit(prompt(stream));
                if is_over {
                    break;
                }
            }
            // The client has gone.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                if logged.is_none_or(|logged| logged.elapsed() > LOG_EVERY) {
                    tracing::error!("cannot accept connections, trying again: {error}");
                    logged = Some(Instant::now());
                }
                door.close_an_idle_one();
                tokio::select! {
                    () = door.reap() => {}
                    () = sleep(PAUSE) => {}
                    () = &mut shutdown => break,
                }
            }
        }
    }
    server.close();
    door.close();
    for stream in backlog(listener) {
        door.admit(prompt(stream));
    }
    door.ended().await
}

/// Whether this error of `accept` is about one connection only.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// A stream that sends small answers at once.
fn prompt(stream: TcpStream) -> TcpStream {
    // Without it, answers are only slower.
    let _ = stream.set_nodelay(true);
    stream
}

/// The connections that the system has accepted and the server has not. The listener is closed.
fn backlog(listener: TcpListener) -> Vec<TcpStream> {
    // Unlike tokio's listener, the system's says for certain that none is left.
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let mut streams = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let stream = stream.set_nonblocking(true).map(|()| stream);
                streams.extend(stream.and_then(TcpStream::from_std).ok());
            }
            Err(error) if is_of_client(&error) => {}
            Err(_) => return streams,
        }
    }
}
