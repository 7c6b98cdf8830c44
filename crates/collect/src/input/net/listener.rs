//! Connections: accepted as long as there is room for them, each in a task of its own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use fleet_service::tls::Acceptor;

use super::connection::{self, Ended, Reading};
use super::shared::Shared;

/// After an error of the system, such as no descriptors left, this much later comes the next try.
const PAUSE: Duration = Duration::from_secs(1);

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

/// Accepts until the input is to stop. While there are as many connections as are allowed, others wait in the
/// system's queue.
pub(super) async fn serve(listener: &Listener, service: Service, shared: &Arc<Shared>) {
    let stop = shared.context.stop.clone();
    let room = Arc::new(Semaphore::new(service.connections));
    let service = Arc::new(service);
    let mut tasks = JoinSet::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let (Ok(permit), Ok((socket, source))) = (permit, accepted.inspect_err(tell)) else {
            if shared.context.pause(PAUSE).await {
                break;
            }
            continue;
        };
        let (service, shared) = (Arc::clone(&service), Arc::clone(shared));
        tasks.spawn(async move {
            shared.counts.connections.fetch_add(1, Ordering::Relaxed);
            one(socket, &source, &service, &shared).await;
            shared.counts.connections.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
        });
    }
    // All of them see the same token.
    while tasks.join_next().await.is_some() {}
}

fn tell(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection; trying again");
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
