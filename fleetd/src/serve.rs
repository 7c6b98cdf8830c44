//! HTTP over the listeners.

mod body;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleet_service::listen::{Listener, Stream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::api::{Answer, Api, Client};
use crate::exporter::Exporter;
use stream::Bounded;

/// At most this many connections at once, over all listeners; further ones wait in a socket's backlog. It
/// leaves half of the 1024 descriptors that systemd gives a service to everything else.
const CONNECTIONS_MAX: usize = 512;
/// While there is no place for a new connection, one that is idle is closed this often.
const CROWDED_PAUSE: Duration = Duration::from_millis(10);
/// A connection counts as idle after this time: some clients ask again and again, several times a second.
const IDLE_MIN: Duration = Duration::from_secs(1);
/// A client that has not sent a request's head in this time is cut off, an idle one too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// The most that is buffered of what a connection sends; a request's head is not larger.
const BUFFER_MAX: usize = 128 * 1024;

/// What is served, on any number of listeners.
#[derive(Clone, Debug)]
pub struct Site {
    api: watch::Receiver<Arc<Api>>,
    exporter: Arc<Exporter>,
    server: HeaderValue,
    places: Arc<Places>,
    /// How many connections there have been.
    connections: Arc<AtomicU64>,
}

/// Serves connections of `listener` until `stop`; then lets those under way finish.
pub async fn serve(listener: Arc<Listener>, site: Site, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accept = async {
            let place = site.places.take().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        let (site, stop) = (site.clone(), stop.clone());
        connections.spawn(async move {
            serve_connection(stream, site, &stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

/// Places for connections. Clients keep idle ones for their next request; when places are scarce, they must
/// not keep others out.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// Asks one connection to close if it is idle.
    crowded: Notify,
}

impl Places {
    fn new() -> Places {
        Places { free: Arc::new(Semaphore::new(CONNECTIONS_MAX)), crowded: Notify::new() }
    }

    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.free).acquire_owned();
        tokio::pin!(free);
        loop {
            match tokio::time::timeout(CROWDED_PAUSE, free.as_mut()).await {
                // The semaphore is never closed.
                Ok(place) => return place.ok(),
                Err(_) if self.free.available_permits() == 0 => self.crowded.notify_one(),
                Err(_) => {}
            }
        }
    }
}

/// Since when a connection has been idle.
struct Activity {
    begun: Instant,
    /// In milliseconds after `begun`; [`BUSY`] during a request.
    idle_since: AtomicU64,
}

const BUSY: u64 = u64::MAX;

impl Activity {
    fn begin() -> Activity {
        Activity { begun: Instant::now(), idle_since: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis().try_into().unwrap_or(BUSY - 1)
    }

    fn set_busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    fn set_idle(&self) {
        self.idle_since.store(self.now(), Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        let since = self.idle_since.load(Ordering::Relaxed);
        since != BUSY && u128::from(self.now().saturating_sub(since)) >= IDLE_MIN.as_millis()
    }
}

async fn serve_connection(stream: Stream, site: Site, stop: &CancellationToken) {
    let client = Client(site.connections.fetch_add(1, Ordering::Relaxed));
    let activity = Activity::begin();
    let service = service_fn(|request| {
        let (site, activity) = (site.clone(), &activity);
        let mut request: Request<Incoming> = request;
        request.extensions_mut().insert(client);
        async move {
            activity.set_busy();
            let response = site.respond(request).await;
            activity.set_idle();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_MAX)
        // Some clients close their sending half when they have asked, and wait for the answer.
        .half_close(true)
        // As the original writes them: not every script compares without regard to case.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(Bounded::new(stream)), service);
    tokio::pin!(connection);
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = connection.as_mut() => break outcome,
            () = stop.cancelled() => {}
            () = site.places.crowded.notified() => {
                // What has come meanwhile is read first: who has asked is not idle.
                tokio::select! {
                    biased;
                    outcome = connection.as_mut() => break outcome,
                    () = tokio::task::yield_now() => {}
                }
                if !activity.is_idle() {
                    continue;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        break connection.as_mut().await;
    };
    if let Err(error) = outcome {
        debug!(%error, "connection ended");
    }
}

impl Site {
    /// The API of the current configuration, which a reload replaces, and `/metrics`. `server` says in each
    /// answer who gives it.
    pub fn new(api: watch::Receiver<Arc<Api>>, exporter: Arc<Exporter>, server: HeaderValue) -> Site {
        Site { api, exporter, server, places: Arc::new(Places::new()), connections: Arc::default() }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        debug!(method = %request.method(), uri = %request.uri(), "request");
        let mut response = match request.uri().path() {
            "/metrics" => self.exporter.response(),
            // Asks what the server can do, not a resource.
            "*" if request.method() == Method::OPTIONS => Response::new(Bytes::new()),
            _ => self.answer(request).await,
        };
        response.headers_mut().insert(header::SERVER, self.server.clone());
        response.map(Full::new)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let body = match body::collect(body).await {
            Ok(body) => body,
            Err(error) => {
                let mut response = Answer::failure(error.status(), error.to_string()).into_response();
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        };
        let api = Arc::clone(&self.api.borrow());
        // The client may hang up; what it asked for is done all the same, not half.
        let answer = tokio::spawn(async move { api.answer(Request::from_parts(head, body)).await });
        match answer.await {
            Ok(answer) => answer.into_response(),
            Err(error) => {
                tracing::error!(%error, "a request's handler failed");
                Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, "").into_response()
            }
        }
    }
}
