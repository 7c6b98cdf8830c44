//! Keys of agents for the engines that they write to: each agent has its own, which may do what its policy needs
//! and nothing else.
//!
//! A key is made when an agent is about to get a policy that needs it, and gets new rights with a policy that needs
//! others; until the agent runs that, the key keeps the old rights too. What is over is done behind: old rights are
//! taken away and keys that no policy needs are invalidated when the agent runs the new policy, and all of them
//! when it has left.
//!
//! | module | what |
//! |---|---|
//! | `document` | what is kept of an agent's keys |
//! | `decide` | what is to be done: a function of what is kept and what is needed |
//! | `api` | the engine's calls |
//! | `ensure` | the keys for a policy that is about to be sent |
//! | `keeper` | what is over |

mod api;
mod decide;
mod document;
mod ensure;
mod keeper;

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_policy::settings::Table;
use fleet_store::{Error, ListRequest, Store, Typed, WriteError};
use tokio::sync::Semaphore;

use super::EngineProblem;
use document::{AGENT_KEYS, AgentKeys, KeysRow};
pub use keeper::KeyKeeper;

/// Engines are asked for so many agents at a time.
const MOST_AT_A_TIME: usize = 64;

/// So many agents' keys are read at a time when all of them are.
const PAGE: usize = 500;

/// Why an agent has no keys now. Its policy waits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The engine.
    #[error("the engine of output {output} does not give a key")]
    Engine {
        /// Its id.
        output: String,
        /// Why.
        #[source]
        problem: EngineProblem,
    },
    /// The store.
    #[error("the store does not keep the key")]
    Store(#[source] WriteError),
    /// What is kept cannot be opened.
    #[error("the key of output {0} cannot be opened or sealed")]
    Sealed(String),
    /// Others change it without a pause.
    #[error("the keys are being changed by others")]
    Busy,
}

/// The keys.
#[derive(Debug)]
pub struct OutputKeys {
    documents: Typed<AgentKeys>,
    /// A small part of each, so that all of them fit into memory.
    rows: Table<KeysRow>,
    working: Semaphore,
}

impl OutputKeys {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> OutputKeys {
        OutputKeys {
            documents: Typed::new(Arc::clone(store), &AGENT_KEYS),
            rows: Table::new(store, &AGENT_KEYS),
            working: Semaphore::new(MOST_AT_A_TIME),
        }
    }

    /// Whether an agent has keys, as far as is known here.
    pub(crate) fn has_any(&self, agent_id: &str) -> bool {
        self.rows.get(agent_id).is_some()
    }

    /// The clusters that know keys of agents. `None`: what is kept of some agent cannot be read.
    async fn clusters(&self) -> Result<Option<BTreeSet<String>>, Error> {
        let (mut clusters, mut request) =
            (BTreeSet::new(), ListRequest { limit: Some(PAGE), ..ListRequest::all() });
        loop {
            let (page, next) = self.documents.page(request).await?;
            if !page.malformed.is_empty() {
                return Ok(None);
            }
            for keys in page.values.into_iter().map(|found| found.value) {
                clusters.extend(keys.outputs.into_values().map(|key| key.cluster));
                clusters.extend(keys.to_retire_api_key_ids.into_iter().map(|key| key.cluster));
            }
            match next {
                Some(page) => {
                    request = ListRequest { limit: Some(PAGE), page: Some(page), ..ListRequest::all() }
                }
                None => return Ok(Some(clusters)),
            }
        }
    }

    /// Follows which agents have keys, for ever.
    pub async fn follow(&self, ready: impl FnOnce() + Send) {
        self.rows.follow(ready).await;
    }
}
