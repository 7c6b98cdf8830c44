//! Handshakes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take when nothing else is said: as long as Go's servers give to headers.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client did not finish its handshake in time.
    #[error("no TLS handshake within {limit:?}")]
    TooSlow {
        /// The time it had.
        limit: Duration,
    },
    /// The handshake failed: no TLS, nothing in common, a certificate that does not verify, or a lost
    /// connection. One of a [`rustls::Error`] is inside.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
}

/// Takes clients' connections with the configuration of the moment. Clones share it: what is swapped in one is
/// swapped in all.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<ArcSwap<ServerConfig>>,
    limit: Duration,
}

impl Acceptor {
    /// With this configuration, until another one comes.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Acceptor {
        Acceptor { config: Arc::new(ArcSwap::new(config)), limit: HANDSHAKE_LIMIT }
    }

    /// The same, with another limit on the time of a handshake.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Acceptor {
        Acceptor { limit, ..self }
    }

    /// The configuration of new handshakes.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Uses another configuration for the handshakes that begin from now on. Connections that are there, and
    /// handshakes under way, go on with the one that they began with.
    pub fn swap(&self, config: Arc<ServerConfig>) {
        self.config.store(config);
    }

    /// Does the handshake. Cancel-safe in that the connection is closed.
    ///
    /// # Errors
    /// [`AcceptError`]; the connection is closed then.
    pub async fn accept<IO>(&self, io: IO) -> Result<TlsStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.config()).accept(io);
        match tokio::time::timeout(self.limit, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(AcceptError::Handshake(error)),
            Err(_) => Err(AcceptError::TooSlow { limit: self.limit }),
        }
    }
}
