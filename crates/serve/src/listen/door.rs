//! The connections of a server.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::service::Service;
use super::stage::Watched;
use super::{Limits, connection};

/// The time after which a waiting connection looks for an idle one again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// All connections, each a task.
pub(super) struct Door {
    router: Router,
    limits: Arc<Limits>,
    tasks: JoinSet<()>,
    connections: HashMap<Id, Connection>,
    is_ending: watch::Sender<bool>,
}

struct Connection {
    task: AbortHandle,
    watched: Arc<Watched>,
}

impl Door {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        Self {
            router,
            limits: Arc::new(limits),
            tasks: JoinSet::new(),
            connections: HashMap::new(),
            is_ending: watch::Sender::new(false),
        }
    }

    /// Serves a connection.
    pub(super) fn admit<S>(&mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let watched = Arc::new(Watched::new());
        let service = Service {
            router: self.router.clone(),
            watched: Arc::clone(&watched),
            is_ending: self.is_ending.subscribe(),
        };
        let connection = connection::serve(stream, service, Arc::clone(&self.limits));
        let task = self.tasks.spawn(connection);
        let connection = Connection { task, watched };
        self.connections.insert(connection.task.id(), connection);
    }

    /// Waits for the end of a connection, for ever if there is none.
    pub(super) async fn reap(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.forget(ended),
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.connections.remove(&id);
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!("a request has failed: {error}");
        }
    }

    /// Waits until there is room for one more connection. Closes an idle one if needed. Returns whether `shutdown` came
    /// before; it must not be polled again then.
    pub(super) async fn make_room(
        &mut self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(ended);
        }
        while self.tasks.len() >= self.limits.connections {
            self.close_an_idle_one();
            tokio::select! {
                () = self.reap() => {}
                () = sleep(LOOK_AGAIN) => {}
                () = &mut shutdown => return true,
            }
        }
        false
    }

    /// Closes the connection that has been idle for longest.
    pub(super) fn close_an_idle_one(&mut self) {
        let now = Instant::now();
        let connections = self.connections.values();
        let idle = connections.filter_map(|one| Some((one.watched.idleness(now)?, one)));
        if let Some((_, connection)) = idle.max_by_key(|(idleness, _)| *idleness) {
            connection.task.abort();
        }
    }

    /// From now on each answer is its connection's last one.
    pub(super) fn close(&self) {
        self.is_ending.send_replace(true);
    }

    /// Waits for the end of all connections, but not too long. Returns the number of requests that were cut off.
    pub(super) async fn ended(mut self) -> usize {
        let limit = self.limits.end_timeout;
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.forget(ended);
            }
        };
        if timeout(limit, all).await.is_ok() {
            return 0;
        }
        let connections = self.connections.values();
        let cut = connections.filter(|one| one.watched.is_busy()).count();
        self.tasks.shutdown().await;
        cut
    }
}
