//! What fleetd runs under one configuration: a node and a heart over one store.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::Outbox;
use fleet_cluster::engine::metrics::Metrics;
use fleet_cluster::heart::heart;
use fleet_cluster::node::{self, Failure, Node, Options};
use fleet_cluster::presence::{MachineInfo, Membership};
use fleet_cluster::systemd::Systemd;
use fleet_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Machine;

/// What the daemons say their version is.
const VERSION: &str = "2.0.0";
/// How long the history is kept.
const HISTORY: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Daemon {
    node: Node,
    /// Aborted when the daemon is dropped.
    heart: JoinSet<()>,
    _info: watch::Sender<MachineInfo>,
}

impl Daemon {
    pub(super) fn begin(machine: &Machine, inherited: Membership) -> Daemon {
        let systemd: Arc<dyn Systemd> = Arc::<crate::Scripted>::clone(&machine.systemd);
        let lasting = node::Machine {
            id: machine.id.clone(),
            token: machine.token.clone(),
            systemd,
            environment: Arc::clone(&machine.environment),
            metrics: Arc::new(Metrics::default()),
        };
        let settings = &machine.settings;
        let options = Options {
            version: VERSION.to_owned(),
            ttl: settings.ttl,
            interval: settings.interval,
            watches: settings.watches,
            engine: settings.engine,
            history: Some(HISTORY),
            document_max: settings.document_max,
        };
        let store: Arc<dyn Store> = Arc::new(machine.client.clone());
        let (heart, beating) = heart();
        let mut beats = JoinSet::new();
        beats.spawn(beating.run(Arc::clone(&store)));
        let (sender, info) = watch::channel(machine.info.clone());
        let node = Node::begin(&lasting, &options, store, heart, info, inherited);
        Daemon { node, heart: beats, _info: sender }
    }

    pub(super) fn membership(&self) -> Membership {
        self.node.membership().borrow().clone()
    }

    pub(super) fn outbox(&self) -> &Outbox {
        self.node.outbox()
    }

    /// Its heart stops, and nothing else.
    pub(super) fn stop_heart(&mut self) {
        self.heart.abort_all();
    }

    /// Waits until it cannot go on.
    pub(super) async fn failed(&mut self) -> Failure {
        self.node.failed().await
    }

    /// Ends everything where it is.
    pub(super) async fn crash(mut self) {
        self.heart.abort_all();
        self.node.abort().await;
        while self.heart.join_next().await.is_some() {}
    }

    /// Ends, and touches nothing.
    pub(super) async fn end(mut self) {
        self.node.end().await;
        while self.heart.join_next().await.is_some() {}
    }

    /// Stops every unit; [`Daemon::leave`] is still to be called.
    pub(super) async fn stop_units(&mut self) {
        self.node.stop_units().await;
    }

    /// Ends, and leaves the cluster.
    pub(super) async fn leave(mut self) {
        self.node.leave().await;
        while self.heart.join_next().await.is_some() {}
    }
}
