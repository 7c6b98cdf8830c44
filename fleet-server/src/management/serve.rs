//! Serving the routes.

use std::io;
use std::time::Duration;

use axum::Router;
use fleet_service::tls::Acceptor;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::util::MapRequest;
use tracing::{debug, warn};

use super::origin::TrustedProxies;
use crate::http::{Ending, Transport};

/// What a handshake of TLS begins with (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// The time for the first byte, and for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Where people and scripts ask.
#[derive(Debug)]
pub struct Port {
    /// The socket.
    pub listener: TcpListener,
    /// How connections are encrypted; `None`: not at all.
    pub tls: Option<Acceptor>,
    /// Whether connections that are not encrypted are served too.
    pub allows_plain: bool,
    /// Whom to believe where a request came from.
    pub proxies: TrustedProxies,
}

/// Serves until the end.
pub async fn serve(port: Port, router: Router, ending: Ending, tracker: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = port.listener.accept() => accepted,
            () = ending.end.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (tls, allows_plain, proxies) = (port.tls.clone(), port.allows_plain, port.proxies.clone());
        let (router, ending) = (router.clone(), ending.clone());
        tracker.spawn(async move {
            if let Err(error) = connection(stream, tls, allows_plain, proxies, router, ending).await {
                debug!(error, "a connection broke");
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Acceptor>,
    allows_plain: bool,
    proxies: TrustedProxies,
    router: Router,
    ending: Ending,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?.ip();
    let is_handshake = timeout(HEAD, first_byte(&stream)).await?? == Some(HANDSHAKE);
    let (transport, router) = match tls {
        Some(tls) if is_handshake => (Transport::Tls(Box::new(tls.accept(stream).await?)), router),
        Some(_) if !allows_plain => (Transport::Plain(stream), refuse()),
        _ => (Transport::Plain(stream), router),
    };
    let is_encrypted = matches!(transport, Transport::Tls(_));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // Who comes while the server stops is answered once.
    let is_draining = ending.drain.is_cancelled();
    builder.keep_alive(!is_draining);
    let service = TowerToHyperService::new(MapRequest::new(router, move |mut request: Request<Incoming>| {
        let (remote, encrypted) = proxies.origin(peer, is_encrypted, request.headers());
        request.extensions_mut().insert(remote);
        request.extensions_mut().insert(encrypted);
        request
    }));
    let serving = builder.serve_connection(TokioIo::new(transport), service);
    tokio::pin!(serving);
    tokio::select! {
        served = serving.as_mut() => served?,
        () = ending.drain.cancelled(), if !is_draining => {
            serving.as_mut().graceful_shutdown();
            serving.await?;
        }
    }
    Ok(())
}

/// The first byte, which stays to be read. `None`: the client has gone.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = stream.peek(&mut byte).await?;
    Ok((count == 1).then_some(byte[0]))
}

/// For those who would send a password that others can read.
fn refuse() -> Router {
    Router::new()
        .fallback(async || (StatusCode::UPGRADE_REQUIRED, "this port is served over TLS: use https://\n"))
}
