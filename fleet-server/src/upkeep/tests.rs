//! What the keeper does, over a real store, at any time of day.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_access::master_key::MasterKey;
use fleet_access::seal::Keyring;
use fleet_access::signer::Signer;
use fleet_policy::documents::AgentState;
use fleet_policy::documents::{
    ACTION_RESULTS, ActionResult, Agent, AgentPolicy, CheckinStatus, DeleteUnenrolledAgents,
    FLEET_SETTINGS_ID, FleetSettings, OpampState, PendingRestart, RequiredVersion,
};
use fleet_policy::files::FileLimits;
use fleet_policy::timestamp::Timestamp;
use fleet_policy::version::Version;
use fleet_store::embedded::Embedded;
use fleet_store::{Expect, LeaseId, Store, Typed, WriteError};
use tempfile::TempDir;

use super::{Leavers, Restarts, Upgrades};
use crate::clock::Clock;
use crate::fleet::{ArtifactCache, Bounds, Fleet};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
struct Hand(Arc<Mutex<Timestamp>>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct Bench {
    _directory: TempDir,
    pub(crate) fleet: Arc<Fleet>,
    hand: Hand,
    lease: LeaseId,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
        let keyring = Keyring::open(Arc::clone(&store), MasterKey::from_bytes([7; 32])).await.unwrap();
        let signer = Signer::open(Arc::clone(&store), &keyring).await.unwrap();
        let bounds = Bounds {
            files: FileLimits { storage: 1 << 20, receiving: 1 },
            artifacts: ArtifactCache { size: 0, keep: Duration::ZERO },
        };
        let hand = Hand(Arc::new(Mutex::new(Timestamp::from_unix(1_800_000_000))));
        let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
        let fleet = Fleet::new(store, keyring, signer, Arc::new(hand.clone()), bounds);
        Bench { _directory: directory, fleet, hand, lease }
    }

    fn pass(&self, time: Duration) {
        let mut now = self.hand.0.lock().unwrap();
        *now = *now + time;
    }

    pub(crate) async fn put(&self, id: &str, agent: Agent) {
        self.fleet.agents.put(id, agent, Expect::Absent).await.unwrap();
        let state = AgentState {
            last_checkin: Some(self.hand.now()),
            last_checkin_status: Some(CheckinStatus::Online),
            policy_revision_idx: 1,
            ..AgentState::default()
        };
        let before = self.fleet.agents.get(id).unwrap();
        self.fleet.agents.save_state(&before, state).await.unwrap();
    }

    /// An agent that runs 9.4.0.
    pub(crate) fn old(&self) -> Agent {
        let mut agent =
            Agent { active: true, policy_id: "web".into(), enrolled_at: self.hand.now(), ..Agent::default() };
        agent.agent.version = "9.4.0".into();
        agent.agent.upgradeable = true;
        agent
    }

    async fn require(&self, percentage: f64) {
        let policy = AgentPolicy {
            id: "web".to_owned(),
            required_versions: Some(vec![RequiredVersion { version: "9.6.0".to_owned(), percentage }]),
            ..AgentPolicy::default()
        };
        self.fleet.agent_policies.put("web", policy, Expect::Any).await.unwrap();
    }

    /// The agents that have been asked so far, in order, with how often.
    fn asked(&self) -> Vec<(String, usize)> {
        let mut asked = Vec::new();
        self.fleet.agents.for_each(|found| {
            if let Some(auto) = &found.agent.auto_upgrade {
                asked.push((found.id.to_string(), auto.attempts.len()));
            }
        });
        asked.sort();
        asked
    }

    async fn actions(&self) -> Vec<serde_json::Value> {
        let store = &self.fleet.store;
        let request = fleet_store::ListRequest::all();
        let page = store.list(&fleet_policy::documents::ACTIONS, request).await.unwrap();
        page.documents.iter().map(|document| serde_json::from_slice(&document.body).unwrap()).collect()
    }
}

#[tokio::test]
async fn agents_go_where_their_policy_sends_them_and_those_that_fail_try_later() {
    let bench = Bench::new().await;
    for number in 0..10 {
        bench.put(&format!("web-{number}"), bench.old()).await;
    }
    let upgrades = Upgrades::new(&bench.fleet, Version::parse("9.6.0").unwrap());
    upgrades.round(bench.lease).await.unwrap();
    assert_eq!(bench.asked(), [], "nothing is required yet");
    bench.require(20.0).await;
    for _ in 0..3 {
        upgrades.round(bench.lease).await.unwrap();
        assert_eq!(bench.asked(), [("web-0".to_owned(), 1), ("web-1".to_owned(), 1)]);
    }
    let actions = bench.actions().await;
    assert_eq!(actions.len(), 1);
    let action = &actions[0];
    assert_eq!((&action["type"], &action["policyId"]), (&"UPGRADE".into(), &"web".into()));
    assert_eq!((&action["data"]["version"], &action["is_automatic"]), (&"9.6.0".into(), &true.into()));
    assert_eq!(action["agents"], serde_json::json!(["web-0", "web-1"]));
    assert!(action["signed"]["signature"].is_string(), "agents want to know where it comes from");

    // One of them gets there, and the other one fails: nobody takes its place.
    let agents = &bench.fleet.agents;
    let arrive = |agent: &mut Agent| {
        agent.agent.version = "9.6.0".into();
        true
    };
    agents.change("web-0", arrive).await.unwrap();
    bench.pass(Duration::from_secs(60));
    let failed = agents.get("web-1").unwrap();
    let state = AgentState { upgraded_at: Some(bench.hand.now()), ..(*failed.state).clone() };
    agents.save_state(&failed, state).await.unwrap();
    upgrades.round(bench.lease).await.unwrap();
    assert_eq!(bench.actions().await.len(), 1);
    bench.pass(Duration::from_secs(1800));
    for id in ["web-0", "web-1"] {
        let found = agents.get(id).unwrap();
        let state = AgentState { last_checkin: Some(bench.hand.now()), ..(*found.state).clone() };
        agents.save_state(&found, state).await.unwrap();
    }
    upgrades.round(bench.lease).await.unwrap();
    assert_eq!(bench.asked(), [("web-0".to_owned(), 1), ("web-1".to_owned(), 2)]);
    assert_eq!(bench.actions().await.len(), 2);
}

#[tokio::test]
async fn who_is_the_keeper_no_longer_asks_nobody() {
    let bench = Bench::new().await;
    bench.put("web-0", bench.old()).await;
    bench.require(100.0).await;
    bench.fleet.store.revoke(bench.lease).await.unwrap();
    let upgrades = Upgrades::new(&bench.fleet, Version::parse("9.6.0").unwrap());
    assert!(matches!(upgrades.round(bench.lease).await, Err(WriteError::LeaseLost)));
    assert_eq!((bench.asked(), bench.actions().await.len()), (Vec::new(), 0));
}

#[tokio::test]
async fn a_collector_that_was_told_to_start_again_and_is_not_heard_of_has_failed() {
    let bench = Bench::new().await;
    bench.put("collector", bench.old()).await;
    let agents = &bench.fleet.agents;
    let found = agents.get("collector").unwrap();
    let restart = PendingRestart {
        seq_no: 7,
        action_id: "again".into(),
        at: bench.hand.now(),
        start_time: 0,
        sequence_num: 3,
        has_left: true,
    };
    let opamp = OpampState { restart: Some(Box::new(restart)), ..OpampState::default() };
    let state = AgentState { opamp: Some(Box::new(opamp)), ..(*found.state).clone() };
    agents.save_state(&found, state).await.unwrap();
    let restarts = Restarts::new(&bench.fleet);
    bench.pass(Duration::from_secs(240));
    assert_eq!(restarts.round().await.unwrap(), 0, "it has time left");
    bench.pass(Duration::from_secs(80));
    assert_eq!(restarts.round().await.unwrap(), 1);
    let state = &agents.get("collector").unwrap().state;
    assert!(state.opamp.as_ref().unwrap().restart.is_none());
    assert!(state.acked_actions.iter().any(|acked| acked.seq_no == 7 && acked.failed));
    let results: Typed<ActionResult> = Typed::new(Arc::clone(&bench.fleet.store), &ACTION_RESULTS);
    let told = results.page(fleet_store::ListRequest::all()).await.unwrap().0.values;
    let result = &told[0].value;
    assert_eq!((told.len(), &*result.action_id, &*result.agent_id), (1, "again", "collector"));
    assert!(result.error.as_deref().unwrap().contains("within 5 minutes"), "{result:?}");
    assert_eq!(restarts.round().await.unwrap(), 0);
}

#[tokio::test]
async fn agents_that_left_long_ago_are_removed_if_the_settings_say_so() {
    let bench = Bench::new().await;
    let leavers = Leavers::new(&bench.fleet);
    bench.put("stays", bench.old()).await;
    let left = |agent: Agent, at| Agent { active: false, unenrolled_at: Some(at), ..agent };
    bench.put("old", left(bench.old(), bench.hand.now())).await;
    bench.pass(5 * DAY);
    bench.put("new", left(bench.old(), bench.hand.now())).await;
    bench.pass(3 * DAY);
    assert_eq!(leavers.round(bench.lease).await.unwrap(), 0, "nobody said so");
    let settings = FleetSettings {
        delete_unenrolled_agents: Some(DeleteUnenrolledAgents { enabled: true, is_preconfigured: false }),
        ..FleetSettings::default()
    };
    bench.fleet.settings.fleet.put(FLEET_SETTINGS_ID, settings, Expect::Absent).await.unwrap();
    assert_eq!(leavers.round(bench.lease).await.unwrap(), 1);
    let agents = &bench.fleet.agents;
    assert!(agents.refresh("old").await.unwrap().is_none());
    assert!(agents.get("old").is_none() && agents.get("new").is_some() && agents.get("stays").is_some());
    bench.pass(30 * DAY);
    assert_eq!(leavers.round(bench.lease).await.unwrap(), 1);
    assert!(agents.get("new").is_none() && agents.get("stays").is_some());
}
