//! Agents that go elsewhere, or change what they may do.

use serde_json::{Value, json};

use super::crowd::Crowd;

const TOKEN: &str = "dG9rZW46b2YgdGhlIG90aGVyIHNlcnZlcg==";

fn away() -> Value {
    json!({"uri": "https://other.example:8220", "enrollment_token": TOKEN, "settings": {"insecure": true}})
}

#[tokio::test]
async fn an_agent_is_told_where_to_go_and_nobody_else_learns_its_token() {
    let crowd = Crowd::new().await;
    let mut agents = crowd.enrol_many(2).await;
    let first = crowd.post(&agents[0], "migrate", &away()).await;
    let mut body = away();
    body["agents"] = json!([agents[1].id]);
    let second = crowd.manager.post("/api/fleet/agents/bulk_migrate", &body).await;
    for (agent, action) in agents.iter_mut().zip([&first, &second]) {
        let answer = agent.checkin(&crowd.way).await;
        let given = &answer.body["actions"][0];
        assert_eq!((&given["id"], &given["type"]), (&action["actionId"], &json!("MIGRATE")));
        let expected = json!({
            "target_uri": "https://other.example:8220", "enrollment_token": TOKEN, "settings": {"insecure": true},
        });
        assert_eq!(given["data"], expected);
        let signed = given["signed"]["data"].as_str().unwrap();
        let signed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, signed).unwrap();
        let signed: Value = serde_json::from_slice(&signed).unwrap();
        assert_eq!(signed["data"], expected);
        // Whoever has gone is gone here.
        agent.ack(&crowd.way, action["actionId"].as_str().unwrap(), None).await;
        crowd.manager.await_agent(&agent.id, "gone", |agent| agent["status"] == "unenrolled").await;
    }
    let rows = crowd.manager.get("/api/fleet/agents/action_status").await;
    assert!(!rows.to_string().contains(TOKEN));
    let trail = crowd.manager.get("/api/fleet/audit?perPage=100").await;
    assert!(!trail.to_string().contains(TOKEN), "{trail}");
    let message = crowd.refused("POST", &agents[0].path("migrate"), &away(), 400).await;
    assert!(message.contains("is unenrolled"), "{message}");
}

#[tokio::test]
async fn what_speaks_against_a_migration_is_told() {
    let crowd = Crowd::new().await;
    let old = crowd.enrol(&crowd.key, "old", "9.1.4", &[]).await;
    let agent = crowd.enrol(&crowd.key, "web-1", "9.6.0", &[]).await;
    let message = crowd.refused("POST", &old.path("migrate"), &away(), 400).await;
    assert!(message.contains("only agents from 9.2.0 on"), "{message}");
    for (field, value, told) in [
        ("uri", json!("other"), "[request body.uri]"),
        ("uri", json!("ftp://other"), "[request body.uri]"),
        ("enrollment_token", json!(""), "[request body.enrollment_token]"),
        ("settings", json!(7), "[request body.settings]"),
    ] {
        let mut body = away();
        body[field] = value;
        let message = crowd.refused("POST", &agent.path("migrate"), &body, 400).await;
        assert!(message.starts_with(told), "{message}");
    }
    let policy = format!("/api/fleet/agent_policies/{}", crowd.policy);
    let body = json!({"name": "web", "namespace": "default", "is_protected": true});
    assert_eq!(crowd.manager.ask("PUT", &policy, Some(&body)).await.0, 200);
    let message = crowd.refused("POST", &agent.path("migrate"), &away(), 400).await;
    assert!(message.contains("is_protected"), "{message}");
}

#[tokio::test]
async fn privileges_change_with_a_user_or_without() {
    let crowd = Crowd::new().await;
    let mut agent = crowd.enrol(&crowd.key, "web-1", "9.6.0", &[]).await;
    let old = crowd.enrol(&crowd.key, "old", "9.2.0", &[]).await;
    let user =
        json!({"user_info": {"username": "svc", "groupname": "svc", "password": "hunter2 \"quoted\""}});
    crowd.post(&agent, "privilege_level_change", &user).await;
    let body = json!({"agents": "*"});
    let many = crowd.manager.post("/api/fleet/agents/bulk_privilege_level_change", &body).await;
    let row = crowd.row(many["actionId"].as_str().unwrap()).await;
    assert_eq!((&row["nbAgentsActioned"], &row["nbAgentsFailed"]), (&json!(2), &json!(1)));
    assert_eq!(row["latestErrors"][0]["agentId"], old.id);
    let answer = agent.checkin(&crowd.way).await;
    assert_eq!(answer.body["actions"][0]["type"], "PRIVILEGE_LEVEL_CHANGE");
    assert_eq!(
        answer.body["actions"][0]["data"],
        json!({"unprivileged": true, "user_info": user["user_info"]})
    );
    assert_eq!(answer.body["actions"][1]["data"], json!({"unprivileged": true}));
    let wrong = json!({"user_info": {"name": "x"}});
    let message = crowd.refused("POST", &agent.path("privilege_level_change"), &wrong, 400).await;
    assert!(message.starts_with("[request body.user_info"), "{message}");
}

/// All that a server keeps on its disk.
fn on_disk(crowd: &Crowd) -> String {
    let ca = crowd.server.ca();
    let files = std::fs::read_dir(ca.parent().expect("a directory")).expect("files").flatten();
    let files = files.map(|file| file.path()).filter(|path| path.is_file());
    files.map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned()).collect()
}

#[tokio::test]
async fn credentials_of_settings_and_addresses_are_for_agents_alone() {
    let crowd = Crowd::new().await;
    let mut agent = crowd.enrol(&crowd.key, "web-1", "9.4.0", &[]).await;
    let settings = json!({
        "insecure": true, "proxy_url": "http://proxy.example:3128",
        "proxy_headers": {"Proxy-Authorization": "Basic c2VjcmV0LW9mLXRoZS1wcm94eQ=="},
        "elastic_agent_cert_key_passphrase": "passphrase-of-the-key",
    });
    let mut migrate = away();
    migrate["settings"] = settings.clone();
    let (with_user, signed) =
        ("https://user:word-of-the-user@mirror.example/dl", "https://mirror.example/dl?sig=signature-of-it");
    let upgrade = |uri: &str| json!({"version": "9.5.0", "force": true, "source_uri": uri});
    crowd.post(&agent, "upgrade", &upgrade(with_user)).await;
    let mut bulk = upgrade(signed);
    bulk["agents"] = json!([agent.id]);
    crowd.manager.post("/api/fleet/agents/bulk_upgrade", &bulk).await;
    crowd.post(&agent, "upgrade", &upgrade("https://plain.example/dl")).await;
    let any =
        json!({"action": {"type": "INPUT_ACTION", "input_type": "osquery", "data": {"at": [with_user]}}});
    crowd.post(&agent, "actions", &any).await;
    crowd.post(&agent, "migrate", &migrate).await;

    let answer = agent.checkin(&crowd.way).await;
    let given = answer.body["actions"].as_array().expect("actions").clone();
    assert!(given.len() >= 5, "{given:?}");
    let data: Vec<&Value> = given.iter().map(|action| &action["data"]).collect();
    assert_eq!(data[0]["source_uri"], with_user);
    assert_eq!(data[1]["source_uri"], signed);
    assert_eq!(data[2]["source_uri"], "https://plain.example/dl");
    assert_eq!(data[3]["at"][0], with_user);
    assert_eq!(data[4]["settings"], settings);

    let rows = crowd.manager.get("/api/fleet/agents/action_status").await.to_string();
    let trail = crowd.manager.get("/api/fleet/audit?perPage=100").await.to_string();
    let events = crowd.manager.get("/api/fleet/events/list?perPage=100").await;
    let disk = on_disk(&crowd);
    let hidden =
        ["c2VjcmV0LW9mLXRoZS1wcm94eQ", "passphrase-of-the-key", "word-of-the-user", "signature-of-it"];
    for text in hidden {
        for told in [&rows, &trail, &events.to_string()] {
            assert!(!told.contains(text), "{text}: {told}");
        }
        assert!(!disk.contains(text), "{text} is on disk");
    }
    assert!(trail.contains("plain.example"));
    assert!(disk.contains("plain.example"), "what is no secret is found there");
}
