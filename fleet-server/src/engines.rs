//! The search engines that outputs name, as far as this server may administer them: what packages need is put into
//! them, and agents get keys of their own for them.
//!
//! With what it logs in there: with what `output.elasticsearch` of the configuration says, if all hosts of the output
//! are hosts of that; else with what the output itself has. A login is sent to no other host than it was given for.
//!
//! | module | what |
//! |---|---|
//! | `settings` | an output, with its secrets, as something to connect with |
//! | `connection` | requests to an engine |
//! | `probe` | what is there, and what the login may do |
//! | `wanted` | which packages belong into which engine |
//! | `plan` | what is to be done: a function of what is wanted and what is there |
//! | `install` | does it |
//! | `calls` | the engine's calls for it |
//! | `ism` | those of OpenSearch's Index State Management |
//! | `reconciler` | when |
//! | `looks` | looking into several engines for people |
//! | `streams` | the data streams that there are |
//! | `arrivals` | whether data of agents has arrived |
//! | `ways` | how to log in to engines that no output names any more, as long as agents have keys there |
//! | [`keys`] | keys of agents for the engines that they write to |
//! | [`record`] | what was done, for people and for its removal |

mod arrivals;
mod calls;
mod connection;
mod install;
mod ism;
pub mod keys;
mod looks;
mod plan;
mod probe;
mod reconciler;
pub mod record;
mod refusals;
mod settings;
mod streams;
mod wanted;
mod ways;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fleet_policy::settings::Table;
use fleet_store::Store;
use tokio::time::Instant;

use crate::fleet::Fleet;
pub(crate) use arrivals::Looked;
pub(crate) use connection::Connection;
pub(crate) use looks::NotSeen;
pub(crate) use probe::Probe;
pub use reconciler::Installer;
pub use record::{EnginePackage, EngineRecord};
pub use settings::ServerLogin;
pub(crate) use streams::DataStream;

/// What is known of an engine is looked at again after so long.
const KNOWN_FOR: Duration = Duration::from_mins(5);
/// One that could not be used is tried again after so long.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// Why an engine cannot be used. For people: each says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineProblem {
    /// The output is gone, or is no engine.
    #[error("output {0} is no search engine any more")]
    Gone(String),
    /// What it says cannot be used.
    #[error("output {output}: {reason}")]
    Settings {
        /// Its id.
        output: String,
        /// What is wrong, and the fix.
        reason: String,
    },
    /// Nobody answers.
    #[error("{host} does not answer: {reason}")]
    Unreachable {
        /// Its address.
        host: String,
        /// Why.
        reason: String,
    },
    /// The login is not good there, or there is none.
    #[error("{host} lets nobody in with this login: {hint}")]
    Login {
        /// Its address.
        host: String,
        /// The fix.
        hint: &'static str,
    },
    /// The login may not do what is needed.
    #[error("the login lacks the cluster privileges {}: give it a role that has them", .0.join(", "))]
    Rights(Vec<String>),
    /// It answers something that no engine does.
    #[error("{0} is no Elasticsearch and no OpenSearch")]
    Strange(String),
    /// It refuses something.
    #[error("{what} is refused ({status}): {reason}")]
    Refused {
        /// The request.
        what: String,
        /// Its status.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// It takes too long.
    #[error("the engine of output {output} takes longer than {seconds} s: see whether it is well")]
    Slow {
        /// The output's id.
        output: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The server's own store does not answer.
    #[error("the store does not answer")]
    Store,
}

/// An engine that was reached, and what is there.
#[derive(Debug)]
pub(crate) struct Access {
    /// The way to it.
    pub(crate) connection: Connection,
    /// What is there.
    pub(crate) probe: Probe,
}

type Outcome = Result<Arc<Access>, EngineProblem>;

/// What is known of an output's engine, and of which revisions of its settings.
#[derive(Debug)]
struct Known {
    of: Vec<u64>,
    until: Instant,
    outcome: Outcome,
}

type Cell = Arc<tokio::sync::Mutex<Option<Known>>>;

/// The engines.
#[derive(Debug)]
pub struct Engines {
    /// What is known of each engine, by its output's id.
    pub records: Table<EngineRecord>,
    /// What was put into each, by [`record::package_id`].
    pub packages: Table<EnginePackage>,
    login: OnceLock<ServerLogin>,
    /// Bounded by the number of outputs.
    known: Mutex<HashMap<String, Cell>>,
    /// The same of clusters that outputs have named. Bounded by the number of ways that are kept.
    former: Mutex<HashMap<String, Cell>>,
}

impl Engines {
    /// How many collections are followed.
    pub const COLLECTIONS: usize = 2;

    /// Those that `store` knows.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Engines {
        Engines {
            records: Table::new(store, &record::ENGINES),
            packages: Table::new(store, &record::ENGINE_PACKAGES),
            login: OnceLock::new(),
            known: Mutex::default(),
            former: Mutex::default(),
        }
    }

    /// Tells it, once, what the configuration says.
    pub fn set_up(&self, login: ServerLogin) {
        // A second time changes nothing: there is one configuration.
        let _ = self.login.set(login);
    }

    /// Follows what was done, for ever. `ready` is called for each collection once it has been read.
    pub async fn follow(&self, ready: impl Fn() + Send + Sync) {
        tokio::join!(self.records.follow(&ready), self.packages.follow(&ready));
    }

    /// The engine of an output. What is known of it is kept for a while; only one looks at a time.
    pub(crate) async fn open(&self, fleet: &Fleet, output_id: &str) -> Outcome {
        let of = settings::revisions(fleet, output_id);
        let Some(of) = of else { return Err(EngineProblem::Gone(output_id.to_owned())) };
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let outputs = fleet.settings.outputs.all();
            known.retain(|id, _| outputs.contains_key(id));
            Arc::clone(known.entry(output_id.to_owned()).or_default())
        };
        let mut known = cell.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.of == of && Instant::now() < known.until) {
            return known.outcome.clone();
        }
        let outcome = self.look(fleet, output_id).await;
        let keep = if outcome.is_ok() { KNOWN_FOR } else { FAILED_FOR };
        *known = Some(Known { of, until: Instant::now() + keep, outcome: outcome.clone() });
        outcome
    }

    /// What was known of an output's engine turned out to be wrong: it is looked at again.
    pub(crate) async fn forget(&self, output_id: &str) {
        let cell = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(output_id).cloned();
        if let Some(cell) = cell {
            *cell.lock().await = None;
        }
    }

    /// The outputs into whose engines a package belongs.
    pub(crate) fn wanting(&self, fleet: &Fleet, package: &str) -> Vec<String> {
        let wanted = wanted::Wanted::now(fleet).0;
        let of_package = wanted.into_iter().filter(|(_, packages)| packages.contains_key(package));
        of_package.map(|(output, _)| output).collect()
    }

    async fn look(&self, fleet: &Fleet, output_id: &str) -> Outcome {
        let whole = settings::whole(fleet, output_id).await?;
        let connection = settings::connection(&whole, self.login.get()).await?;
        let probe = probe::probe(&connection).await?;
        if probe.makes_keys {
            ways::keep(fleet, &probe.cluster, &whole).await?;
        }
        Ok(Arc::new(Access { connection, probe }))
    }
}
