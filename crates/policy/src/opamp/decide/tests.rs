use std::collections::BTreeMap;

use fleet_protocol::agent::ActionType;
use fleet_protocol::opamp::{AgentDescription, AgentDisconnect, ComponentHealth};
use fleet_store::{Revision, Store};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;
use crate::documents::{AckedAction, Action, Agent, AgentKind, DeployedPolicy};
use crate::opamp::{RESTARTS_WITHIN, give_up};
use crate::policies::tests::head;
use crate::render::render;

const ACCEPTS: u64 = 0x2;
const RESTARTS: u64 = 0x400;
const REPORTS: u64 = 0x1000;

fn now() -> Timestamp {
    Timestamp::from_unix(1_000_000)
}

fn agent(state: AgentState) -> Snapshot {
    let agent = Agent { kind: AgentKind::Opamp, active: true, policy_id: "web".into(), ..Agent::default() };
    Snapshot {
        id: "one".into(),
        agent: Arc::new(agent),
        agent_revision: Revision(1),
        state: Arc::new(state),
        state_revision: Revision(1),
    }
}

fn policy(revision: u64, receiver: Option<&str>) -> Head {
    let mut data = Map::new();
    if let Some(receiver) = receiver {
        data.insert("receivers".to_owned(), json!({receiver: {}}));
    }
    let policy = DeployedPolicy {
        policy_id: "web".to_owned(),
        revision_idx: revision,
        data,
        ..DeployedPolicy::default()
    };
    head(render(&policy, &BTreeMap::new()))
}

fn hash(head: &Head) -> Vec<u8> {
    head.rendered.collector.as_ref().unwrap().message().config_hash
}

fn first(capabilities: u64) -> AgentToServer {
    AgentToServer {
        instance_uid: vec![1; 16],
        sequence_num: 1,
        capabilities,
        agent_description: Some(AgentDescription::default()),
        ..AgentToServer::default()
    }
}

fn next(sequence_num: u64) -> AgentToServer {
    AgentToServer { instance_uid: vec![1; 16], sequence_num, ..AgentToServer::default() }
}

fn said(sequence_num: u64, hash: Vec<u8>, status: RemoteConfigStatuses, error: &str) -> AgentToServer {
    let status = RemoteConfigStatus {
        last_remote_config_hash: hash,
        status: status.into(),
        error_message: error.to_owned(),
    };
    AgentToServer { remote_config_status: Some(status), ..next(sequence_num) }
}

/// A collector and the server that it speaks with.
struct World {
    agent: Snapshot,
    conversation: Conversation,
    head: Option<Head>,
    actions: Arc<Actions>,
    now: Timestamp,
    _directory: TempDir,
}

impl World {
    fn new(head: Option<Head>) -> World {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(fleet_store::embedded::Embedded::open(&directory.path().join("store.db")).unwrap());
        let actions = Arc::new(Actions::new(&store, Box::new(|_| {})));
        let agent = agent(AgentState::default());
        let conversation = Conversation::default();
        World { agent, conversation, head, actions, now: now(), _directory: directory }
    }

    fn tell(&mut self, message: Option<&AgentToServer>) -> Decision {
        let head = self.head.as_ref();
        let decision = decide(&self.agent, message, &self.conversation, head, &self.actions, self.now);
        self.conversation = decision.conversation.clone();
        if let Some(state) = &decision.state {
            self.agent.state = Arc::new(state.clone());
        }
        decision
    }

    /// Asks the collector for something, and waits until it is known.
    async fn ask(&self, kind: ActionType, data: Value, start_time: Option<Timestamp>) -> String {
        let id = format!("{kind}-{}", self.actions.all().len());
        let action = json!({
            "action_id": id,
            "@timestamp": self.now,
            "type": kind,
            "data": data,
            "start_time": start_time,
        });
        let action: Action = serde_json::from_value(action).unwrap();
        self.actions.create(&id, action, vec!["one".to_owned()]).await.unwrap();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let following = tokio::spawn({
            let actions = Arc::clone(&self.actions);
            async move { actions.follow(move || ready.send(()).unwrap()).await }
        });
        is_ready.await.unwrap();
        following.abort();
        id
    }
}

#[tokio::test]
async fn everything_is_asked_for_when_something_was_missed() {
    let mut world = World::new(None);
    let flags = |decision: &Decision| decision.reply.flags;
    assert_eq!(flags(&world.tell(Some(&next(7)))), 1, "nothing is known yet");
    assert_eq!(flags(&world.tell(Some(&next(8)))), 0);
    assert_eq!(flags(&world.tell(Some(&next(8)))), 1);
    assert_eq!(flags(&world.tell(Some(&next(10)))), 1);
    assert_eq!(flags(&world.tell(Some(&first(ACCEPTS)))), 0, "this is everything");
    assert_eq!(flags(&world.tell(Some(&next(2)))), 0);
    assert_eq!(
        flags(&world.tell(Some(&AgentToServer { instance_uid: vec![1; 16], ..next(0) }))),
        0,
        "a poll"
    );
    assert_eq!(flags(&world.tell(None)), 0);
    // Another server knows what is stored.
    world.conversation = Conversation::default();
    let stored = world.agent.state.opamp.as_ref().unwrap().sequence_num;
    assert_eq!(flags(&world.tell(Some(&next(stored + 1)))), 0);
}

#[tokio::test]
async fn a_configuration_is_offered_once_and_its_way_is_written_down() {
    let mut world = World::new(Some(policy(3, Some("otlp"))));
    let decision = world.tell(Some(&first(ACCEPTS | REPORTS)));
    assert_eq!(decision.reply.remote_config.unwrap().config_hash, hash(world.head.as_ref().unwrap()));
    assert_eq!(world.agent.state.policy_revision_idx, 0);
    assert!(!world.tell(Some(&next(2))).says_something, "it has just been offered");
    let hash = hash(world.head.as_ref().unwrap());
    world.tell(Some(&said(3, hash.clone(), RemoteConfigStatuses::Applying, "")));
    assert_eq!(world.agent.state.policy_revision_idx, 0);
    world.tell(Some(&said(4, hash, RemoteConfigStatuses::Applied, "")));
    assert_eq!(world.agent.state.policy_revision_idx, 3);
    // Another revision with the same configuration runs already.
    world.head = Some(policy(4, Some("otlp")));
    assert!(!world.tell(None).says_something);
    assert_eq!(world.agent.state.policy_revision_idx, 4);
    // Another configuration is pushed.
    world.head = Some(policy(5, Some("hostmetrics")));
    assert!(world.tell(None).reply.remote_config.is_some());
    // It got lost: it is offered again, but not at once.
    assert!(world.tell(Some(&next(5))).reply.remote_config.is_none());
    world.now = world.now + OFFER_AGAIN;
    assert!(world.tell(Some(&next(6))).reply.remote_config.is_some());
}

#[tokio::test]
async fn a_configuration_that_fails_is_shown_and_not_pressed() {
    let mut world = World::new(Some(policy(1, Some("otlp"))));
    world.tell(Some(&first(ACCEPTS | REPORTS)));
    let failed = hash(world.head.as_ref().unwrap());
    world.tell(Some(&said(2, failed.clone(), RemoteConfigStatuses::Failed, "no such receiver")));
    let failure = world.agent.state.policy_failure.clone().unwrap();
    assert_eq!((failure.revision, failure.error.as_str()), (1, "no such receiver"));
    world.now = world.now + OFFER_AGAIN;
    let again = world.tell(Some(&said(3, failed, RemoteConfigStatuses::Failed, "no such receiver")));
    assert!(again.reply.remote_config.is_none() && again.state.is_none());
    world.head = Some(policy(2, Some("hostmetrics")));
    assert!(world.tell(None).reply.remote_config.is_some());
    let good = hash(world.head.as_ref().unwrap());
    world.tell(Some(&said(4, good, RemoteConfigStatuses::Applied, "")));
    assert_eq!((world.agent.state.policy_revision_idx, &world.agent.state.policy_failure), (2, &None));
}

#[tokio::test]
async fn who_takes_no_configuration_gets_none() {
    let mut world = World::new(Some(policy(3, Some("otlp"))));
    assert!(world.tell(Some(&first(0x1))).reply.remote_config.is_none());
    assert_eq!(world.agent.state.policy_revision_idx, UNMANAGED_REVISION);
    let mut world = World::new(Some(policy(3, None)));
    assert!(world.tell(Some(&first(ACCEPTS))).reply.remote_config.is_none());
    assert_eq!(world.agent.state.policy_revision_idx, 3);
}

#[tokio::test]
async fn who_does_not_report_is_offered_it_once_a_beginning() {
    let mut world = World::new(Some(policy(3, Some("otlp"))));
    assert!(world.tell(Some(&first(ACCEPTS))).reply.remote_config.is_some());
    assert_eq!(world.agent.state.policy_revision_idx, 3);
    world.now = world.now + OFFER_AGAIN;
    assert!(world.tell(Some(&next(2))).reply.remote_config.is_none());
    assert!(world.tell(Some(&first(ACCEPTS))).reply.remote_config.is_some());
}

#[tokio::test]
async fn a_restart_stands_alone_and_happens_once() {
    let mut world = World::new(Some(policy(1, Some("otlp"))));
    world.ask(ActionType::Restart, json!({}), None).await;
    let config = world.tell(Some(&first(ACCEPTS | REPORTS | RESTARTS)));
    assert!(config.reply.remote_config.is_some() && config.reply.command.is_none() && config.has_more);
    let command = world.tell(None);
    let alone = ServerToAgent {
        capabilities: SERVER_CAPABILITIES,
        command: command.reply.command,
        ..Default::default()
    };
    assert!(command.reply == alone && alone.command.is_some() && !command.has_more);
    // It is told once, and not done before it shows.
    assert_eq!((command.results.len(), command.look_again), (0, Some(world.now + RESTARTS_WITHIN)));
    let nothing = world.tell(Some(&next(2)));
    assert!(nothing.reply.command.is_none() && nothing.results.is_empty());
    let back = world.tell(Some(&first(ACCEPTS | REPORTS | RESTARTS)));
    assert_eq!((back.results.len(), &back.results[0].error), (1, &None));
    assert_eq!(
        world.agent.state.acked_actions,
        [AckedAction { seq_no: world.agent.state.action_seq_no, failed: false }]
    );
    assert!(world.tell(Some(&next(2))).results.is_empty());
}

/// A collector that was told to start again. It had started at the second 7.
async fn restarting() -> World {
    let mut world = World::new(None);
    world.tell(Some(&first(RESTARTS)));
    world.tell(Some(&AgentToServer { health: started(7), ..next(2) }));
    world.ask(ActionType::Restart, json!({}), None).await;
    assert!(world.tell(Some(&next(3))).reply.command.is_some());
    world
}

fn started(second: u64) -> Option<ComponentHealth> {
    let start_time_unix_nano = second * 1_000_000_000;
    Some(ComponentHealth { healthy: true, start_time_unix_nano, ..ComponentHealth::default() })
}

fn errors(decision: &Decision) -> Vec<Option<&str>> {
    decision.results.iter().map(|result| result.error.as_deref()).collect()
}

#[tokio::test]
async fn a_restart_shows_in_a_later_start_or_a_conversation_that_begins_anew() {
    let described = |sequence_num| AgentToServer {
        agent_description: Some(AgentDescription::default()),
        ..next(sequence_num)
    };
    let mut world = restarting().await;
    // Neither the same start nor a description that was asked for shows anything.
    let same = AgentToServer { health: started(7), ..described(4) };
    assert!(errors(&world.tell(Some(&same))).is_empty());
    let later = AgentToServer { health: started(8), ..next(5) };
    assert_eq!(errors(&world.tell(Some(&later))), [None]);

    let mut world = restarting().await;
    assert_eq!(errors(&world.tell(Some(&described(1)))), [None]);

    let mut world = restarting().await;
    let bye = AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..next(4) };
    assert!(errors(&world.tell(Some(&bye))).is_empty());
    assert_eq!(errors(&world.tell(Some(&described(5)))), [None]);
}

#[tokio::test]
async fn a_restart_that_does_not_show_fails_and_the_next_one_has_its_turn() {
    let mut world = restarting().await;
    world.ask(ActionType::Restart, json!({}), None).await;
    let waiting = world.tell(Some(&next(4)));
    assert!(waiting.reply.command.is_none() && !waiting.has_more);
    let bound = world.now + RESTARTS_WITHIN;
    assert_eq!(waiting.look_again, Some(bound));
    assert!(give_up(&world.agent, world.now).is_none());
    world.now = bound;
    // Whoever is not heard of at all is given up as well.
    let (state, result) = give_up(&world.agent, world.now).unwrap();
    assert!(state.opamp.unwrap().restart.is_none() && result.error.is_some());
    let failed = world.tell(Some(&next(5)));
    assert!(errors(&failed)[0].unwrap().contains("within 5 minutes"), "{failed:?}");
    // The other one goes out with the same answer.
    assert!(failed.reply.command.is_some());
    world.now = world.now + Duration::from_secs(10);
    let back = AgentToServer { health: started(8), ..next(6) };
    assert_eq!(errors(&world.tell(Some(&back))), [None]);
    let failed: Vec<bool> = world.agent.state.acked_actions.iter().map(|acked| acked.failed).collect();
    assert_eq!(failed, [true, false]);
}

#[tokio::test]
async fn what_a_collector_cannot_do_fails_at_once() {
    let mut world = World::new(None);
    world.ask(ActionType::Restart, json!({}), None).await;
    world.ask(ActionType::Settings, json!({"log_level": "debug"}), None).await;
    let decision = world.tell(Some(&first(0x1)));
    let errors: Vec<&str> = decision.results.iter().filter_map(|result| result.error.as_deref()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[1].contains("cannot do SETTINGS"), "{errors:?}");
    assert!(world.agent.state.acked_actions.iter().all(|acked| acked.failed));
    assert!(world.tell(Some(&next(2))).results.is_empty());
}

#[tokio::test]
async fn a_restart_waits_for_its_start_and_can_be_cancelled() {
    let mut world = World::new(None);
    let start = world.now + Duration::from_secs(60);
    let restart = world.ask(ActionType::Restart, json!({}), Some(start)).await;
    let decision = world.tell(Some(&first(RESTARTS)));
    assert_eq!((decision.look_again, decision.reply.command), (Some(start), None));
    let mut other = World::new(None);
    std::mem::swap(&mut other.actions, &mut world.actions);
    // It is not cancelled there.
    other.agent = world.agent.clone();
    other.now = start;
    assert!(other.tell(Some(&next(2))).reply.command.is_some());
    std::mem::swap(&mut other.actions, &mut world.actions);
    world.ask(ActionType::Cancel, json!({"target_id": restart}), None).await;
    let cancelled = world.tell(Some(&next(2)));
    assert_eq!(cancelled.results.len(), 2);
    world.now = start;
    assert!(world.tell(Some(&next(3))).reply.command.is_none());
}

#[tokio::test]
async fn who_is_asked_to_leave_leaves() {
    let mut world = World::new(None);
    world.ask(ActionType::Unenroll, json!({}), None).await;
    let decision = world.tell(Some(&first(0x1)));
    assert!(decision.unenroll && decision.results.len() == 1);
}

#[tokio::test]
async fn health_and_goodbyes_are_written_and_silence_is_not() {
    let mut world = World::new(None);
    world.tell(Some(&first(0x1)));
    assert_eq!(world.agent.state.last_checkin_status, Some(CheckinStatus::Online));
    let ill = ComponentHealth { last_error: "no disk".to_owned(), ..ComponentHealth::default() };
    world.tell(Some(&AgentToServer { health: Some(ill), ..next(2) }));
    assert_eq!(world.agent.state.last_checkin_status, Some(CheckinStatus::Error));
    assert_eq!(&*world.agent.state.last_checkin_message, "no disk");
    assert!(world.tell(Some(&next(3))).state.is_none());
    world.now = world.now + BEAT;
    assert!(world.tell(Some(&next(4))).state.is_some());
    world.tell(Some(&AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..next(5) }));
    assert_eq!(world.agent.state.last_checkin_status, Some(CheckinStatus::Disconnected));
    world.tell(Some(&next(6)));
    assert_eq!(world.agent.state.last_checkin_status, Some(CheckinStatus::Online));
}

fn any_message() -> impl Strategy<Value = AgentToServer> {
    let parts = (any::<bool>(), any::<bool>(), any::<bool>(), 0_i32..5, prop::collection::vec(0_u8..3, 0..3));
    (0_u64..4, 0_u64..0x2000, parts).prop_map(
        |(sequence_num, capabilities, (full, ill, bye, status, hash))| AgentToServer {
            capabilities,
            agent_description: full.then(AgentDescription::default),
            health: ill.then(ComponentHealth::default),
            agent_disconnect: bye.then_some(AgentDisconnect {}),
            remote_config_status: (status < 4).then(|| RemoteConfigStatus {
                last_remote_config_hash: hash,
                status,
                error_message: String::new(),
            }),
            ..next(sequence_num)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a collector says: what it is told keeps to the specification, and a repetition settles.
    #[test]
    fn answers_keep_to_the_specification(messages in prop::collection::vec(any_message(), 1..12)) {
        let mut world = World::new(Some(policy(1, Some("otlp"))));
        for message in &messages {
            let decision = world.tell(Some(message));
            let reply = &decision.reply;
            prop_assert_eq!(reply.capabilities, SERVER_CAPABILITIES);
            prop_assert!(reply.command.is_none() && reply.error_response.is_none());
            let opamp = world.agent.state.opamp.clone().unwrap_or_default();
            if reply.remote_config.is_some() {
                prop_assert!(has(opamp.capabilities, AgentCapability::AcceptsRemoteConfig));
                prop_assert!(message.agent_disconnect.is_none());
            }
            // Looking again at once changes nothing and says nothing.
            let again = world.tell(None);
            prop_assert!(again.state.is_none(), "{:?}", again.state);
            prop_assert!(!again.says_something);
        }
    }
}
