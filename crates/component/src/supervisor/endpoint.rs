//! Where a component connects to: what its streams and its runner share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::authority::Identity;
use crate::wire;

/// So many events of its streams may wait for a component's runner; then the component waits.
const MOST_EVENTS: usize = 4;

/// What a component's streams tell its runner.
#[derive(Debug)]
pub(super) enum Event {
    /// A stream of check-ins was opened; what the component should have is put here.
    CheckinOpened { stream: u64, latest: watch::Sender<Option<Arc<wire::Expected>>> },
    /// The component says how it is.
    Observed { stream: u64, observed: wire::Observed },
    /// That stream has ended.
    CheckinClosed { stream: u64 },
    /// A stream of actions was opened; requests go here.
    ActionsOpened { stream: u64, requests: mpsc::Sender<wire::ActionRequest> },
    /// The component has done something.
    Response { response: wire::ActionResponse },
    /// That stream has ended.
    ActionsClosed { stream: u64 },
}

/// The kinds of streams, of which a component may have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Checkin,
    Actions,
}

/// One component, as seen from the connections.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) identity: Identity,
    events: mpsc::Sender<Event>,
    open: [AtomicBool; 2],
    is_stopping: AtomicBool,
    next_stream: AtomicU64,
    /// Cancelled when the process that the streams are of is gone.
    process: Mutex<CancellationToken>,
}

impl Endpoint {
    pub(super) fn new(identity: Identity) -> (Arc<Endpoint>, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(MOST_EVENTS);
        let endpoint = Endpoint {
            identity,
            events,
            open: [AtomicBool::new(false), AtomicBool::new(false)],
            is_stopping: AtomicBool::new(false),
            next_stream: AtomicU64::new(1),
            process: Mutex::new(CancellationToken::new()),
        };
        (Arc::new(endpoint), received)
    }

    pub(super) fn events(&self) -> &mpsc::Sender<Event> {
        &self.events
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// From now on no stream is opened.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Another process: streams of the one before are closed.
    pub(super) fn renew(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *process).cancel();
    }

    /// Cancelled when the process of the moment is gone.
    pub(super) fn process_gone(&self) -> CancellationToken {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a stream, if none of its kind is open.
    pub(super) fn open(self: &Arc<Endpoint>, kind: StreamKind) -> Option<OpenStream> {
        let is_open = self.slot(kind).swap(true, Ordering::AcqRel);
        if is_open {
            return None;
        }
        Some(OpenStream {
            id: self.next_stream.fetch_add(1, Ordering::Relaxed),
            kind,
            ended: self.process_gone().child_token(),
            endpoint: Arc::clone(self),
        })
    }

    fn slot(&self, kind: StreamKind) -> &AtomicBool {
        &self.open[usize::from(kind == StreamKind::Actions)]
    }
}

/// A stream that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub(super) id: u64,
    kind: StreamKind,
    /// Cancelled when it must end.
    pub(super) ended: CancellationToken,
    pub(super) endpoint: Arc<Endpoint>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.ended.cancel();
        self.endpoint.slot(self.kind).store(false, Ordering::Release);
    }
}
