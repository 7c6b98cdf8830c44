//! Where the gRPC server listens, and who may connect.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::authority::Registry;
use super::endpoint::Endpoint;

/// So many handshakes at a time: components are few, others have no business here.
const MOST_HANDSHAKES: usize = 32;
/// A handshake may take so long.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a supervisor listens for its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this address; port 0 is any free one.
    Tcp(SocketAddr),
    /// On a socket in the file system. Not all components know that.
    Unix(PathBuf),
}

/// The component at the other end of a connection: its certificate says so.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) Arc<Endpoint>);

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) async fn bind(listen: &Listen) -> io::Result<Listener> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            Listen::Unix(path) => {
                // Left behind by an agent that was killed.
                let _ = std::fs::remove_file(path);
                UnixListener::bind(path).map(Listener::Unix)
            }
        }
    }

    /// As components are told.
    pub(super) fn address(&self, listen: &Listen) -> io::Result<String> {
        match (self, listen) {
            (Listener::Tcp(listener), _) => {
                let address = listener.local_addr()?;
                if address.ip().is_loopback() && address.is_ipv4() {
                    return Ok(format!("localhost:{}", address.port()));
                }
                Ok(address.to_string())
            }
            (Listener::Unix(_), Listen::Unix(path)) => Ok(format!("unix://{}", path.display())),
            (Listener::Unix(_), Listen::Tcp(_)) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}

/// Accepts connections of components until told to end.
pub(super) async fn accept(
    listener: Listener,
    tls: Arc<ServerConfig>,
    registry: Arc<Registry>,
    accepted: mpsc::Sender<io::Result<Connection>>,
    end: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    loop {
        let next = async {
            let permit = Arc::clone(&handshakes).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let Some((permit, socket)) = end.run_until_cancelled(next).await else { return };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "no component can connect");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, registry, accepted) = (acceptor.clone(), Arc::clone(&registry), accepted.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => match identify(&stream, &registry) {
                    // It ends with the server.
                    Some(peer) => drop(accepted.send(Ok(Connection { stream, peer })).await),
                    None => debug!("somebody connects with the certificate of another component"),
                },
                Ok(Err(error)) => {
                    debug!(error = &error as &dyn std::error::Error, "somebody who is no component connects");
                }
                Err(_) => debug!("a handshake takes too long"),
            }
        });
    }
}

/// The component that was asked for, if it is the one that asks.
fn identify(stream: &TlsStream<Socket>, registry: &Registry) -> Option<Peer> {
    let connection = stream.get_ref().1;
    let endpoint = registry.find(connection.server_name()?)?;
    let shown = connection.peer_certificates()?.first()?;
    let is_own = endpoint.identity.certified.cert.first() == Some(shown);
    is_own.then_some(Peer(endpoint))
}

/// A connection of a component.
pub(super) struct Connection {
    stream: TlsStream<Socket>,
    peer: Peer,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Each call goes to the stream within.
macro_rules! delegate {
    ($self:ident, $method:ident $(, $argument:ident)*) => {
        match $self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Socket::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown, cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
