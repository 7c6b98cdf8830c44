//! A machine: what survives a crash of its daemon, and the daemon.

mod daemon;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::Outbox;
use fleet_cluster::documents::MachineId;
use fleet_cluster::environment::Environment;
use fleet_cluster::node::Failure;
use fleet_cluster::presence::{MachineInfo, Membership};

use fleet_store::contract::MAX_BODY;

use crate::client::Client;
use crate::link::Link;
use crate::memory::Memory;
use crate::systemd::{Scripted, Scripts};
use daemon::Daemon;

/// How the daemons of a world are configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// fleetd's `agent_ttl`.
    pub ttl: Duration,
    /// fleetd's `engine_reconcile_interval`.
    pub interval: Duration,
    /// The contrary of fleetd's `disable_watches`.
    pub watches: bool,
    /// The contrary of fleetd's `disable_engine`.
    pub engine: bool,
    /// The largest derived document, in bytes.
    pub document_max: usize,
}

impl Default for Settings {
    /// fleetd's defaults.
    fn default() -> Settings {
        let (ttl, interval) = (Duration::from_secs(30), Duration::from_secs(2));
        Settings { ttl, interval, watches: true, engine: true, document_max: MAX_BODY }
    }
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// Its way to the store.
    pub link: Link,
    /// Its service manager.
    pub systemd: Arc<Scripted>,
    settings: Settings,
    info: MachineInfo,
    environment: Arc<Environment>,
    /// Known only to this boot.
    token: String,
    client: Client,
    daemon: Option<Daemon>,
}

impl Machine {
    /// A machine that has booted; its daemon does not run yet.
    pub fn boot(
        number: u8,
        seed: u64,
        memory: &Memory,
        scripts: &Scripts,
        settings: Settings,
        metadata: BTreeMap<String, String>,
    ) -> Machine {
        let seed = seed.wrapping_mul(257).wrapping_add(u64::from(number));
        let environment = Arc::new(Environment::seeded(seed));
        let link = Link::new(seed);
        Machine {
            id: MachineId(format!("{number:02x}").repeat(16)),
            client: Client::new(memory, &link),
            link,
            systemd: Arc::new(Scripted::new(seed, scripts)),
            settings,
            info: MachineInfo { public_ip: format!("192.0.2.{number}"), metadata },
            token: environment.token(),
            environment,
            daemon: None,
        }
    }

    /// Starts the daemon, if it does not run.
    pub fn start(&mut self) {
        if self.daemon.is_none() {
            self.daemon = Some(Daemon::begin(self, Membership::Joining));
        }
    }

    /// Whether the daemon runs.
    pub fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// Whether this machine is a member of the cluster.
    pub fn membership(&self) -> Option<Membership> {
        Some(self.daemon.as_ref()?.membership())
    }

    /// What the agent wants others to see.
    pub fn outbox(&self) -> Option<&Outbox> {
        Some(self.daemon.as_ref()?.outbox())
    }

    /// The daemon dies in the middle of whatever it does.
    pub async fn crash(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.crash().await;
        }
    }

    /// The heart of the daemon stops beating.
    pub fn stop_heart(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.stop_heart();
        }
    }

    /// Waits until the daemon cannot go on. For ever if it does not run.
    pub async fn failed(&mut self) -> Failure {
        match &mut self.daemon {
            Some(daemon) => daemon.failed().await,
            None => std::future::pending().await,
        }
    }

    /// The daemon ends and touches nothing.
    pub async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.end().await;
        }
    }

    /// The daemon reads its configuration again.
    pub async fn reload(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let membership = daemon.membership();
            daemon.end().await;
            self.daemon = Some(Daemon::begin(self, membership));
        }
    }

    /// The daemon stops every unit and leaves the cluster. `false`: not within `limit`; it was killed.
    pub async fn hand_over(&mut self, limit: Duration) -> bool {
        let Some(mut daemon) = self.daemon.take() else { return true };
        if tokio::time::timeout(limit, daemon.stop_units()).await.is_ok() {
            daemon.leave().await;
            return true;
        }
        daemon.crash().await;
        false
    }

    /// The machine loses its power.
    pub async fn power_off(&mut self) {
        self.crash().await;
        self.systemd.power_off();
    }

    /// The machine boots again; its daemon does not run yet.
    pub async fn reboot(&mut self) {
        self.power_off().await;
        self.token = self.environment.token();
    }
}
