//! `/fleet/v1` (and `/v1-alpha`, the same under its old name): what people and scripts steer the cluster by.
//!
//! [`Api::answer`] takes a whole request and gives a whole answer, so that the same handlers serve sockets,
//! tests and simulations. Texts, codes and odd cases are those of coreos/fleet 1.0.0, because clients depend
//! on them; where the original had a plain defect the answer is the intended one (`docs/compatibility.md`).

mod answer;
mod documents;
mod explain;
mod machines;
mod page;
mod route;
mod snapshot;
mod state;
mod submit;
mod units;
mod write;

use std::sync::Arc;

use fleet_cluster::documents::{
    MACHINE_METADATA, MACHINES, MachineDocument, MetadataDocument, STATES, StateDocument, UNITS, UnitDocument,
};
use fleet_cluster::presence::Membership;
use fleet_store::Store;
use http::Request;
use tokio::sync::watch;

pub use answer::Answer;
use answer::Failure;
use documents::Documents;
use route::Route;
use snapshot::Snapshots;
use write::Queues;

/// The largest request body in bytes. A unit file is a few kilobytes; the store's own limit is 1 MiB.
pub const BODY_MAX: usize = 2 * 1024 * 1024;

/// Who asks, as far as it can be told: one connection. As an extension of a request it keeps the pages of that
/// connection's lists together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub u64);

/// The API of one fleetd.
#[derive(Debug)]
pub struct Api {
    units: Documents<UnitDocument>,
    states: Documents<StateDocument>,
    machines: Documents<MachineDocument>,
    metadata: Documents<MetadataDocument>,
    membership: watch::Receiver<Membership>,
    snapshots: Snapshots,
    queues: Queues,
    token_limit: u16,
}

impl Api {
    /// The API over `store`. It serves while this machine is a member.
    pub fn new(store: &Arc<dyn Store>, membership: watch::Receiver<Membership>, token_limit: u16) -> Api {
        Api {
            units: Documents::new(store, &UNITS),
            states: Documents::new(store, &STATES),
            machines: Documents::new(store, &MACHINES),
            metadata: Documents::new(store, &MACHINE_METADATA),
            membership,
            snapshots: Snapshots::default(),
            queues: Queues::default(),
            token_limit,
        }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<bytes::Bytes>) -> Answer {
        let outcome = match self.available() {
            Ok(()) => self.dispatch(&request).await,
            Err(failure) => Err(failure),
        };
        outcome.unwrap_or_else(Answer::from)
    }

    /// Whether this machine may answer for the cluster.
    fn available(&self) -> Result<(), Failure> {
        match &*self.membership.borrow() {
            Membership::Member { .. } => Ok(()),
            Membership::Joining | Membership::Late => Err(Failure::unavailable("")),
            Membership::Refused => {
                Err(Failure::unavailable(": another machine is registered under this machine's id"))
            }
        }
    }

    async fn dispatch(&self, request: &Request<bytes::Bytes>) -> Result<Answer, Failure> {
        let client = request.extensions().get::<Client>().copied();
        match route::route(request.method(), request.uri().path(), request.uri().query())? {
            Route::Redirect(location) => Ok(Answer::redirect(request.method(), &location)),
            Route::Discovery => Ok(Answer::raw_json(fleet_protocol::fleet_v1::DISCOVERY)),
            Route::ListMachines(query) => self.list_machines(&query).await,
            Route::PatchMachines => self.patch_machines(request.body()).await,
            Route::ListUnits(query) => self.list_units(&query, client).await,
            Route::GetUnit(name) => self.get_unit(&name).await,
            Route::PutUnit(name) => self.put_unit(&name, request.headers(), request.body()).await,
            Route::DeleteUnit(name) => self.delete_unit(&name).await,
            Route::RestartUnit(name) => self.restart_unit(&name).await,
            Route::ExplainUnit(name) => self.explain_unit(&name).await,
            Route::ListStates(query) => self.list_states(&query, client).await,
            Route::GetState(name) => self.get_state(&name).await,
        }
    }
}
