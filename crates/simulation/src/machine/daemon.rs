//! What fleetd runs under one configuration: presence, heart, engine, agent and publisher over one store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::{Agent, Outbox, Sources};
use fleet_cluster::documents::{ASSIGNMENTS, GLOBALS, GLOBALS_ID, MACHINE_METADATA, MachineId, UNITS};
use fleet_cluster::engine::metrics::Metrics;
use fleet_cluster::engine::reconciler::{Engine, Options};
use fleet_cluster::environment::Environment;
use fleet_cluster::follow::{Known, follow};
use fleet_cluster::heart::{Heart, heart};
use fleet_cluster::presence::{Identity, MachineInfo, Membership, Presence, leave};
use fleet_store::{Collection, Store, Typed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Machine, Settings};

/// What the daemons say their version is.
const VERSION: &str = "2.0.0";
/// How long the history is kept.
const HISTORY: Duration = Duration::from_secs(600);

pub(super) struct Daemon {
    pub(super) outbox: Outbox,
    membership: watch::Receiver<Membership>,
    stop: CancellationToken,
    hand_over: CancellationToken,
    agent: JoinSet<()>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Daemon").field("membership", &self.membership()).finish_non_exhaustive()
    }
}

impl Daemon {
    pub(super) fn begin(machine: &Machine, inherited: Membership) -> Daemon {
        let mut parts = Parts {
            id: machine.id.clone(),
            token: machine.token.clone(),
            settings: machine.settings.clone(),
            environment: Arc::clone(&machine.environment),
            store: Arc::new(machine.client.clone()),
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        let (heart, beating) = heart();
        parts.tasks.spawn(beating.run(Arc::clone(&parts.store)));
        let hand_over = CancellationToken::new();
        let (membership_sender, membership) = watch::channel(inherited);
        let info = parts.info(machine.info.clone());
        parts.spawn_presence(heart.clone(), info.clone(), membership_sender);
        let outbox = Outbox::default();
        let sources = parts.sources(info);
        let agent = parts.agent(&outbox, sources, membership.clone(), machine);
        let mut agents = JoinSet::new();
        agents.spawn(agent.run(parts.stop.clone(), hand_over.clone()));
        if parts.settings.engine {
            parts.spawn_engine(heart, membership.clone());
        }
        let Parts { tasks, stop, .. } = parts;
        Daemon { outbox, membership, stop, hand_over, agent: agents, tasks }
    }

    pub(super) fn membership(&self) -> Membership {
        self.membership.borrow().clone()
    }

    /// Ends everything where it is.
    pub(super) async fn crash(mut self) {
        self.agent.abort_all();
        self.tasks.abort_all();
        self.join().await;
    }

    /// Ends, and touches nothing.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        self.join().await;
    }

    async fn join(&mut self) {
        while self.agent.join_next().await.is_some() {}
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops every unit and leaves the cluster; [`Daemon::end`] is still to be called.
    pub(super) async fn hand_over(&mut self, store: &dyn Store) {
        self.hand_over.cancel();
        while self.agent.join_next().await.is_some() {}
        let membership = self.membership();
        self.stop.cancel();
        self.join().await;
        if let Membership::Member { lease, .. } = membership {
            // If the store does not answer the registration runs out by itself.
            let _ = leave(store, lease).await;
        }
    }
}

struct Parts {
    id: MachineId,
    token: String,
    settings: Settings,
    environment: Arc<Environment>,
    store: Arc<dyn Store>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Parts {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn info(&mut self, info: MachineInfo) -> watch::Receiver<MachineInfo> {
        let (sender, receiver) = watch::channel(info);
        self.spawn(async move { sender.closed().await });
        receiver
    }

    fn spawn_presence(
        &mut self,
        heart: Heart,
        info: watch::Receiver<MachineInfo>,
        membership: watch::Sender<Membership>,
    ) {
        let identity = Identity {
            machine: self.id.clone(),
            token: self.token.clone(),
            version: VERSION.to_owned(),
            ttl: self.settings.ttl,
        };
        let presence = Presence::new(Arc::clone(&self.store), identity, heart, Arc::clone(&self.environment));
        self.tasks.spawn(presence.run(info, membership, self.stop.clone()));
    }

    fn sources(&mut self, info: watch::Receiver<MachineInfo>) -> Sources {
        let id = self.id.0.clone();
        Sources {
            assignment: self.follow(&ASSIGNMENTS, &id),
            globals: self.follow(&GLOBALS, GLOBALS_ID),
            overrides: self.follow(&MACHINE_METADATA, &id),
            info,
        }
    }

    fn agent(
        &mut self,
        outbox: &Outbox,
        sources: Sources,
        membership: watch::Receiver<Membership>,
        machine: &Machine,
    ) -> Agent {
        let (store, id, publisher) = (Arc::clone(&self.store), self.id.clone(), outbox.clone());
        let publishing = membership.clone();
        let environment = Arc::clone(&self.environment);
        self.spawn(async move { publisher.publish(&store, &id, publishing, &environment).await });
        let units = Typed::new(Arc::clone(&self.store), &UNITS);
        let systemd = Arc::clone(&machine.systemd);
        Agent::new(self.id.clone(), systemd, units, outbox.clone(), sources).only_as_member(membership)
    }

    fn follow<T>(&mut self, collection: &'static Collection, id: &str) -> watch::Receiver<Known<T>>
    where
        T: Serialize + DeserializeOwned + PartialEq + Send + Sync + 'static,
    {
        let (sender, receiver) = watch::channel(Known::NotYet);
        let typed = Typed::new(Arc::clone(&self.store), collection);
        let environment = Arc::clone(&self.environment);
        let (id, watches, beat) = (id.to_owned(), self.settings.watches, self.settings.interval);
        self.spawn(async move { follow(typed, id, watches, beat, &environment, sender).await });
        receiver
    }

    /// The engine runs while this machine is a member.
    fn spawn_engine(&mut self, heart: Heart, membership: watch::Receiver<Membership>) {
        let options = Options {
            machine: self.id.clone(),
            version: VERSION.to_owned(),
            interval: self.settings.interval,
            watches: self.settings.watches,
            grace: self.settings.ttl,
            history: Some(HISTORY),
        };
        let (store, environment, stop) =
            (Arc::clone(&self.store), Arc::clone(&self.environment), self.stop.clone());
        let metrics = Arc::new(Metrics::default());
        let make = move || {
            let (options, heart, metrics) = (options.clone(), heart.clone(), Arc::clone(&metrics));
            Engine::new(&store, options, heart, Arc::clone(&environment), metrics)
        };
        self.tasks.spawn(Engine::run_while_member(make, membership, stop));
    }
}
