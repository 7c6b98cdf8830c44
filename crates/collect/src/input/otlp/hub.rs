//! The addresses that are listened on. Streams of several signals share one; it is opened with the first of them, and
//! closed with the last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Mutex as Turn;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::route::{Route, Routes};
use super::server::{self, Server};
use super::settings::{Endpoint, Protocol};
use super::signal::Signal;

/// The addresses of one collector.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    places: Mutex<HashMap<Place, Slot>>,
}

/// What is known of an address.
#[derive(Debug, Default)]
struct Slot {
    /// One joins or leaves at a time, so that an address is free before it is opened again.
    turn: Arc<Turn<()>>,
    listener: Weak<Listener>,
}

/// A protocol and an address as policies write it.
type Place = (Protocol, String);

/// An address that is listened on.
#[derive(Debug)]
struct Listener {
    endpoint: Endpoint,
    /// As the system says it: with the port that was found for port 0.
    address: String,
    routes: Arc<Routes>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A place at an address, before a signal is taken there.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    listener: Arc<Listener>,
    signal: Option<Signal>,
}

impl Hub {
    fn places(&self) -> MutexGuard<'_, HashMap<Place, Slot>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose turn it is at an address. Addresses that nobody has any more are forgotten.
    fn turn(&self, endpoint: &Endpoint) -> Arc<Turn<()>> {
        let mut places = self.places();
        places.retain(|_, slot| slot.listener.strong_count() > 0 || Arc::strong_count(&slot.turn) > 1);
        Arc::clone(&places.entry(endpoint.place()).or_default().turn)
    }

    /// Opens the address, unless it is open.
    ///
    /// # Errors
    /// It cannot be, in words for an operator.
    pub(super) async fn join(self: &Arc<Hub>, endpoint: &Endpoint) -> Result<Seat, String> {
        let _turn = self.turn(endpoint).lock_owned().await;
        let there = self.places().get(&endpoint.place()).and_then(|slot| slot.listener.upgrade());
        let listener = match there {
            Some(listener) if listener.endpoint.same(endpoint) => listener,
            Some(_) => {
                return Err(format!(
                    "{} is used by another input with other settings: give both the same, or choose another address",
                    endpoint.address
                ));
            }
            None => {
                let listener = Arc::new(Listener::open(endpoint.clone()).await?);
                self.places().entry(endpoint.place()).or_default().listener = Arc::downgrade(&listener);
                listener
            }
        };
        Ok(Seat { hub: Arc::clone(self), listener, signal: None })
    }
}

impl Listener {
    async fn open(endpoint: Endpoint) -> Result<Listener, String> {
        let (stop, tasks, routes) = (CancellationToken::new(), TaskTracker::new(), Arc::default());
        let server =
            Server::open(&endpoint, Arc::clone(&routes), &stop).await.inspect_err(|_| stop.cancel())?;
        let address = server.address();
        tasks.spawn(server::serve(server, stop.clone()));
        tasks.close();
        Ok(Listener { endpoint, address, routes, stop, tasks })
    }
}

impl Seat {
    /// Where it is listened.
    pub(super) fn address(&self) -> &str {
        &self.listener.address
    }

    /// From now on the signal goes to this route.
    ///
    /// # Errors
    /// It goes to another stream, in words for an operator.
    pub(super) fn take(&mut self, route: &Arc<Route>) -> Result<(), String> {
        self.listener.routes.take(Arc::clone(route)).map_err(|other| {
            format!(
                "signal: {} at {} go to stream {} already: give one of them another address",
                route.signal.name(),
                self.listener.endpoint.address,
                other.context.stream().id()
            )
        })?;
        self.signal = Some(route.signal);
        Ok(())
    }

    /// Leaves; the last one closes the address, and waits until it is closed.
    pub(super) async fn leave(self) {
        let hub = Arc::clone(&self.hub);
        let _turn = hub.turn(&self.listener.endpoint).lock_owned().await;
        let listener = Arc::clone(&self.listener);
        drop(self);
        if Arc::strong_count(&listener) == 1 {
            listener.stop.cancel();
            listener.tasks.wait().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(signal) = self.signal {
            self.listener.routes.give_back(signal);
        }
    }
}
