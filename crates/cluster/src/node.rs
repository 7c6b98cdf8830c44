//! Everything that a machine runs over one store: presence, agent, publisher and engine, wired together.
//!
//! Each part has an owner here: it is ended with the node, and aborted if it does not end. A part that ends by
//! itself is a failure of the whole ([`Node::failed`]): a daemon without one of them would look alive and do
//! half of its work.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Collection, LeaseId, Store, Typed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::agent::{Agent, Outbox, Sources};
use crate::documents::{ASSIGNMENTS, GLOBALS, GLOBALS_ID, MACHINE_METADATA, MachineId, UNITS};
use crate::engine::metrics::Metrics;
use crate::engine::reconciler::{Engine, Options as EngineOptions};
use crate::environment::Environment;
use crate::follow::{Known, Source, follow};
use crate::heart::Heart;
use crate::presence::{Identity, MachineInfo, Membership, Presence, leave};
use crate::sets::Sets;
use crate::systemd::Systemd;

/// How long the parts get to end, and the store to be told that this machine leaves.
const END_MAX: Duration = Duration::from_secs(5);

/// What outlives a node.
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
    pub metrics: Arc<Metrics>,
}

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon's version.
    pub version: String,
    /// How long others wait for this machine, and it for others.
    pub ttl: Duration,
    /// The beat of the engine's full pass and, without watches, of reading.
    pub interval: Duration,
    /// Whether changes are watched; otherwise they are only read at each beat.
    pub watches: bool,
    /// Whether this machine takes part in the election.
    pub engine: bool,
    /// How much history the store keeps; `None`: somebody else sees to that.
    pub history: Option<Duration>,
    /// The largest derived document that the engine writes, in bytes; at most what the store takes.
    pub document_max: usize,
}

/// A running node. Dropping it aborts its parts.
#[derive(Debug)]
pub struct Node {
    store: Arc<dyn Store>,
    heart: Heart,
    outbox: Outbox,
    membership: watch::Receiver<Membership>,
    stop: CancellationToken,
    hand_over: CancellationToken,
    agent: JoinSet<()>,
    parts: Parts,
}

/// Why a node cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing keeps its leases alive any more.
    #[error("the heart has stopped: no lease is kept alive any more")]
    Heart,
    /// One of its tasks is over.
    #[error("the task of the {0} has ended, which it never should: there is a panic in the log")]
    Part(&'static str),
}

impl Node {
    /// Begins. `info` is what the machine says of itself, `membership` what is known of it: over the store of
    /// the last node one need not wait.
    pub fn begin(
        machine: &Machine,
        options: &Options,
        store: Arc<dyn Store>,
        heart: Heart,
        info: watch::Receiver<MachineInfo>,
        membership: Membership,
    ) -> Node {
        let (stop, hand_over) = (CancellationToken::new(), CancellationToken::new());
        let (membership_sender, membership) = watch::channel(membership);
        let outbox = Outbox::default();
        let mut wiring = Wiring { machine, options, store, stop, parts: Parts::default() };
        wiring.presence(heart.clone(), info.clone(), membership_sender);
        wiring.publisher(&outbox, membership.clone());
        let mut agents = JoinSet::new();
        let agent = wiring.agent(&outbox, info, membership.clone());
        agents.spawn(agent.run(wiring.stop.clone(), hand_over.clone()));
        if options.engine {
            wiring.engine(heart.clone(), membership.clone());
        }
        let Wiring { store, stop, parts, .. } = wiring;
        Node { store, heart, outbox, membership, stop, hand_over, agent: agents, parts }
    }

    /// Whether this machine is a member.
    pub fn membership(&self) -> &watch::Receiver<Membership> {
        &self.membership
    }

    /// The store that it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What the agent wants others to see.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Waits until it cannot go on. Whoever is told ends the node and begins another: units are not touched by
    /// that. Cancel-safe.
    pub async fn failed(&mut self) -> Failure {
        tokio::select! {
            biased;
            () = self.heart.stopped() => Failure::Heart,
            // The set is not empty as long as nobody hands over.
            Some(_) = self.agent.join_next() => Failure::Part("agent"),
            part = self.parts.ended() => Failure::Part(part),
        }
    }

    /// Ends, and touches nothing: units, registration and states stay as they are.
    pub async fn end(mut self) {
        self.stop.cancel();
        end(&mut self.agent).await;
        end(&mut self.parts.tasks).await;
    }

    /// Ends everything where it is, as a crash would.
    pub async fn abort(mut self) {
        self.agent.abort_all();
        self.parts.tasks.abort_all();
        while self.agent.join_next().await.is_some() {}
        while self.parts.tasks.join_next().await.is_some() {}
    }

    /// Stops every unit of this machine, so that others may run them; each unit's own time-out for stopping
    /// bounds that. [`Node::leave`] is still to be called.
    pub async fn stop_units(&mut self) {
        self.hand_over.cancel();
        while let Some(ended) = self.agent.join_next().await {
            if let Err(error) = ended {
                warn!(%error, "the agent failed");
            }
        }
    }

    /// Ends, and leaves the cluster.
    pub async fn leave(self) {
        let lease = match &*self.membership.borrow() {
            Membership::Member { lease, .. } => Some(*lease),
            _ => None,
        };
        let store = Arc::clone(&self.store);
        self.end().await;
        if let Some(lease) = lease {
            give_back(&*store, lease).await;
        }
    }
}

async fn give_back(store: &dyn Store, lease: LeaseId) {
    match tokio::time::timeout(END_MAX, leave(store, lease)).await {
        Ok(Ok(())) => info!("left the cluster"),
        Ok(Err(error)) => {
            warn!(error = &error as &dyn std::error::Error, "the registration runs out by itself");
        }
        Err(_) => warn!("the registration runs out by itself: the store does not answer"),
    }
}

/// Waits until tasks that were told to end have done so, and aborts those that do not.
async fn end(tasks: &mut JoinSet<()>) {
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(END_MAX, ended).await.is_err() {
        error!(tasks = tasks.len(), "some tasks did not end in time: they are aborted");
        tasks.abort_all();
        // What blocks its thread cannot be aborted; nobody waits for that.
        let aborted = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(END_MAX, aborted).await;
    }
}

/// Tasks with names.
#[derive(Debug, Default)]
struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until one of them is over, and tells which. Cancel-safe.
    async fn ended(&mut self) -> &'static str {
        match self.tasks.join_next_with_id().await {
            Some(ended) => {
                let id = ended.map_or_else(|error: JoinError| error.id(), |(id, ())| id);
                self.names.get(&id).copied().unwrap_or("node")
            }
            None => std::future::pending().await,
        }
    }
}

struct Wiring<'a> {
    machine: &'a Machine,
    options: &'a Options,
    store: Arc<dyn Store>,
    stop: CancellationToken,
    parts: Parts,
}

impl Wiring<'_> {
    /// Runs a task until the node ends.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.parts.spawn(name, async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => debug!(name, "has ended"),
            }
        });
    }

    fn presence(
        &mut self,
        heart: Heart,
        info: watch::Receiver<MachineInfo>,
        membership: watch::Sender<Membership>,
    ) {
        let identity = Identity {
            machine: self.machine.id.clone(),
            token: self.machine.token.clone(),
            version: self.options.version.clone(),
            ttl: self.options.ttl,
        };
        let environment = Arc::clone(&self.machine.environment);
        let presence = Presence::new(Arc::clone(&self.store), identity, heart, environment);
        self.parts.spawn("presence", presence.run(info, membership, self.stop.clone()));
    }

    fn publisher(&mut self, outbox: &Outbox, membership: watch::Receiver<Membership>) {
        let (store, id) = (Arc::clone(&self.store), self.machine.id.clone());
        let (publisher, environment) = (outbox.clone(), Arc::clone(&self.machine.environment));
        self.spawn("publisher", async move {
            publisher.publish(&store, &id, membership, &environment).await;
        });
    }

    fn agent(
        &mut self,
        outbox: &Outbox,
        info: watch::Receiver<MachineInfo>,
        membership: watch::Receiver<Membership>,
    ) -> Agent {
        let id = self.machine.id.clone();
        let sources = Sources {
            assignment: self.follow(Sets::new(self.typed(&ASSIGNMENTS)), &id.0),
            globals: self.follow(Sets::new(self.typed(&GLOBALS)), GLOBALS_ID),
            overrides: self.follow(self.typed(&MACHINE_METADATA), &id.0),
            info,
        };
        let units = Typed::new(Arc::clone(&self.store), &UNITS);
        let systemd = Arc::clone(&self.machine.systemd);
        Agent::new(id, systemd, units, outbox.clone(), sources).only_as_member(membership)
    }

    fn typed<T: Serialize + DeserializeOwned>(&self, collection: &'static Collection) -> Typed<T> {
        Typed::new(Arc::clone(&self.store), collection)
    }

    fn follow<S: Source + 'static>(&mut self, source: S, id: &str) -> watch::Receiver<Known<S::Value>> {
        let (sender, receiver) = watch::channel(Known::NotYet);
        let environment = Arc::clone(&self.machine.environment);
        let (id, watches, beat) = (id.to_owned(), self.options.watches, self.options.interval);
        self.spawn("follower", async move { follow(source, id, watches, beat, &environment, sender).await });
        receiver
    }

    /// The engine runs while this machine is a member.
    fn engine(&mut self, heart: Heart, membership: watch::Receiver<Membership>) {
        let options = EngineOptions {
            machine: self.machine.id.clone(),
            version: self.options.version.clone(),
            interval: self.options.interval,
            watches: self.options.watches,
            grace: self.options.ttl,
            history: self.options.history,
            document_max: self.options.document_max,
        };
        let (store, environment) = (Arc::clone(&self.store), Arc::clone(&self.machine.environment));
        let metrics = Arc::clone(&self.machine.metrics);
        let make = move || {
            let (options, heart, metrics) = (options.clone(), heart.clone(), Arc::clone(&metrics));
            Engine::new(&store, options, heart, Arc::clone(&environment), metrics)
        };
        self.parts.spawn("engine", Engine::run_while_member(make, membership, self.stop.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_aborted() {
        let held = Arc::new(());
        let mut tasks = JoinSet::new();
        let inner = Arc::clone(&held);
        tasks.spawn(async move {
            let _held = inner;
            std::future::pending::<()>().await;
        });
        let begun = tokio::time::Instant::now();
        end(&mut tasks).await;
        assert_eq!((Arc::strong_count(&held), begun.elapsed()), (1, END_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn the_part_that_ends_is_told_by_its_name() {
        let mut parts = Parts::default();
        parts.spawn("patient", std::future::pending());
        parts.spawn("hasty", async { assert_eq!(1, 2, "a bug") });
        assert_eq!(parts.ended().await, "hasty");
    }
}
