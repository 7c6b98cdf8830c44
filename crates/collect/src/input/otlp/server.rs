//! One address: connections, and requests on them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_service::tls::{Acceptor, Reload, reload};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::Room;
use super::reply::Reply;
use super::route::Routes;
use super::settings::{Endpoint, Protocol};
use super::{grpc, web};
use crate::input::net::accept;

/// Requests at once on one connection.
const STREAMS: u32 = 64;

/// Requests of an address that are made events of at once.
const TURNS: usize = 8;

/// Bytes that one connection may have sent before they are read.
const WINDOW: u32 = 256 * 1024;

/// The head of a request is there within this.
const HEAD: Duration = Duration::from_secs(10);

/// A connection that is to end still gets this long for the requests on it.
const GRACE: Duration = Duration::from_millis(3500);

/// An address that is open.
pub(super) struct Server {
    listener: TcpListener,
    tls: Option<Acceptor>,
    desk: Arc<Desk>,
}

/// What each request needs.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) endpoint: Endpoint,
    pub(super) routes: Arc<Routes>,
    pub(super) room: Room,
    /// So many requests are made events of at once: these can be much larger.
    pub(super) turns: Semaphore,
}

impl Server {
    /// Reads the certificates, follows their files until the token is cancelled, and listens.
    pub(super) async fn open(
        endpoint: &Endpoint,
        routes: Arc<Routes>,
        stop: &CancellationToken,
    ) -> Result<Server, String> {
        let tls = acceptor(endpoint, stop).await?;
        let listener = bind(endpoint).await?;
        let (room, turns) = (Room::new(endpoint.most), Semaphore::new(TURNS));
        let desk = Desk { endpoint: endpoint.clone(), routes, room, turns };
        Ok(Server { listener, tls, desk: Arc::new(desk) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        self.listener
            .local_addr()
            .map_or_else(|_| self.desk.endpoint.address.clone(), |address| address.to_string())
    }
}

async fn acceptor(endpoint: &Endpoint, stop: &CancellationToken) -> Result<Option<Acceptor>, String> {
    let Some(settings) = endpoint.tls.clone() else { return Ok(None) };
    let started = tokio::task::spawn_blocking(move || Reload::start(settings)).await;
    let (acceptor, follow) = started
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("tls of {}: {}", endpoint.address, fleet_service::error::chain(&error)))?;
    tokio::spawn(follow.run(reload::INTERVAL, stop.clone()));
    Ok(Some(acceptor))
}

async fn bind(endpoint: &Endpoint) -> Result<TcpListener, String> {
    let Endpoint { protocol, address, .. } = endpoint;
    let name = if address.starts_with(':') { format!("[::]{address}") } else { address.clone() };
    let found = tokio::net::lookup_host(name).await;
    let mut found: Vec<_> =
        found.map_err(|error| format!("{address} cannot be looked up: {error}"))?.collect();
    // Senders that are told `localhost` try 127.0.0.1, whatever comes first here.
    found.sort_by_key(std::net::SocketAddr::is_ipv6);
    let mut problem = format!("{address} has no address");
    for place in found {
        match TcpListener::bind(place).await {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                problem = crate::input::net::cannot_listen(protocol.name(), &place.to_string(), &error);
            }
        }
    }
    Err(problem)
}

/// Accepts until it is to stop. While there are as many connections as are allowed, others wait in the system's queue.
pub(super) async fn serve(server: Server, stop: CancellationToken) {
    let Server { listener, tls, desk } = server;
    let serving = |(socket, peer): (TcpStream, SocketAddr)| {
        let (tls, desk, stop) = (tls.clone(), Arc::clone(&desk), stop.clone());
        async move {
            one(socket, tls, desk, &stop).await.unwrap_or_else(|error| {
                tracing::debug!(%peer, error, "a connection ended");
            });
        }
    };
    let mut left = accept(desk.endpoint.connections, &stop, || listener.accept(), serving).await;
    drop(listener);
    while left.join_next().await.is_some() {}
}

async fn one(
    socket: TcpStream,
    tls: Option<Acceptor>,
    desk: Arc<Desk>,
    stop: &CancellationToken,
) -> Result<(), String> {
    // Answers are small, and senders wait for them.
    let _ = socket.set_nodelay(true);
    let Some(acceptor) = tls else { return requests(socket, desk, stop).await };
    let accepted = tokio::select! {
        biased;
        accepted = acceptor.accept(socket) => accepted,
        () = stop.cancelled() => return Ok(()),
    };
    requests(accepted.map_err(|error| error.to_string())?, desk, stop).await
}

/// Serves a connection until its client ends it, it has been idle for too long, or the input stops.
async fn requests<S>(socket: S, desk: Arc<Desk>, stop: &CancellationToken) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (activity, idle) = (Arc::new(Activity::default()), desk.endpoint.idle);
    let counted = Arc::clone(&activity);
    let service = service_fn(move |request| answer(request, Arc::clone(&desk), counted.begin()));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(|error| error.to_string()),
        () = activity.idle(idle) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    match tokio::time::timeout(GRACE, connection).await {
        Ok(ended) => ended.map_err(|error| error.to_string()),
        Err(_) => Ok(()),
    }
}

async fn answer(
    request: Request<Incoming>,
    desk: Arc<Desk>,
    _active: Active,
) -> Result<Response<Reply>, Infallible> {
    Ok(match desk.endpoint.protocol {
        Protocol::Grpc => grpc::answer(request, &desk).await,
        Protocol::Http => web::answer(request, &desk).await,
    })
}

/// How many requests a connection has, and since when it has none.
#[derive(Debug)]
struct Activity {
    requests: AtomicUsize,
    since: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity { requests: AtomicUsize::new(0), since: Mutex::new(Instant::now()) }
    }
}

/// A request on a connection.
struct Active(Arc<Activity>);

impl Activity {
    fn begin(self: &Arc<Activity>) -> Active {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Comes back when there has been no request for so long.
    async fn idle(&self, most: Duration) {
        loop {
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let busy = self.requests.load(Ordering::Relaxed) > 0;
            if !busy && since.elapsed() >= most {
                return;
            }
            let until = if busy { Instant::now() + most } else { since + most };
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
