//! Everything that runs under one configuration: presence, engine, agent and API over one store.
//!
//! A reload ends one generation and begins another. Units are not touched by that: the new agent adopts what
//! the old one has installed, and the new presence takes the machine's document over by its token.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::{Agent, Outbox, Sources};
use fleet_cluster::documents::{ASSIGNMENTS, GLOBALS, GLOBALS_ID, MACHINE_METADATA, MachineId, UNITS};
use fleet_cluster::engine::metrics::Metrics as EngineMetrics;
use fleet_cluster::engine::reconciler::{Engine, Options as EngineOptions};
use fleet_cluster::environment::Environment;
use fleet_cluster::follow::{Known, follow};
use fleet_cluster::heart::Heart;
use fleet_cluster::presence::{Identity, MachineInfo, Membership, Presence, leave};
use fleet_cluster::systemd::Systemd;
use fleet_store::decorate::Observer;
use fleet_store::{Collection, Store, Typed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::api::Api;
use crate::config::Options;
use crate::store::Opened;
use crate::{VERSION, heart_thread, identity};

/// How often the address is looked up that this machine is reached at.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(60);
/// How long the parts of a generation get to end.
const END_MAX: Duration = Duration::from_secs(5);
/// How much history the store keeps: who is away for longer reads everything again.
const HISTORY: Duration = Duration::from_secs(600);

/// What outlives a generation.
#[derive(Clone)]
pub struct Machine {
    /// This machine.
    pub id: MachineId,
    /// The token of this boot.
    pub token: String,
    /// Its service manager.
    pub systemd: Arc<dyn Systemd>,
    /// Chance.
    pub environment: Arc<Environment>,
    /// What the engine counts into.
    pub metrics: Arc<EngineMetrics>,
    /// Who counts calls to the store.
    pub store_observer: Arc<dyn Observer>,
}

/// A running generation.
pub struct Generation {
    /// Its API.
    pub api: Arc<Api>,
    store: Arc<dyn Store>,
    outbox: Outbox,
    membership: watch::Receiver<Membership>,
    stop: CancellationToken,
    hand_over: CancellationToken,
    agent: JoinHandle<()>,
    tasks: TaskTracker,
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
        let parts = Parts {
            machine,
            options,
            store: opened.store,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let hand_over = CancellationToken::new();
        let (membership_sender, membership) = watch::channel(membership);
        let info = parts.follow_info();
        parts.spawn_presence(heart.clone(), info.clone(), membership_sender);
        let outbox = Outbox::default();
        let agent = parts.spawn_agent(&outbox, info, membership.clone(), hand_over.clone());
        if !options.disable_engine {
            parts.spawn_engine(heart, membership.clone());
        }
        Ok(Generation {
            api: Arc::new(Api::new(&parts.store, membership.clone(), options.token_limit)),
            store: parts.store,
            outbox,
            membership,
            stop: parts.stop,
            hand_over,
            agent,
            tasks: parts.tasks,
        })
    }

    /// Whether this machine is a member now.
    pub fn membership(&self) -> Membership {
        self.membership.borrow().clone()
    }

    /// The store that it works on.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// What the agent has installed here, for a look inside.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Ends, and touches nothing: units, registration and states stay as they are.
    pub async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(END_MAX, self.tasks.wait()).await.is_err() {
            warn!("some tasks did not end in time");
        }
    }

    /// Stops every unit of this machine, so that others may run them, and leaves the cluster.
    pub async fn hand_over(mut self) {
        self.hand_over.cancel();
        // Each unit's own time-out for stopping bounds this; whoever cannot wait signals again.
        if let Err(error) = (&mut self.agent).await {
            warn!(%error, "the agent failed");
        }
        let lease = match &*self.membership.borrow() {
            Membership::Member { lease, .. } => Some(*lease),
            _ => None,
        };
        let store = Arc::clone(&self.store);
        self.end().await;
        let Some(lease) = lease else { return };
        match tokio::time::timeout(END_MAX, leave(&*store, lease)).await {
            Ok(Ok(())) => info!("left the cluster"),
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "the registration runs out by itself");
            }
            Err(_) => warn!("the registration runs out by itself: the store does not answer"),
        }
    }
}

/// What the parts of a generation are made of.
struct Parts<'a> {
    machine: &'a Machine,
    options: &'a Options,
    store: Arc<dyn Store>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Parts<'_> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// What this machine says of itself: the address changes when the network does.
    fn follow_info(&self) -> watch::Receiver<MachineInfo> {
        let fixed = self.options.public_ip.map(|address| address.to_string());
        let first = MachineInfo {
            public_ip: fixed.clone().unwrap_or_else(identity::public_ip),
            metadata: self.options.metadata.clone(),
        };
        let (sender, receiver) = watch::channel(first);
        if fixed.is_some() {
            // The sender must live on: a receiver of a closed channel is told of a change at once, for ever.
            self.spawn(async move { sender.closed().await });
        } else {
            self.spawn(async move {
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
        }
        receiver
    }

    fn spawn_presence(
        &self,
        heart: Heart,
        info: watch::Receiver<MachineInfo>,
        membership: watch::Sender<Membership>,
    ) {
        let identity = Identity {
            machine: self.machine.id.clone(),
            token: self.machine.token.clone(),
            version: VERSION.to_owned(),
            ttl: self.options.agent_ttl,
        };
        let environment = Arc::clone(&self.machine.environment);
        let presence = Presence::new(Arc::clone(&self.store), identity, heart, environment);
        let stop = self.stop.clone();
        self.tasks.spawn(presence.run(info, membership, stop));
    }

    fn spawn_agent(
        &self,
        outbox: &Outbox,
        info: watch::Receiver<MachineInfo>,
        membership: watch::Receiver<Membership>,
        hand_over: CancellationToken,
    ) -> JoinHandle<()> {
        let id = &self.machine.id;
        let sources = Sources {
            assignment: self.follow(&ASSIGNMENTS, &id.0, &membership),
            globals: self.follow(&GLOBALS, GLOBALS_ID, &membership),
            overrides: self.follow(&MACHINE_METADATA, &id.0, &membership),
            info,
        };
        let (store, machine, publisher) = (Arc::clone(&self.store), id.clone(), outbox.clone());
        let environment = Arc::clone(&self.machine.environment);
        self.spawn(async move { publisher.publish(&store, &machine, membership, &environment).await });
        let units = Typed::new(Arc::clone(&self.store), &UNITS);
        let systemd = Arc::clone(&self.machine.systemd);
        let agent = Agent::new(id.clone(), systemd, units, outbox.clone(), sources);
        let stop = self.stop.clone();
        self.tasks.spawn(agent.run(stop, hand_over))
    }

    /// Follows a document from when this machine is a member: one that is refused, because another machine has
    /// its id, must not run that machine's units a second time.
    fn follow<T>(
        &self,
        collection: &'static Collection,
        id: &str,
        membership: &watch::Receiver<Membership>,
    ) -> watch::Receiver<Known<T>>
    where
        T: Serialize + DeserializeOwned + PartialEq + Send + Sync + 'static,
    {
        let (sender, receiver) = watch::channel(Known::NotYet);
        let typed = Typed::new(Arc::clone(&self.store), collection);
        let environment = Arc::clone(&self.machine.environment);
        let (id, watches) = (id.to_owned(), !self.options.disable_watches);
        let beat = self.options.engine_reconcile_interval;
        let mut membership = membership.clone();
        self.spawn(async move {
            if membership.wait_for(|now| matches!(now, Membership::Member { .. })).await.is_ok() {
                follow(typed, id, watches, beat, &environment, sender).await;
            }
        });
        receiver
    }

    /// The engine runs while this machine is a member: one that is refused must not decide for others.
    fn spawn_engine(&self, heart: Heart, mut membership: watch::Receiver<Membership>) {
        let options = EngineOptions {
            machine: self.machine.id.clone(),
            version: VERSION.to_owned(),
            interval: self.options.engine_reconcile_interval,
            watches: !self.options.disable_watches,
            grace: self.options.agent_ttl,
            history: self.options.etcd_compaction.then_some(HISTORY),
        };
        let store = Arc::clone(&self.store);
        let environment = Arc::clone(&self.machine.environment);
        let metrics = Arc::clone(&self.machine.metrics);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            loop {
                let joined = membership.wait_for(|now| matches!(now, Membership::Member { .. }));
                tokio::select! {
                    () = stop.cancelled() => return,
                    joined = joined => if joined.is_err() { return },
                }
                let term = stop.child_token();
                let engine = Engine::new(
                    &store,
                    options.clone(),
                    heart.clone(),
                    Arc::clone(&environment),
                    Arc::clone(&metrics),
                );
                let running = engine.run(term.clone());
                tokio::pin!(running);
                let left =
                    membership.wait_for(|now| matches!(now, Membership::Joining | Membership::Refused));
                tokio::select! {
                    () = &mut running => return,
                    left = left => {
                        if left.is_err() {
                            debug!("the membership is gone");
                        }
                    }
                }
                term.cancel();
                running.await;
            }
        });
    }
}
