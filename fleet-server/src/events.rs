//! What happens, for those who want to know: as a stream, as pages, and sent to them.
//!
//! Events themselves are told by the keeper (`fleet_policy::events`). Every server follows them, so that every server
//! can stream them; webhooks are sent by the keeper alone.
//!
//! | module | what |
//! |---|---|
//! | [`webhook`] | a webhook and how its delivery stands, as the store keeps them |
//! | [`signature`] | how a receiver knows that it was us |
//! | [`post`] | one request to a receiver |
//! | [`courier`] | sends one webhook's events in their order, again and again until they are taken |
//! | [`delivery`] | runs the couriers, as one of the keeper's duties |

pub mod courier;
pub mod delivery;
pub mod post;
pub mod signature;
pub mod webhook;

use std::sync::Arc;

use fleet_access::seal::Keyring;
use fleet_policy::events::Events;
use fleet_policy::settings::Table;
use fleet_store::{Store, Typed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use delivery::Delivery;
use webhook::{WEBHOOK_STATES, WEBHOOKS, Webhook, WebhookState};

/// So many streams of events a server has at a time. Each holds a connection, and some 10 kB.
const STREAMS: usize = 256;

/// Events, and who is told of them.
#[derive(Debug)]
pub struct Happenings {
    /// The events.
    pub log: Events,
    /// Who is told.
    pub webhooks: Table<Webhook>,
    /// How far they are.
    pub states: Typed<WebhookState>,
    /// What opens the webhooks' secrets.
    pub keyring: Keyring,
    streams: Arc<Semaphore>,
}

impl Happenings {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, keyring: Keyring) -> Happenings {
        Happenings {
            log: Events::new(store),
            webhooks: Table::new(store, &WEBHOOKS),
            states: Typed::new(Arc::clone(store), &WEBHOOK_STATES),
            keyring,
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    /// A place for a stream of events, if there is one.
    #[must_use]
    pub fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}
