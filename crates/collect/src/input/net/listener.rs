//! Connections: accepted as long as there is room for them, each in a task of its own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use fleet_service::tls::Acceptor;

use super::accept::accept;
use super::connection::{self, Ended, Reading};
use super::shared::Shared;

/// A socket that takes connections.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// With its path, which is what is known of who connects.
    Unix(UnixListener, String),
}

/// A connection of any kind.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Socket>, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((Box::new(socket), peer.to_string()))
            }
            Listener::Unix(listener, path) => {
                let (socket, _) = listener.accept().await?;
                Ok((Box::new(socket), path.clone()))
            }
        }
    }
}

/// How connections are served.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) reading: Reading,
    pub(super) tls: Option<Acceptor>,
    pub(super) connections: usize,
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Service").field("reading", &self.reading).finish_non_exhaustive()
    }
}

/// Accepts until the input is to stop, and then waits for the connections: all of them see the same token.
pub(super) async fn serve(listener: &Listener, service: Service, shared: &Arc<Shared>) {
    let service = Arc::new(service);
    let serving = |(socket, source): (Box<dyn Socket>, String)| {
        let (service, shared) = (Arc::clone(&service), Arc::clone(shared));
        async move {
            shared.counts.connections.fetch_add(1, Ordering::Relaxed);
            one(socket, &source, &service, &shared).await;
            shared.counts.connections.fetch_sub(1, Ordering::Relaxed);
        }
    };
    let stop = shared.context.stop.clone();
    let mut left = accept(service.connections, &stop, || listener.accept(), serving).await;
    while left.join_next().await.is_some() {}
}

async fn one(socket: Box<dyn Socket>, source: &str, service: &Service, shared: &Arc<Shared>) {
    let ended = match &service.tls {
        None => connection::serve(socket, source, &service.reading, shared).await,
        Some(acceptor) => {
            let accepted = tokio::select! {
                biased;
                accepted = acceptor.accept(socket) => accepted,
                () = shared.context.stop.cancelled() => return,
            };
            match accepted {
                Ok(socket) => connection::serve(socket, source, &service.reading, shared).await,
                Err(error) => {
                    shared.counts.refused.fetch_add(1, Ordering::Relaxed);
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(source, error, "a connection came to nothing");
                    return;
                }
            }
        }
    };
    match ended {
        Ok(()) | Err(Ended::Closed(_)) => {}
        Err(error @ Ended::NoRoom(_)) => {
            shared.counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(source, error = &error as &dyn std::error::Error, "a connection was closed");
        }
        Err(error) => {
            tracing::debug!(source, error = &error as &dyn std::error::Error, "a connection ended");
        }
    }
}
