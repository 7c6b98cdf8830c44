//! Several servers over one store, servers that are killed, and stores that go away.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use crate::agent::{Agent, Way, request};
use crate::etcd::Etcd;
use crate::manager::Manager;
use crate::server::Server;
use crate::stores::Store;

#[tokio::test]
async fn an_agent_moves_between_servers() {
    let store = Store::Etcd(Etcd::start());
    let first = store.start_server();
    let second = first.start_beside();
    let (to_first, to_second) = (Way::to(&first), Way::to(&second));
    let manager = Manager::of(&first);
    let (policy, key) = manager.make_policy("web").await;
    // The very next request may go to the other server.
    let mut agent = Agent::enrol(&to_first, &key, "web-1").await;
    let answer = agent.checkin(&to_second).await;
    assert_eq!(answer.actions(), [format!("policy:{policy}:1")]);
    agent.apply(&to_first, &answer).await;
    let action = manager.action(&agent.id, "SETTINGS", json!({"log_level": "debug"})).await;
    let waiting = agent.checkin(&to_second).await;
    assert_eq!(waiting.actions(), [action.as_str()]);
    assert_eq!(agent.ack(&to_first, &action, None).await.status, StatusCode::OK);
    // Held at one server, a revision saved at the other.
    let held = tokio::spawn({
        let (mut agent, way) = (agent.clone(), to_first.clone());
        async move { agent.checkin(&way).await }
    });
    manager.await_agent(&agent.id, "held", |agent| agent["last_checkin_message"] == "Running").await;
    Manager::of(&second).save_policy(&policy, "from the second").await;
    assert_eq!(held.await.unwrap().actions(), [format!("policy:{policy}:2")]);
}

#[tokio::test]
async fn actions_that_are_asked_for_at_the_same_moment_all_arrive() {
    const PEOPLE: usize = 40;
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (_, key) = manager.make_policy("web").await;
        let mut agent = Agent::enrol(&way, &key, "web-1").await;
        let answer = agent.checkin(&way).await;
        agent.apply(&way, &answer).await;
        let asking =
            (0..PEOPLE).map(|_| manager.action(&agent.id, "SETTINGS", json!({"log_level": "debug"})));
        let mut asked = join_all(asking).await;
        let mut handed = Vec::new();
        while handed.len() < PEOPLE {
            let answer = agent.checkin(&way).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(!answer.actions().is_empty(), "{} of {PEOPLE}", handed.len());
            handed.extend(answer.actions());
        }
        asked.sort_unstable();
        handed.sort_unstable();
        assert_eq!(handed, asked);
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let mut server = Server::start(&[]);
    let manager = Manager::of(&server);
    let (_, key) = manager.make_policy("web").await;
    let mut agents: Vec<Agent> = Vec::new();
    for round in 0..3 {
        let way = Way::to(&server);
        for number in 0..5 {
            let mut agent = Agent::enrol(&way, &key, &format!("web-{round}-{number}")).await;
            let answer = agent.checkin(&way).await;
            agent.apply(&way, &answer).await;
            agents.push(agent);
        }
        server = server.restart();
        let manager = Manager::of(&server);
        for agent in &agents {
            let shown = manager.agent(&agent.id).await;
            assert_eq!((shown["policy_revision"].as_u64(), shown["active"].as_bool()), (Some(1), Some(true)));
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_never_a_wrong_key() {
    let etcd = Etcd::start();
    let store = Store::Etcd(etcd);
    let server = store.start_server();
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let answer = agent.checkin(&way).await;
    let Store::Etcd(etcd) = &store else { unreachable!() };
    etcd.pause(true);
    let acked = agent.ack(&way, &answer.actions()[0], None).await;
    assert_eq!(acked.status, StatusCode::SERVICE_UNAVAILABLE, "{}", acked.body);
    assert!(acked.headers.contains_key("retry-after"));
    let mut body = agent.checkin_body();
    body["message"] = "something new".into();
    let refused = way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
    let unknown = way.send(request("POST", "/api/fleet/agents/nobody/checkin", &agent.key, &body)).await;
    assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE, "{}", unknown.body);
    etcd.pause(false);
    let mut is_acked = false;
    for _ in 0..50 {
        is_acked = agent.ack(&way, &answer.actions()[0], None).await.status == StatusCode::OK;
        if is_acked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_acked, "the store is back, the server is not");
}
