//! One HTTP/2 connection to one member.
//!
//! tonic's own channel would hide what the store must know: whether a request had left when it failed, and
//! whether a silent member is slow or dead. So the connection is ours, and gRPC runs above it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;

use super::options::Endpoint;
use super::stream::{Seen, Stream, tls_error};
use super::tls;
use crate::error::{Error, ErrorKind};

/// What one stream may hold unread. A watch whose reader is slow holds this much and no more.
const STREAM_WINDOW: u32 = 256 * 1024;

/// What all streams together may hold unread: enough that several stalled watches leave room for calls.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// The gRPC health check, which every etcd since 3.3 answers without login, disk or leader.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// An empty message in gRPC's framing: not compressed, 0 bytes.
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// A connection that has answered at least once.
#[derive(Debug)]
pub(super) struct Connection {
    endpoint: Endpoint,
    index: usize,
    sender: SendRequest<Body>,
    seen: Arc<Seen>,
    closed: CancellationToken,
    probing: AtomicBool,
    timeouts: AtomicU32,
    _close_on_drop: DropGuard,
}

/// Why one member cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// TCP failed.
    #[error("cannot be reached")]
    Unreachable(#[source] io::Error),
    /// Nobody answered in time.
    #[error("does not answer within {0:?}")]
    Silent(Duration),
    /// TLS failed, in words.
    #[error("{0}")]
    Tls(String),
    /// Our own files cannot be used.
    #[error("TLS cannot be set up")]
    Files(#[source] Error),
    /// The other side is no etcd with the v3 API, in words.
    #[error("{0}")]
    NotEtcd(String),
    /// It was closed before anything came. etcd does that to plain connections where it speaks TLS; a member
    /// that is just starting or ending does it too.
    #[error(
        "closes the connection without an answer (if it speaks TLS, write https:// instead of http:// in \
         etcd_servers)"
    )]
    Closed,
    /// It was closed within the TLS handshake. etcd does that where it does not speak TLS.
    #[error(
        "ends the TLS handshake (if it does not speak TLS, write http:// instead of https:// in \
         etcd_servers)"
    )]
    Hung(#[source] io::Error),
    /// HTTP/2 failed.
    #[error("HTTP/2 failed")]
    Http(#[source] hyper::Error),
}

impl DialError {
    /// What kind of trouble it is for a caller.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            DialError::Tls(_) | DialError::Files(_) | DialError::NotEtcd(_) => ErrorKind::Unsuitable,
            DialError::Unreachable(_)
            | DialError::Silent(_)
            | DialError::Closed
            | DialError::Hung(_)
            | DialError::Http(_) => ErrorKind::Unavailable,
        }
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It was not sent: no server has seen it.
    #[error("the request was not sent")]
    NotSent,
    /// The connection broke after it may have been sent. The cause is not a `#[source]`: tonic looks for
    /// causes it knows in the chain and would hide this error behind its own status.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Connection {
    /// Connects, and waits until the member has answered: a paused process accepts connections too.
    pub(super) async fn dial(
        endpoint: &Endpoint,
        index: usize,
        files: &tls::Files,
        limit: Duration,
    ) -> Result<Arc<Connection>, DialError> {
        match timeout(limit, Connection::establish(endpoint, index, files)).await {
            Ok(result) => result,
            Err(_) => Err(DialError::Silent(limit)),
        }
    }

    async fn establish(
        endpoint: &Endpoint,
        index: usize,
        files: &tls::Files,
    ) -> Result<Arc<Connection>, DialError> {
        let closed = CancellationToken::new();
        let stream = open(endpoint, files, closed.clone()).await?;
        let seen = stream.seen();
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(DialError::Http)?;
        tokio::spawn({
            let closed = closed.clone();
            async move {
                // Every request on it learns of its end by itself.
                if let Err(error) = driver.await {
                    tracing::trace!(error = &error as &dyn std::error::Error, "a connection to etcd ended");
                }
                closed.cancel();
            }
        });
        let connection = Arc::new(Connection {
            endpoint: endpoint.clone(),
            index,
            sender,
            seen,
            probing: AtomicBool::new(false),
            timeouts: AtomicU32::new(0),
            _close_on_drop: closed.clone().drop_guard(),
            closed,
        });
        match connection.check_health().await {
            Ok(()) => Ok(connection),
            Err(error) => Err(connection.explain(error)),
        }
    }

    /// Why the first request failed, from what was seen of the other side.
    fn explain(&self, error: DialError) -> DialError {
        if let Some(error) = self.seen.tls_error() {
            return DialError::Tls(tls::explain(&error));
        }
        if self.seen.is_http1() {
            return DialError::NotEtcd(
                "it answers in HTTP/1 only: this is no etcd, or one that serves only its v2 API; Fleet needs \
                 etcd 3.4 or newer with the v3 API, whose client port etcd_servers must name"
                    .to_owned(),
            );
        }
        if self.seen.is_tls() {
            return DialError::Tls(
                "it speaks TLS: write https:// instead of http:// in etcd_servers".to_owned(),
            );
        }
        match error {
            DialError::Http(_) if self.seen.is_silent() && self.endpoint.tls_name.is_none() => {
                DialError::Closed
            }
            error => error,
        }
    }

    async fn check_health(&self) -> Result<(), DialError> {
        let mut request = Request::new(Body::new(Full::new(Bytes::from_static(EMPTY_MESSAGE))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(HEALTH);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        *request.uri_mut() = self.absolute(request.uri());
        let response = self.sender.clone().send_request(request).await.map_err(DialError::Http)?;
        // Whatever gRPC status it has, it comes from a gRPC server that is alive.
        let is_grpc = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            return Ok(());
        }
        Err(DialError::NotEtcd(format!(
            "it answers {} where etcd's v3 API would be: this is no etcd, or one that serves only its v2 API; \
             Fleet needs etcd 3.4 or newer with the v3 API, whose client port etcd_servers must name",
            response.status()
        )))
    }

    /// Sends a request.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, SendError> {
        *request.uri_mut() = self.absolute(request.uri());
        match self.sender.clone().try_send_request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            // The request comes back when nothing of it has left.
            Err(error) if error.message().is_some() => Err(SendError::NotSent),
            Err(error) => Err(SendError::Broken(chain(error.error()))),
        }
    }

    fn absolute(&self, uri: &Uri) -> Uri {
        let mut parts = uri.clone().into_parts();
        parts.scheme = Some(self.endpoint.scheme());
        parts.authority = Some(self.endpoint.authority.clone());
        // A path is always there: gRPC names its method by it.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Whether the member answers within `limit`. At most one such question is under way.
    pub(super) async fn is_alive(&self, limit: Duration) -> bool {
        let asked = Instant::now();
        let answered = matches!(timeout(limit, self.check_health()).await, Ok(Ok(())));
        answered || self.seen.since(asked)
    }

    /// Takes the right to ask whether the member is alive; give it back with [`Connection::probed`].
    pub(super) fn start_probe(&self) -> bool {
        !self.probing.swap(true, Ordering::AcqRel)
    }

    /// Gives the right to ask back.
    pub(super) fn probed(&self) {
        self.probing.store(false, Ordering::Release);
    }

    /// Whether anything arrived since then.
    pub(super) fn heard_since(&self, instant: Instant) -> bool {
        self.seen.since(instant)
    }

    /// A call timed out: returns how many did so in a row.
    pub(super) fn count_timeout(&self) -> u32 {
        self.timeouts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A call was answered.
    pub(super) fn reset_timeouts(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
    }

    /// The place of its endpoint in the options.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The URL of its endpoint.
    pub(super) fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// Ends it: every request and stream on it fails at once.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled() || self.sender.is_closed()
    }
}

async fn open(endpoint: &Endpoint, files: &tls::Files, cut: CancellationToken) -> Result<Stream, DialError> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
    let tcp = tcp.map_err(DialError::Unreachable)?;
    tcp.set_nodelay(true).map_err(DialError::Unreachable)?;
    let Some(name) = &endpoint.tls_name else { return Ok(Stream::plain(tcp, cut)) };
    let config = files.load().map_err(DialError::Files)?;
    let stream =
        TlsConnector::from(config).connect(name.clone(), tcp).await.map_err(|error| {
            match tls_error(&error) {
                Some(error) => DialError::Tls(tls::explain(error)),
                None => DialError::Hung(error),
            }
        })?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(DialError::NotEtcd(
            "it does not offer HTTP/2: this is no etcd, or one that serves only its v2 API; Fleet needs \
             etcd 3.4 or newer with the v3 API"
                .to_owned(),
        ));
    }
    Ok(Stream::tls(stream, cut))
}

/// An error with all that is below it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}
