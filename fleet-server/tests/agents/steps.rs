//! The way of a policy, from its save to the status that comes back, on each store.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::agent::{Agent, Way};
use crate::manager::Manager;
use crate::stores::Store;

#[tokio::test]
async fn a_policy_is_saved_shipped_applied_changed_and_told_of() {
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        // A policy is saved, and an agent enrols with its key.
        let (policy, key) = manager.make_policy("web").await;
        let mut agent = Agent::enrol(&way, &key, "web-1").await;
        assert_eq!(manager.agent(&agent.id).await["status"], "updating");
        // It is shipped.
        let first = agent.checkin(&way).await;
        assert_eq!(first.actions(), [format!("policy:{policy}:1")]);
        assert_eq!(first.token(), "");
        agent.apply(&way, &first).await;
        manager.await_agent(&agent.id, "online", |agent| agent["status"] == "online").await;
        // The agent waits, and has the next revision at once.
        let waiting = tokio::spawn({
            let (mut agent, way) = (agent.clone(), way.clone());
            async move {
                let answer = agent.checkin(&way).await;
                (answer, Instant::now())
            }
        });
        manager.await_agent(&agent.id, "held", |agent| agent["policy_revision"] == 1).await;
        let revision = manager.save_policy(&policy, "second").await;
        let saved = Instant::now();
        let (second, shipped) = waiting.await.unwrap();
        assert_eq!(second.actions(), [format!("policy:{policy}:{revision}")]);
        assert_eq!(second.body["actions"][0]["data"]["policy"]["agent"]["mark"], "second");
        assert!(shipped.saturating_duration_since(saved) < Duration::from_secs(5));
        agent.apply(&way, &second).await;
        // Its status is known to whoever asks.
        let shown = manager.agent(&agent.id).await;
        assert_eq!(shown["policy_revision"], revision);
        assert_eq!(shown["local_metadata"]["host"]["hostname"], "web-1");
        let counts = manager.get("/api/fleet/agent_status").await;
        assert_eq!(counts["results"]["online"], 1, "{counts}");
    }
}

#[tokio::test]
async fn an_action_is_delivered_once_and_counted() {
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (_, key) = manager.make_policy("web").await;
        let mut agent = Agent::enrol(&way, &key, "web-1").await;
        let first = agent.checkin(&way).await;
        agent.apply(&way, &first).await;
        let settings = manager.action(&agent.id, "SETTINGS", serde_json::json!({"log_level": "debug"})).await;
        let answer = agent.checkin(&way).await;
        assert_eq!(answer.actions(), [settings.as_str()]);
        assert_eq!(answer.body["actions"][0]["data"]["log_level"], "debug");
        // Unacknowledged, but received: another action comes alone.
        let other = manager.action(&agent.id, "SETTINGS", serde_json::json!({"log_level": "info"})).await;
        assert_eq!(agent.checkin(&way).await.actions(), [other.as_str()]);
        assert_eq!(agent.ack(&way, &settings, None).await.status, StatusCode::OK);
        assert_eq!(agent.ack(&way, &other, Some("no")).await.status, StatusCode::OK);
        // An agent that lost its token is not handed again what it acknowledged.
        agent.token.clear();
        let third = manager.action(&agent.id, "REQUEST_DIAGNOSTICS", serde_json::json!({})).await;
        assert_eq!(agent.checkin(&way).await.actions(), [third]);
        let status = manager.get("/api/fleet/agents/action_status").await;
        let of = |id: &str| {
            status["items"].as_array().unwrap().iter().find(|item| item["actionId"] == *id).cloned().unwrap()
        };
        assert_eq!(
            (of(&settings)["nbAgentsAck"].as_u64(), of(&settings)["status"].as_str()),
            (Some(1), Some("COMPLETE"))
        );
        assert_eq!(
            (of(&other)["nbAgentsFailed"].as_u64(), of(&other)["status"].as_str()),
            (Some(1), Some("FAILED"))
        );
    }
}
