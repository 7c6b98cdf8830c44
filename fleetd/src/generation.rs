//! Everything that runs under one configuration: a node, its heart's thread and the API over one store.
//!
//! A reload ends one generation and begins another. Units are not touched by that: the new agent adopts what
//! the old one has installed, and the new presence takes the machine's document over by its token.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::Outbox;
use fleet_cluster::node::{self, Failure, Node};
use fleet_cluster::presence::{MachineInfo, Membership};
use fleet_store::Store;
use fleet_store::contract::MAX_BODY;
use fleet_store::decorate::Observer;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::api::Api;
use crate::config::Options;
use crate::store::Opened;
use crate::{VERSION, heart_thread, identity};

/// How often the address is looked up that this machine is reached at.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(60);
/// How much history the store keeps: who is away for longer reads everything again.
const HISTORY: Duration = Duration::from_secs(600);

/// What outlives a generation.
#[derive(Clone)]
pub struct Machine {
    /// What a node needs to know of it.
    pub node: node::Machine,
    /// Who counts calls to the store.
    pub store_observer: Arc<dyn Observer>,
}

/// A running generation.
pub struct Generation {
    /// Its API.
    pub api: Arc<Api>,
    node: Node,
    /// Keeps what the machine says of itself up to date.
    _info: AbortOnDropHandle<()>,
}

/// Why a generation cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No thread or runtime.
    #[error("the heartbeat's thread cannot be started")]
    Thread(#[source] io::Error),
}

impl Generation {
    /// Begins. `membership` is what is known of it: a generation over the store of the last one need not wait.
    pub fn begin(
        machine: &Machine,
        options: &Options,
        opened: Opened,
        membership: Membership,
    ) -> Result<Generation, Error> {
        let heart = heart_thread::start(opened.for_heart).map_err(Error::Thread)?;
        let (info, keeping) = follow_info(options);
        let settings = node::Options {
            version: VERSION.to_owned(),
            ttl: options.agent_ttl,
            interval: options.engine_reconcile_interval,
            watches: !options.disable_watches,
            engine: !options.disable_engine,
            history: options.etcd_compaction.then_some(HISTORY),
            document_max: MAX_BODY,
        };
        let node = Node::begin(&machine.node, &settings, opened.store, heart, info, membership);
        let api = Arc::new(Api::new(node.store(), node.membership().clone(), options.token_limit));
        Ok(Generation { api, node, _info: keeping })
    }

    /// Whether this machine is a member now.
    pub fn membership(&self) -> Membership {
        self.node.membership().borrow().clone()
    }

    /// The store that it works on.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.node.store())
    }

    /// What the agent has installed here, for a look inside.
    pub fn outbox(&self) -> &Outbox {
        self.node.outbox()
    }

    /// Waits until it cannot go on; see [`Node::failed`]. Cancel-safe.
    pub async fn failed(&mut self) -> Failure {
        self.node.failed().await
    }

    /// Ends, and touches nothing: units, registration and states stay as they are.
    pub async fn end(self) {
        self.node.end().await;
    }

    /// Stops every unit of this machine, so that others may run them, and leaves the cluster. Whoever cannot
    /// wait for the units signals again.
    pub async fn hand_over(mut self) {
        self.node.stop_units().await;
        self.node.leave().await;
    }
}

/// What this machine says of itself: the address changes when the network does. The task keeps the channel
/// open: a receiver of a closed one is told of a change at once, for ever.
fn follow_info(options: &Options) -> (watch::Receiver<MachineInfo>, AbortOnDropHandle<()>) {
    let fixed = options.public_ip.map(|address| address.to_string());
    let is_fixed = fixed.is_some();
    let (sender, receiver) = watch::channel(MachineInfo {
        public_ip: fixed.unwrap_or_else(identity::public_ip),
        metadata: options.metadata.clone(),
    });
    let keeping = tokio::spawn(async move {
        if is_fixed {
            return sender.closed().await;
        }
        loop {
            tokio::time::sleep(ADDRESS_INTERVAL).await;
            let now = identity::public_ip();
            sender.send_if_modified(|info| {
                let changed = info.public_ip != now;
                info.public_ip = now;
                changed
            });
        }
    });
    (receiver, AbortOnDropHandle::new(keeping))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_cluster::documents::MachineId;
    use fleet_cluster::engine::metrics::Metrics;
    use fleet_cluster::environment::Environment;
    use fleet_simulation::{Client, Link, Memory, Scripted, Scripts};
    use fleet_store::{Error as StoreError, ErrorKind};

    use super::*;
    use crate::config;
    use crate::exporter::Exporter;

    fn begin(for_heart: Box<dyn FnOnce() -> Result<Arc<dyn Store>, StoreError> + Send>) -> Generation {
        let node = node::Machine {
            id: MachineId("1".repeat(32)),
            token: "0".repeat(32),
            systemd: Arc::new(Scripted::new(1, &Scripts::default())),
            environment: Arc::new(Environment::seeded(1)),
            metrics: Arc::new(Metrics::default()),
        };
        let machine = Machine { node, store_observer: Exporter::new().store_observer() };
        let variables = BTreeMap::from([("FLEET_PUBLIC_IP".to_owned(), "192.0.2.1".to_owned())]);
        let (options, _) = config::load(None, &variables).unwrap();
        let store: Arc<dyn Store> = Arc::new(Client::new(&Memory::new(1), &Link::new(1)));
        let opened = Opened { store, for_heart };
        Generation::begin(&machine, &options, opened, Membership::Joining).unwrap()
    }

    #[tokio::test]
    async fn a_generation_whose_heart_cannot_reach_the_store_fails() {
        let broken = || Err(StoreError::new(ErrorKind::Unsuitable, "no such file"));
        let mut generation = begin(Box::new(broken));
        let failure = tokio::time::timeout(Duration::from_secs(10), generation.failed()).await.unwrap();
        assert_eq!(failure, Failure::Heart);
        generation.end().await;
    }

    #[tokio::test]
    async fn a_generation_whose_heart_panics_fails() {
        let mut generation = begin(Box::new(|| unreachable!("a bug")));
        let failure = tokio::time::timeout(Duration::from_secs(10), generation.failed()).await.unwrap();
        assert_eq!(failure, Failure::Heart);
        generation.end().await;
    }
}
