//! Where a signal goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::export::{self, PATIENCE, Refused, Taken};
use super::signal::Signal;
use super::wire::Encoding;
use crate::input::Context;
use crate::input::net::Ids;

/// The stream that takes a signal.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) signal: Signal,
    pub(super) context: Context,
    pub(super) ids: Ids,
    /// What the stream says while all is well.
    healthy: (String, Map<String, Value>),
    /// Senders were sent away.
    busy: AtomicBool,
}

impl Route {
    pub(super) fn new(signal: Signal, context: &Context, healthy: (String, Map<String, Value>)) -> Route {
        Route { signal, context: context.clone(), ids: Ids::new(), healthy, busy: AtomicBool::new(false) }
    }

    /// Says that all is well.
    pub(super) fn healthy(&self) {
        let (message, payload) = self.healthy.clone();
        self.context.healthy_with(message, payload);
    }

    /// Takes a request, when its turn comes.
    pub(super) async fn export(
        &self,
        turns: &Semaphore,
        encoding: Encoding,
        bytes: &[u8],
    ) -> Result<Taken, Refused> {
        let taken = match tokio::time::timeout(PATIENCE, turns.acquire()).await {
            Ok(_turn) => export::export(self, encoding, bytes).await,
            Err(_) => Err(Refused::Busy),
        };
        match &taken {
            Ok(taken) => {
                if taken.rejected > 0 {
                    let (stream, Taken { rejected, reason }) = (self.context.stream().id(), taken);
                    tracing::warn!(stream, rejected, reason, "records cannot be used; their sender was told");
                }
                if self.busy.swap(false, Ordering::Relaxed) {
                    self.healthy();
                }
            }
            Err(Refused::Busy) => self.sent_away(),
            Err(_) => {}
        }
        taken
    }

    /// A sender was told to come again.
    pub(super) fn sent_away(&self) {
        if !self.busy.swap(true, Ordering::Relaxed) {
            self.context
                .degraded("the queue of the output has no room: senders are told to come again later");
        }
    }
}

/// Where the signals of one address go.
#[derive(Debug, Default)]
pub(super) struct Routes(RwLock<[Option<Arc<Route>>; Signal::ALL.len()]>);

impl Routes {
    /// The route of a signal, if there is one.
    pub(super) fn get(&self, signal: Signal) -> Option<Arc<Route>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)[signal as usize].clone()
    }

    /// Takes a signal.
    ///
    /// # Errors
    /// Another stream has it.
    pub(super) fn take(&self, route: Arc<Route>) -> Result<(), Arc<Route>> {
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut routes[route.signal as usize];
        match slot {
            Some(other) => Err(Arc::clone(other)),
            None => {
                *slot = Some(route);
                Ok(())
            }
        }
    }

    /// Gives it back.
    pub(super) fn give_back(&self, signal: Signal) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[signal as usize] = None;
    }
}
