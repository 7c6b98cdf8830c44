//! Keepers that are cut off at any moment, over a real store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fleet_store::embedded::Embedded;
use fleet_store::{Error, Expect, Scope, Store, Typed};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::event::{EVENTS, Event, EventKind};
use super::log::Events;
use super::watcher::{EventBounds, Watcher};
use crate::actions::Actions;
use crate::agents::Agents;
use crate::documents::{Agent, AgentState, CheckinStatus};
use crate::keeper::Duty;
use crate::policies::{Policies, Secrets};
use crate::status::Status;
use crate::timestamp::Timestamp;

const AGENTS: usize = 12;
const STEPS: usize = 60;
/// The longest time for something to come true.
const COME_TRUE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct NoSecrets;

#[async_trait]
impl Secrets for NoSecrets {
    async fn open(&self, _: &[String]) -> Result<BTreeMap<String, String>, Error> {
        Ok(BTreeMap::new())
    }
}

/// One server's views.
struct World {
    store: Arc<dyn Store>,
    agents: Agents,
    policies: Policies,
    actions: Actions,
    events: Events,
    clock: AtomicI64,
    _directory: TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
        World {
            agents: Agents::new(&store, Box::new(|_| {})),
            policies: Policies::new(&store, Box::new(NoSecrets), Box::new(|_| {})),
            actions: Actions::new(&store, Box::new(|_| {})),
            events: Events::new(&store),
            clock: AtomicI64::new(1_800_000_000),
            store,
            _directory: directory,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.load(Ordering::Relaxed))
    }

    /// Is the keeper for so long.
    async fn keep(&self, time: Duration, bounds: EventBounds) {
        let now = || self.now();
        let mut watcher = Watcher::new(&self.agents, &self.policies, &self.actions, &self.events, &now);
        watcher.bounds = bounds;
        let lease = self.store.grant(Duration::from_secs(15)).await.unwrap();
        if let Ok(ended) = timeout(time, watcher.serve(lease.id)).await {
            ended.unwrap();
        }
        self.store.revoke(lease.id).await.unwrap();
    }

    async fn enrol(&self, id: &str) {
        let agent =
            Agent { active: true, policy_id: "web".into(), enrolled_at: self.now(), ..Agent::default() };
        let expect =
            self.agents.get(id).map_or(Expect::Absent, |found| Expect::Revision(found.agent_revision));
        self.agents.put(id, agent, expect).await.unwrap();
    }

    async fn report(&self, id: &str, status: CheckinStatus) {
        let Some(before) = self.agents.get(id) else { return };
        let state = AgentState {
            last_checkin: Some(self.now()),
            last_checkin_status: Some(status),
            policy_revision_idx: 1,
            ..AgentState::default()
        };
        self.agents.save_state(&before, state).await.unwrap();
    }

    /// Follows the store beside what is done.
    async fn run(&self, doing: impl Future<Output = ()>) {
        let following = async {
            tokio::join!(
                self.agents.follow_agents(|| {}),
                self.agents.follow_states(|| {}),
                self.policies.follow(|| {}),
                self.actions.follow(|| {}),
                self.events.follow(|| {}),
            );
        };
        tokio::select! {
            () = following => {}
            () = doing => {}
        }
    }

    async fn told(&self) -> Vec<Event> {
        let events: Typed<Event> = Typed::new(Arc::clone(&self.store), &EVENTS);
        let listing = events.list(Scope::All).await.unwrap();
        listing.values.into_iter().map(|found| found.value).collect()
    }
}

fn id(number: usize) -> String {
    format!("agent-{number}")
}

/// What was told of each agent leads, without a gap and without a repetition, to how it is.
fn check(world: &World, told: &[Event]) {
    for number in 0..AGENTS {
        let id = id(number);
        let mut known: Option<Status> = None;
        for event in told.iter().filter(|event| event.agent_id.as_deref() == Some(&*id)) {
            match event.kind {
                EventKind::AgentEnrolled => known = event.to,
                EventKind::AgentUnenrolled => {
                    assert_eq!(known, event.from, "{event:?}");
                    known = Some(Status::Unenrolled);
                }
                EventKind::AgentStatusChanged => {
                    assert_eq!(known, event.from, "{event:?}");
                    assert_ne!(event.from, event.to, "{event:?}");
                    known = event.to;
                }
                _ => panic!("{event:?}"),
            }
        }
        let is = world
            .agents
            .get(&id)
            .map(|agent| Status::of(&agent.agent, &agent.state, None, Duration::ZERO, world.now()));
        assert_eq!(known, is, "{id}");
    }
}

#[tokio::test]
async fn keepers_that_are_cut_off_neither_lose_nor_repeat() {
    let world = World::new();
    let seed: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut below = |most: u64| random.next_u64() % most;
    world
        .run(async {
            world.keep(Duration::from_millis(300), EventBounds::default()).await;
            for _ in 0..STEPS {
                for _ in 0..below(4) {
                    let id = id(usize::try_from(below(AGENTS as u64)).unwrap());
                    match below(6) {
                        0 => world.enrol(&id).await,
                        1 => {
                            let leave = |agent: &mut Agent| std::mem::replace(&mut agent.active, false);
                            world.agents.change(&id, leave).await.unwrap();
                        }
                        2 => world.report(&id, CheckinStatus::Error).await,
                        3 => world.report(&id, CheckinStatus::Degraded).await,
                        _ => world.report(&id, CheckinStatus::Online).await,
                    }
                }
                world.clock.fetch_add(i64::try_from(below(3)).unwrap(), Ordering::Relaxed);
                world.keep(Duration::from_micros(below(20_000)), EventBounds::default()).await;
            }
            let began = Instant::now();
            world.keep(Duration::from_secs(3), EventBounds::default()).await;
            assert!(began.elapsed() < COME_TRUE_MAX);
            check(&world, &world.told().await);
        })
        .await;
}

#[tokio::test]
async fn what_was_there_before_anybody_looked_is_not_told() {
    let world = World::new();
    world
        .run(async {
            world.enrol("old").await;
            world.keep(Duration::from_millis(500), EventBounds::default()).await;
            assert_eq!(world.told().await, []);
            world.enrol("new").await;
            world.keep(Duration::from_millis(500), EventBounds::default()).await;
            let told = world.told().await;
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0].agent_id.as_deref(), Some("new"));
        })
        .await;
}

#[tokio::test]
async fn old_events_and_those_that_are_too_many_go() {
    let world = World::new();
    let few = EventBounds { most: 5, ..EventBounds::default() };
    world
        .run(async {
            world.keep(Duration::from_millis(300), few).await;
            for number in 0..20 {
                world.enrol(&id(number)).await;
            }
            let began = Instant::now();
            world.keep(Duration::from_secs(3), few).await;
            while world.events.len() != 5 {
                assert!(began.elapsed() < COME_TRUE_MAX, "{}", world.events.len());
                sleep(Duration::from_millis(10)).await;
            }
            let kept = world.told().await;
            let newest = world.events.before(None, 100).await.unwrap();
            let ids =
                |events: &mut dyn Iterator<Item = Event>| events.map(|event| event.id).collect::<Vec<_>>();
            assert_eq!(
                ids(&mut kept.into_iter().rev()),
                ids(&mut newest.events.iter().map(|event| (**event).clone()))
            );
            world.clock.fetch_add(31 * 24 * 3600, Ordering::Relaxed);
            world.keep(Duration::from_millis(1500), few).await;
            while !world.events.is_empty() {
                assert!(began.elapsed() < COME_TRUE_MAX, "{}", world.events.len());
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
}
