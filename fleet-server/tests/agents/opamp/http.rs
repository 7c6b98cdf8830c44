//! Over plain HTTP.

use fleet_protocol::opamp::{AgentDisconnect, AgentToServer, ComponentHealth, RemoteConfigStatuses};
use serde_json::{Value, json};

use super::collector::{ALL, Collector};
use super::{action_status, save_receiver};
use crate::agent::Way;
use crate::manager::Manager;
use crate::stores::Store;

const CONFIG: &str = "exporters: {otlp: {endpoint: 'h:1', headers: {authorization: hunter2}}}";

#[tokio::test]
async fn a_collector_appears_as_an_agent() {
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (policy, key) = manager.make_policy("web").await;
        let mut collector = Collector::new(&key, 0x1 | 0x4 | 0x800);
        let full = collector.full(CONFIG);
        let reply = collector.post(&way, &full).await;
        assert_eq!((reply.instance_uid.as_slice(), reply.flags), (collector.uid.as_slice(), 0));
        assert_eq!(reply.capabilities, 0x7);

        let listed = manager.get(&format!("/api/fleet/agents?kuery=policy_id:{policy}")).await;
        let listed = &listed["items"][0];
        assert_eq!((&listed["id"], &listed["type"]), (&json!(collector.id()), &json!("OPAMP")));
        assert_eq!(
            (&listed["status"], &listed["tags"]),
            (&json!("online"), &json!(["otelcol", "eu", "test"]))
        );
        assert_eq!(listed["agent"]["version"], "0.140.0");
        assert_eq!(listed["local_metadata"]["host"]["hostname"], "web-1");
        assert_eq!(
            listed["capabilities"],
            json!(["ReportsStatus", "ReportsEffectiveConfig", "ReportsHealth"])
        );
        let shown = manager.agent(&collector.id()).await;
        assert_eq!(shown["health"], json!({"healthy": true, "status": "StatusOK"}));
        assert_eq!(shown["identifying_attributes"]["service.name"], "otelcol");
        assert_eq!(shown["effective_config"]["exporters"]["otlp"]["endpoint"], "h:1");
        assert!(!shown.to_string().contains("hunter2"), "{shown}");

        let ill = ComponentHealth { last_error: "no disk".to_owned(), ..ComponentHealth::default() };
        let message = AgentToServer { health: Some(ill), ..collector.message() };
        assert_eq!(collector.post(&way, &message).await.flags, 0);
        let shown = manager.agent(&collector.id()).await;
        assert_eq!((&shown["status"], &shown["last_checkin_message"]), (&json!("error"), &json!("no disk")));
        assert_eq!(shown["effective_config"]["exporters"]["otlp"]["endpoint"], "h:1");

        let bye = AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..collector.message() };
        collector.post(&way, &bye).await;
        let shown = manager.agent(&collector.id()).await;
        assert_eq!(
            (&shown["status"], &shown["last_checkin_status"]),
            (&json!("offline"), &json!("disconnected"))
        );
    }
}

#[tokio::test]
async fn a_poll_brings_the_configuration_and_its_report_is_shown() {
    let server = Store::Embedded.start_server();
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, key) = manager.make_policy("web").await;
    let revision = save_receiver(&manager, &policy, "otlp").await;
    let mut collector = Collector::new(&key, ALL);
    let full = collector.full("");
    let offered = collector.post(&way, &full).await.remote_config.expect("a configuration");
    let file = &offered.config.unwrap().config_map[""];
    let body: Value = serde_json::from_slice(&file.body).unwrap();
    assert_eq!(body["receivers"], json!({"otlp": {}}));
    assert!(body.get("inputs").is_none() && body.get("outputs").is_none(), "{body}");
    assert_eq!(manager.agent(&collector.id()).await["status"], "updating");
    let applied = collector.tell(&offered.config_hash, RemoteConfigStatuses::Applied, "");
    assert!(collector.post(&way, &applied).await.remote_config.is_none());
    let shown = manager.agent(&collector.id()).await;
    assert_eq!((&shown["status"], &shown["policy_revision"]), (&json!("online"), &json!(revision)));
    assert_eq!(shown["remote_config_status"]["status"], "APPLIED");

    let next = save_receiver(&manager, &policy, "hostmetrics").await;
    let poll = collector.message();
    let offered = collector.post(&way, &poll).await.remote_config.expect("a configuration");
    let failed = collector.tell(&offered.config_hash, RemoteConfigStatuses::Failed, "no such receiver");
    assert!(collector.post(&way, &failed).await.remote_config.is_none());
    let shown = manager.agent(&collector.id()).await;
    assert_eq!(shown["policy_failure"]["revision"], json!(next));
    assert_eq!(shown["policy_failure"]["error"], "no such receiver");
    assert_eq!(shown["policy_revision"], json!(revision));
}

#[tokio::test]
async fn a_restart_comes_with_a_poll_once() {
    let server = Store::Embedded.start_server();
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut collector = Collector::new(&key, ALL);
    let full = collector.full("");
    collector.post(&way, &full).await;
    let restart = manager.action(&collector.id(), "RESTART", json!({})).await;
    let settings = manager.action(&collector.id(), "SETTINGS", json!({"log_level": "debug"})).await;
    let poll = collector.message();
    let reply = collector.post(&way, &poll).await;
    assert!(reply.command.is_some() && reply.remote_config.is_none() && reply.flags == 0, "{reply:?}");
    // It is told once, and is not done before it shows.
    assert_eq!(action_status(&manager, &restart).await, "IN_PROGRESS");
    assert_eq!(action_status(&manager, &settings).await, "FAILED");
    let poll = collector.message();
    assert!(collector.post(&way, &poll).await.command.is_none());
    assert_eq!(action_status(&manager, &restart).await, "IN_PROGRESS");
    // It counts its messages from the beginning, and is known as the one that it was.
    collector.sequence_num = 0;
    let full = collector.full("");
    assert!(collector.post(&way, &full).await.command.is_none());
    assert_eq!(action_status(&manager, &restart).await, "COMPLETE");
}

#[tokio::test]
async fn who_has_missed_something_is_asked_for_everything() {
    let server = Store::Embedded.start_server();
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut collector = Collector::new(&key, 0x1);
    // It has lost its server, which knows nothing of it.
    collector.sequence_num = 70;
    let message = collector.message();
    assert_eq!(collector.post(&way, &message).await.flags, 0x1);
    let full = collector.full("a: 1");
    assert_eq!(collector.post(&way, &full).await.flags, 0);
    assert_eq!(manager.agent(&collector.id()).await["effective_config"], json!({"a": 1}));
    collector.sequence_num += 1;
    let message = collector.message();
    assert_eq!(collector.post(&way, &message).await.flags, 0x1);
}

#[tokio::test]
async fn a_collector_may_ask_for_an_id() {
    let server = Store::Embedded.start_server();
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut collector = Collector::new(&key, 0x1);
    let asking = AgentToServer { flags: 0x1, ..collector.full("") };
    let reply = collector.post(&way, &asking).await;
    collector.uid = reply.agent_identification.expect("an id").new_instance_uid;
    let full = collector.full("");
    assert!(collector.post(&way, &full).await.agent_identification.is_none());
    assert_eq!(manager.get("/api/fleet/agents").await["total"], 1);
    assert_eq!(manager.agent(&collector.id()).await["status"], "online");
}
