//! The signals to a server: to end, to end at once, and to read the weights again.

use std::io;
use std::sync::Arc;

use serve::Server;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(unix)]
use tokio::task::spawn_blocking;

use super::models::Models;

/// Signals that were sent since [`Signals::listen`].
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    hang_up: Signal,
}

impl Signals {
    /// From now on no signal ends the process by itself.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to end. Meanwhile each SIGHUP reads the weights again. Afterwards a second signal to end
    /// ends the process.
    #[cfg(unix)]
    pub(super) async fn ended(self, server: Server, models: Arc<Models>) {
        let Self {
            mut terminate,
            mut interrupt,
            mut hang_up,
        } = self;
        tokio::spawn(async move {
            while hang_up.recv().await.is_some() {
                reload(&server, &models).await;
            }
        });
        let mut asked = async move || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        asked().await;
        tokio::spawn(async move {
            asked().await;
            std::process::exit(130);
        });
    }

    /// Waits for Ctrl-C. A second one ends the process.
    #[cfg(not(unix))]
    pub(super) async fn ended(self, _: Server, _: Arc<Models>) {
        // Without a handler for Ctrl-C the server runs on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    }
}

/// Reads the weights again. If a file cannot be read, all old networks stay.
#[cfg(unix)]
async fn reload(server: &Server, models: &Arc<Models>) {
    let (server, models) = (server.clone(), Arc::clone(models));
    let reloaded = spawn_blocking(move || -> anyhow::Result<()> {
        server.reload(models.load()?)?;
        Ok(())
    });
    match reloaded.await {
        Ok(Ok(())) => tracing::info!("the weights were read again"),
        Ok(Err(error)) => tracing::error!("the old networks stay: {error:#}"),
        Err(error) => tracing::error!("the old networks stay: {error}"),
    }
}
