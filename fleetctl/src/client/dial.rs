//! Connections to the API, by whatever way leads there.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

/// A connection in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("dial {network} {address}: connect")]
    Connect {
        network: &'static str,
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup { host: String },
    #[error("{host:?} cannot be the name of a TLS server")]
    ServerName { host: String },
    #[error("TLS with {host}")]
    Tls {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("through the tunnel")]
    Tunnel {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A way to the API.
#[async_trait::async_trait]
pub(crate) trait Dial: Send + Sync + fmt::Debug {
    /// Opens a connection.
    async fn dial(&self) -> Result<Box<dyn Stream>, DialError>;

    /// How many connections may be open at the same time.
    fn limit(&self) -> usize {
        8
    }
}

/// To a socket in the file system.
#[derive(Debug)]
pub(crate) struct Unix {
    pub(crate) path: PathBuf,
}

#[async_trait::async_trait]
impl Dial for Unix {
    async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| DialError::Connect {
            network: "unix",
            address: self.path.display().to_string(),
            source,
        })?;
        Ok(Box::new(stream))
    }
}

/// To a TCP port, at the first of the host's addresses that answers.
#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
}

#[async_trait::async_trait]
impl Dial for Tcp {
    async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        Ok(Box::new(connect_tcp(&self.host, self.port).await?))
    }
}

/// Connects to `host:port`.
pub(crate) async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let unknown = || DialError::Lookup { host: host.to_owned() };
    let addresses = lookup_host((host, port)).await.map_err(|_| unknown())?;
    let mut failure = unknown();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it a small request could wait for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(source) => {
                failure = DialError::Connect { network: "tcp", address: address.to_string(), source }
            }
        }
    }
    Err(failure)
}

/// TLS over another way.
pub(crate) struct Tls {
    pub(crate) inner: Box<dyn Dial>,
    pub(crate) host: String,
    pub(crate) config: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("inner", &self.inner)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Dial for Tls {
    async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| DialError::ServerName { host: self.host.clone() })?;
        let stream = self.inner.dial().await?;
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
            .map_err(|source| DialError::Tls { host: self.host.clone(), source })?;
        Ok(Box::new(stream))
    }

    fn limit(&self) -> usize {
        self.inner.limit()
    }
}
