//! `classify serve`: trained networks over HTTP.

mod models;
mod signals;
mod token;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Context;
use serve::{Limits, Server, Settings};
use tokio::net::{TcpListener, TcpSocket};

use self::models::Models;
use self::signals::Signals;
use crate::args::ServeArgs;
use crate::terminal::Terminal;

/// The most connections that wait to be accepted; Linux allows 4096 by default.
const BACKLOG: u32 = 4096;

/// Threads for blocking work besides those that decode.
const SPARE_THREADS: usize = 2;

pub(crate) fn serve(args: ServeArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let settings = settings(&args)?;
    let address = SocketAddr::new(args.host, args.port);
    if !args.host.is_loopback() && settings.token.is_none() {
        tracing::warn!(
            "everyone who reaches {} may send requests; --token-file FILE asks for a token",
            args.host
        );
    }
    let models = Models::start(args, terminal.clone())?;
    let server = Server::new(models.load()?, settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(models.threads())
        // Decoders, and threads for long JSON and for reloads. Each thread keeps some memory, and there could be 512.
        .max_blocking_threads(models.threads() + SPARE_THREADS)
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    let served = runtime.block_on(listen(address, server, Arc::new(models)));
    // A request that was cut off may still compute; the end of the process need not wait for it.
    runtime.shutdown_background();
    served
}

/// Serves until a signal asks for the end.
async fn listen(address: SocketAddr, server: Server, models: Arc<Models>) -> anyhow::Result<()> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let listener = bound(address).with_context(|| cannot_listen(address))?;
    let address = listener.local_addr()?;
    {
        let mut out = super::stdout();
        writeln!(out, "listening on http://{address}")?;
        out.flush()?;
    }
    let ended = serve::listen(
        listener,
        &server,
        Limits::default(),
        signals.ended(server.clone(), models),
    );
    let cut = ended.await;
    if cut > 0 {
        tracing::warn!("{cut} requests took too long and were cut off");
    }
    Ok(())
}

/// A listener with room for many connections that are not accepted yet.
fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Otherwise the port is taken for a minute after a server has ended. On Windows this would let two servers share it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn cannot_listen(address: SocketAddr) -> String {
    format!("cannot listen on {address}; --port N chooses another port, and --port 0 a free one")
}

fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    let decoders = NonZeroUsize::new(trainer::cpu_threads(args.network.threads));
    let decoders = decoders.unwrap_or(NonZeroUsize::MIN);
    let token = args.token_file.as_deref().map(token::read).transpose()?;
    Ok(Settings {
        max_batch: args.max_batch,
        max_wait: args.max_wait,
        queue: args.queue,
        body_limit: args.body_limit.get(),
        decoders,
        decode: args.decode.into(),
        allowed_hosts: args.allowed_host.clone(),
        token,
        ..Settings::default()
    })
}
