//! How far actions are, in pages.

use serde_json::{Value, json};

use super::crowd::Crowd;

const STATUS: &str = "/api/fleet/agents/action_status";

#[tokio::test]
async fn actions_and_revisions_are_told_of_in_pages() {
    let crowd = Crowd::new().await;
    let mut agent = crowd.enrol(&crowd.key, "web-1", "9.5.0", &[]).await;
    let other = crowd.enrol(&crowd.key, "web-2", "9.5.0", &[]).await;
    let mut ids = Vec::new();
    for level in ["info", "debug", "error"] {
        ids.push(crowd.manager.action(&agent.id, "SETTINGS", json!({"log_level": level})).await);
    }
    let items = async |query: &str| crowd.manager.get(&format!("{STATUS}?{query}")).await["items"].clone();
    let told = |items: &Value| -> Vec<String> {
        items.as_array().unwrap().iter().map(|row| row["actionId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told(&items("").await), [&*ids[2], &ids[1], &ids[0]]);
    assert_eq!(told(&items("page=1&perPage=2").await), [&*ids[0]]);
    assert_eq!(told(&items("latest=1").await), [&*ids[2]]);
    assert_eq!(told(&items("date=2020-01-01").await), Vec::<String>::new());
    assert_eq!(told(&items("date=2999-01-01").await).len(), 3);
    let message = crowd.refused("GET", &format!("{STATUS}?date=soon"), &Value::Null, 400).await;
    assert!(message.starts_with("[request query.date]"), "{message}");

    let revision = crowd.manager.save_policy(&crowd.policy, "second").await;
    let change = format!("policy:{}:{revision}", crowd.policy);
    let row = crowd.row(&change).await;
    let counts = |row: &Value| {
        (row["nbAgentsActioned"].as_u64(), row["nbAgentsAck"].as_u64(), row["nbAgentsFailed"].as_u64())
    };
    assert_eq!(
        (&row["type"], &row["policyId"], &row["revision"]),
        (&json!("POLICY_CHANGE"), &json!(crowd.policy), &json!(revision))
    );
    assert_eq!((row["status"].as_str(), counts(&row)), (Some("IN_PROGRESS"), (Some(2), Some(0), Some(0))));
    let mut other = other;
    let answer = other.checkin(&crowd.way).await;
    other.apply(&crowd.way, &answer).await;
    agent.checkin(&crowd.way).await;
    agent.ack(&crowd.way, &change, Some("cannot open the file")).await;
    let row = crowd.await_row(&change, |row| row["nbAgentsFailed"] == 1).await;
    assert_eq!(counts(&row), (Some(2), Some(1), Some(1)));
    assert_eq!(row["latestErrors"][0]["error"], "cannot open the file");
    assert_eq!(row["latestErrors"][0]["hostname"], "web-1");
    assert_eq!(items("errorSize=0").await[0]["latestErrors"], json!([]));
}

#[tokio::test]
async fn any_action_is_sent_and_what_is_none_is_refused() {
    let crowd = Crowd::new().await;
    let mut agent = crowd.enrol(&crowd.key, "web-1", "9.5.0", &[]).await;
    let body = json!({"additional_metrics": ["CPU"], "exclude_events_log": true});
    crowd.post(&agent, "request_diagnostics", &body).await;
    let body =
        json!({"action": {"type": "INPUT_ACTION", "input_type": "osquery", "timeout": 9, "data": {"q": 1}}});
    let made = crowd.post(&agent, "actions", &body).await;
    assert_eq!(
        (&made["item"]["type"], &made["item"]["agents"]),
        (&json!("INPUT_ACTION"), &json!([agent.id]))
    );
    let answer = agent.checkin(&crowd.way).await;
    let actions = answer.body["actions"].as_array().unwrap();
    assert_eq!(actions[0]["data"], json!({"additional_metrics": ["CPU"], "exclude_events_log": true}));
    assert_eq!((&actions[1]["input_type"], &actions[1]["timeout"]), (&json!("osquery"), &json!(9)));
    for (last, body, told) in [
        ("actions", json!({"action": {"type": "DANCE"}}), "[request body.action.type]"),
        ("actions", json!({"action": {"type": "UPDATE_TAGS"}}), "[request body.action.type]"),
        (
            "actions",
            json!({"action": {"type": "SETTINGS", "start_time": "soon"}}),
            "[request body.action.start_time]",
        ),
        (
            "request_diagnostics",
            json!({"additional_metrics": ["RAM"]}),
            "[request body.additional_metrics[0]]",
        ),
    ] {
        let message = crowd.refused("POST", &agent.path(last), &body, 400).await;
        assert!(message.starts_with(told), "{message}");
    }
}
