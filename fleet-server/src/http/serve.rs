//! Accepting connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet_service::tls::{AcceptError, Acceptor};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::http1::Connection;
use super::{Handler, Transport, http2};

/// How long to wait when no connection can be accepted for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// What a connection may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; over it they are closed before anything is spent on them. 0: no limit.
    pub connections: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// For the head of a request.
    pub read_header: Duration,
    /// For a request's body.
    pub read: Duration,
    /// For each part of an answer to be taken.
    pub write_chunk: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Between two signs of life that a connection of HTTP/2 is asked for.
    pub ping: Duration,
    /// For the end of a connection.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 0,
            max_header_bytes: 8192,
            read_header: Duration::from_secs(5),
            read: Duration::from_secs(60),
            write_chunk: Duration::from_secs(60),
            idle: Duration::from_secs(35),
            ping: Duration::from_secs(60),
            linger: Duration::from_secs(1),
        }
    }
}

/// Where connections come from.
pub struct Port {
    /// The socket.
    pub listener: TcpListener,
    /// How they are encrypted, at this moment; `None`: not at all.
    pub tls: Option<Acceptor>,
}

/// How the serving ends: gently, and then for good.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// From now on each answer is the last of its connection. New connections are still accepted: who asks is
    /// answered.
    pub drain: CancellationToken,
    /// No more connections are accepted, and those that wait for a request are closed.
    pub end: CancellationToken,
}

/// Accepts connections and serves them until the end. Connections run in `tracker`.
pub async fn serve<H: Handler>(
    port: Port,
    handler: Arc<H>,
    limits: Limits,
    ending: Ending,
    tracker: TaskTracker,
) {
    let limits = Arc::new(limits);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            accepted = port.listener.accept() => accepted,
            () = ending.end.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        let slot = Slot::take(&open);
        if limits.connections != 0 && slot.number > limits.connections {
            debug!(%peer, limit = limits.connections, "too many connections: one is closed");
            continue;
        }
        let tls = port.tls.clone();
        let (handler, limits, ending) = (Arc::clone(&handler), Arc::clone(&limits), ending.clone());
        tracker.spawn(async move {
            let _slot = slot;
            match open_transport(stream, tls).await {
                Ok(transport) => run(transport, handler, limits, peer, ending).await,
                Err(error) => debug!(%peer, error = &error as &dyn std::error::Error, "no connection"),
            }
        });
    }
}

/// One of the connections that are open.
struct Slot {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl Slot {
    fn take(open: &Arc<AtomicUsize>) -> Slot {
        Slot { open: Arc::clone(open), number: open.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn open_transport(stream: TcpStream, tls: Option<Acceptor>) -> Result<Transport, AcceptError> {
    stream.set_nodelay(true).map_err(AcceptError::Handshake)?;
    let Some(tls) = tls else { return Ok(Transport::Plain(stream)) };
    // A handshake needs much more than the connection afterwards does.
    Box::pin(tls.accept(stream)).await.map(|stream| Transport::Tls(Box::new(stream)))
}

async fn run<H: Handler>(
    transport: Transport,
    handler: Arc<H>,
    limits: Arc<Limits>,
    peer: SocketAddr,
    ending: Ending,
) {
    let peer = Some(peer.ip());
    if transport.protocol() == Some(b"h2") {
        Box::pin(http2::serve(transport, handler, limits, peer, ending)).await;
    } else {
        Connection::new(transport, handler, limits, peer, ending).run().await;
    }
}
