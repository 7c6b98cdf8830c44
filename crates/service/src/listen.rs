//! Listening sockets, unix and TCP, as one.
//!
//! They come from systemd, which opened them before the daemon started and holds them while it is restarted,
//! or from addresses in the configuration. Whoever serves them need not know which.

mod address;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use listenfd::ListenFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

pub use address::{Address, AddressError};
use unix::SocketFile;

/// How long to wait before the next attempt when no connection can be accepted for want of descriptors or
/// memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Another process answers at this path.
    #[error("cannot listen on {address}: another process does")]
    InUse {
        /// The address.
        address: String,
    },
    /// systemd passed something that is no stream socket, neither unix nor TCP.
    #[error("socket {index} that systemd passed is neither a unix nor a TCP stream socket (ListenStream=)")]
    Kind {
        /// Counted from 0, in the order of the socket unit.
        index: usize,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A socket cannot be used by the runtime.
    #[error("cannot use socket {address}")]
    Use {
        /// The address.
        address: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: String,
    /// Removes the file of a unix socket at the end, if it is ours and not systemd's.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// All sockets that systemd has passed to this process, in the order of the socket unit. There are none without
/// systemd. The second call finds none: the first one takes the sockets and forgets the variables that
/// announce them, so that children do not take them too. For the latter reason it must be called before there
/// are other threads.
///
/// # Errors
/// One of them is no stream socket.
pub fn from_systemd() -> Result<Vec<Listener>, ListenError> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(passed.len());
    for index in 0..passed.len() {
        let unix = passed.take_unix_listener(index);
        if let Ok(Some(socket)) = unix {
            let address = unix::address_of(&socket);
            let socket = use_socket(&address, || {
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket)
            })?;
            listeners.push(Listener { socket: Socket::Unix(socket), address, _file: None });
            continue;
        }
        match passed.take_tcp_listener(index) {
            Ok(Some(socket)) => listeners.push(tcp_of_systemd(socket)?),
            Ok(None) => {}
            Err(source) => return Err(ListenError::Kind { index, source }),
        }
    }
    Ok(listeners)
}

fn tcp_of_systemd(socket: std::net::TcpListener) -> Result<Listener, ListenError> {
    let address = socket.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
    let socket = use_socket(&address, || {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    })?;
    Ok(Listener::tcp(socket, address))
}

fn use_socket<T>(address: &str, prepare: impl FnOnce() -> io::Result<T>) -> Result<T, ListenError> {
    prepare().map_err(|source| ListenError::Use { address: address.to_owned(), source })
}

impl Listener {
    /// Opens a socket at an address. A unix socket can be used by its owner only; its file is removed when
    /// the listener is dropped. A file that a dead process has left is replaced.
    ///
    /// # Errors
    /// The address cannot be bound, or somebody answers there.
    pub async fn bind(address: &Address) -> Result<Listener, ListenError> {
        let failed = |source| ListenError::Bind { address: address.to_string(), source };
        match address {
            Address::Tcp(host_and_port) => {
                let socket = TcpListener::bind(host_and_port).await.map_err(failed)?;
                let address = socket.local_addr().map_err(failed)?.to_string();
                Ok(Listener::tcp(socket, address))
            }
            Address::Unix(path) => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(ListenError::InUse { address: address.to_string() });
                }
                let (socket, file) = unix::bind(path).map_err(failed)?;
                let address = address.to_string();
                Ok(Listener { socket: Socket::Unix(socket), address, _file: Some(file) })
            }
        }
    }

    fn tcp(socket: TcpListener, address: String) -> Listener {
        tracing::warn!(
            %address,
            "anyone who can connect to this TCP socket is root on this machine: there is no authentication"
        );
        Listener { socket: Socket::Tcp(socket), address, _file: None }
    }

    /// Where it listens: `unix:/run/fleet.sock` or `127.0.0.1:49153`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next connection. It waits through everything that a later attempt may mend; dropping the future
    /// loses no connection.
    pub async fn accept(&self) -> Stream {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket.accept().await.map(|(stream, peer)| Stream::tcp(stream, peer)),
                Socket::Unix(socket) => socket.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            };
            match accepted {
                Ok(stream) => return stream,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "cannot accept connections");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether the client is gone already; the next connection may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP, from this address.
    Tcp(TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Stream {
    fn tcp(stream: TcpStream, peer: SocketAddr) -> Stream {
        // Answers are small and written at once: waiting for more to send would only delay them. A socket
        // that refuses the option works without it.
        let _ = stream.set_nodelay(true);
        Stream::Tcp(stream, peer)
    }

    /// Who is at the other end, for logs.
    #[must_use]
    pub fn peer(&self) -> String {
        match self {
            Stream::Tcp(_, peer) => peer.to_string(),
            Stream::Unix(_) => "unix".to_owned(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream, _) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream, _) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream, _) => Pin::new(stream).poll_write_vectored(context, parts),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream, _) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream, _) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
