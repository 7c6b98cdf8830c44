//! Agents that are sent away in good order.

use http::StatusCode;
use serde_json::json;

use crate::agent::{Agent, Answer, Way};
use crate::etcd::Etcd;
use crate::manager::Manager;
use crate::refusals::WRONG;
use crate::server::Server;
use crate::stores::Store;

const SETTING: &str = "inputs.0.server.feature_flags.graceful_force_unenroll.enabled=true";

fn kind(answer: &Answer) -> &str {
    answer.body["actions"][0]["type"].as_str().unwrap_or_default()
}

/// Checks in until it is refused.
async fn check_farewell(way: &Way, agent: &mut Agent, is_signed: bool) {
    let first = agent.checkin(way).await;
    assert_eq!((first.status, kind(&first)), (StatusCode::OK, "POLICY_CHANGE"), "{}", first.body);
    let policy = &first.body["actions"][0]["data"]["policy"];
    assert_eq!((&policy["inputs"], &policy["outputs"]), (&json!([]), &json!({})));
    assert!(policy["revision"].is_u64() && policy.get("fleet").is_none(), "{policy}");
    // An acknowledgement is not for those who are not known.
    let acked = agent.ack(way, first.actions()[0].as_str(), None).await;
    assert_eq!(acked.status, StatusCode::UNAUTHORIZED);
    let second = agent.checkin(way).await;
    assert_eq!((second.status, kind(&second)), (StatusCode::OK, "UNENROLL"), "{}", second.body);
    let action = &second.body["actions"][0];
    assert_eq!(action["agent_id"], agent.id);
    assert_eq!(action["signed"]["signature"].is_string(), is_signed);
    for _ in 0..2 {
        assert_eq!(agent.checkin(way).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn agents_whose_key_is_not_good_any_more_leave_in_good_order() {
    let server = Server::start(&[SETTING.to_owned()]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut agents = Vec::new();
    for name in ["forced", "held", "removed", "stays"] {
        let mut agent = Agent::enrol(&way, &key, name).await;
        let answer = agent.checkin(&way).await;
        agent.apply(&way, &answer).await;
        agents.push(agent);
    }
    let [mut forced, held, mut removed, mut stays] = agents.try_into().ok().unwrap();
    let revoke = async |agent: &Agent| {
        let path = format!("/api/fleet/agents/{}/unenroll", agent.id);
        manager.post(&path, &json!({"revoke": true})).await;
    };
    revoke(&forced).await;
    check_farewell(&way, &mut forced, true).await;
    // One whose check-in is held hears of it at once.
    let waiting = tokio::spawn({
        let (mut agent, way) = (held.clone(), way.clone());
        async move { agent.checkin(&way).await }
    });
    manager.await_agent(&held.id, "held", |agent| agent["last_checkin_message"] == "Running").await;
    revoke(&held).await;
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, kind(&answer)), (StatusCode::OK, "POLICY_CHANGE"), "{}", answer.body);
    // Nobody is told to leave by a signature who does not show a key that was good once.
    manager.ask("DELETE", &format!("/api/fleet/agents/{}", removed.id), None).await;
    check_farewell(&way, &mut removed, false).await;
    let mut stranger = Agent { key: WRONG.to_owned(), ..stays.clone() };
    check_farewell(&way, &mut stranger, false).await;
    manager.action(&stays.id, "SETTINGS", json!({"log_level": "debug"})).await;
    let answer = stays.checkin(&way).await;
    assert_eq!((answer.status, kind(&answer)), (StatusCode::OK, "SETTINGS"), "{}", answer.body);
}

#[tokio::test]
async fn a_store_that_is_away_sends_nobody_away() {
    let store = Store::Etcd(Etcd::start());
    let mut settings = store.settings();
    settings.push(SETTING.to_owned());
    let server = Server::start(&settings);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    agent.id = "nobody".to_owned();
    let Store::Etcd(etcd) = &store else { unreachable!() };
    etcd.pause(true);
    assert_eq!(agent.checkin(&way).await.status, StatusCode::SERVICE_UNAVAILABLE);
    etcd.pause(false);
}
