//! Which member the calls go to: one connection at a time, to the first member that answers.
//!
//! Members are dialled one after the other with a short head start each (as RFC 8305 does for addresses), so
//! that one that does not answer costs that head start and nothing more. A connection whose member falls
//! silent is closed, which moves its calls and its watches to the next one.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tonic::body::Body;
use tower::{BoxError, Service};

use super::connection::{Connection, DialError, SendError, chain};
use super::options::Endpoint;
use super::tls;
use crate::error::ErrorKind;

/// The head start of one member before the next is dialled too.
const HEAD_START: Duration = Duration::from_millis(250);

/// The time within which a dialled member must have answered. Longer than a call may take: a slow handshake
/// must end at some time, and callers do not wait for it longer than they want.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a connection that brings nothing is asked whether its member is alive. Not an HTTP/2 ping:
/// etcd closes connections that ping more often than its administrator allows.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// After so many calls in a row that timed out on a member that is alive, another one is tried.
const MAX_TIMEOUTS: u32 = 3;

/// Why no member can be used.
#[derive(Debug)]
pub(super) struct ConnectError {
    failures: Vec<(String, DialError)>,
}

impl ConnectError {
    /// A person must mend something on at least one member, or all are just out of reach.
    pub(super) fn kind(&self) -> ErrorKind {
        let unsuitable = self.failures.iter().any(|(_, error)| error.kind() == ErrorKind::Unsuitable);
        if unsuitable { ErrorKind::Unsuitable } else { ErrorKind::Unavailable }
    }
}

// There is one cause for each endpoint, more than `source` can tell: they are listed here.
impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no etcd endpoint can be used: ")?;
        for (place, (url, error)) in self.failures.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(formatter, "{separator}{url} {}", chain(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

type Dialled = Result<Arc<Connection>, Arc<ConnectError>>;

enum Slot {
    Idle,
    Dialling(Shared<BoxFuture<'static, Dialled>>),
    Up(Arc<Connection>),
}

/// The one connection that calls go over.
pub(super) struct Transport {
    endpoints: Vec<Endpoint>,
    files: tls::Files,
    next: AtomicUsize,
    slot: Mutex<Slot>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transport").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Transport {
    /// Connects to nothing yet.
    pub(super) fn new(endpoints: Vec<Endpoint>, files: tls::Files) -> Arc<Transport> {
        let next = AtomicUsize::new(rand::random_range(0..endpoints.len().max(1)));
        Arc::new(Transport { endpoints, files, next, slot: Mutex::new(Slot::Idle) })
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many members there are to choose from.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// A connection that is up, dialled if need be. May be cancelled: the dialling goes on for the others
    /// that wait for it.
    pub(super) async fn ready(self: &Arc<Self>) -> Dialled {
        let dialling = {
            let mut slot = self.slot();
            match &*slot {
                Slot::Up(connection) if !connection.is_closed() => return Ok(Arc::clone(connection)),
                Slot::Dialling(dialling) if dialling.peek().is_none() => dialling.clone(),
                _ => {
                    let dialling = self.start_dialling();
                    *slot = Slot::Dialling(dialling.clone());
                    dialling
                }
            }
        };
        dialling.await
    }

    fn start_dialling(self: &Arc<Self>) -> Shared<BoxFuture<'static, Dialled>> {
        let transport = Arc::clone(self);
        let task = tokio::spawn(async move {
            let result = transport.dial().await.map_err(Arc::new);
            // Whoever waits has the result from the future; whoever comes later must not get an old failure.
            *transport.slot() = match &result {
                Ok(connection) => Slot::Up(Arc::clone(connection)),
                Err(_) => Slot::Idle,
            };
            if let Ok(connection) = &result {
                tokio::spawn(keep_alive(Arc::downgrade(&transport), Arc::downgrade(connection)));
            }
            result
        });
        let joined = task.map(|joined| {
            joined.unwrap_or_else(|_| {
                // The runtime is shutting down.
                Err(Arc::new(ConnectError { failures: Vec::new() }))
            })
        });
        joined.boxed().shared()
    }

    async fn dial(&self) -> Result<Arc<Connection>, ConnectError> {
        let count = self.endpoints.len();
        let first = self.next.load(Ordering::Relaxed);
        let mut order = (0..count).map(|place| (first + place) % count);
        let mut dialling = FuturesUnordered::new();
        let mut failures = Vec::new();
        let start = |index: usize| async move {
            let endpoint = &self.endpoints[index];
            (index, Connection::dial(endpoint, index, &self.files, DIAL_TIMEOUT).await)
        };
        let mut left = true;
        loop {
            if left {
                match order.next() {
                    Some(index) => dialling.push(start(index)),
                    None => left = false,
                }
            }
            tokio::select! {
                finished = dialling.next() => match finished {
                    Some((index, Ok(connection))) => {
                        self.next.store(index, Ordering::Relaxed);
                        tracing::debug!(endpoint = connection.url(), "connected to etcd");
                        return Ok(connection);
                    }
                    Some((index, Err(error))) => failures.push((self.endpoints[index].url.clone(), error)),
                    None => return Err(ConnectError { failures }),
                },
                () = sleep(HEAD_START), if left => {}
            }
        }
    }

    fn current(&self) -> Option<Arc<Connection>> {
        match &*self.slot() {
            Slot::Up(connection) => Some(Arc::clone(connection)),
            Slot::Idle | Slot::Dialling(_) => None,
        }
    }

    /// Closes a connection; the next call tries the next member first.
    pub(super) fn abandon(&self, connection: &Arc<Connection>) {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Up(current) if Arc::ptr_eq(current, connection)) {
            *slot = Slot::Idle;
            self.next.store((connection.index() + 1) % self.endpoints.len(), Ordering::Relaxed);
        }
        connection.close();
    }

    /// Leaves a member that answers but cannot serve, if there is another one. Says whether it did.
    pub(super) fn prefer_another(&self, connection: &Arc<Connection>) -> bool {
        let others = self.endpoints.len() > 1;
        if others {
            tracing::debug!(endpoint = connection.url(), "this etcd member cannot serve, trying the next");
            self.abandon(connection);
        }
        others
    }

    /// Finds out, in the background, whether a silent member is dead, and leaves it if so.
    pub(super) fn suspect(self: &Arc<Self>, connection: &Arc<Connection>, limit: Duration) {
        if !connection.start_probe() {
            return;
        }
        let (transport, connection) = (Arc::clone(self), Arc::clone(connection));
        tokio::spawn(async move {
            if !connection.is_alive(limit).await {
                tracing::debug!(endpoint = connection.url(), "this etcd member is silent, trying the next");
                transport.abandon(&connection);
            }
            connection.probed();
        });
    }

    /// A call timed out. A member that is alive and yet serves nothing, such as one with a stuck disk, is
    /// left after a few of those.
    pub(super) fn timed_out(&self, connection: &Arc<Connection>) {
        if connection.count_timeout() >= MAX_TIMEOUTS {
            self.prefer_another(connection);
        }
    }
}

/// Watches wait for hours: this is how they learn that their member died.
async fn keep_alive(transport: Weak<Transport>, connection: Weak<Connection>) {
    loop {
        let before = Instant::now();
        sleep(KEEPALIVE).await;
        let (Some(transport), Some(connection)) = (transport.upgrade(), connection.upgrade()) else { return };
        if connection.is_closed() {
            return;
        }
        if !connection.heard_since(before) {
            transport.suspect(&connection, KEEPALIVE);
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Slot::Up(connection) = &*self.slot() {
            connection.close();
        }
    }
}

/// The transport as gRPC sees it: whatever is sent goes over the connection that is up.
#[derive(Clone)]
pub(super) struct Wire(pub(super) Arc<Transport>);

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.0.current();
        async move {
            match connection {
                Some(connection) => connection.send(request).await.map_err(BoxError::from),
                None => Err(SendError::NotSent.into()),
            }
        }
        .boxed()
    }
}
