//! What many agents are asked at once.

use serde_json::{Value, json};

use super::crowd::Crowd;
use crate::agent::Agent;
use crate::server::Server;

fn path(what: &str) -> String {
    format!("/api/fleet/agents/bulk_{what}")
}

fn id(answer: &Value) -> &str {
    answer["actionId"].as_str().unwrap()
}

#[tokio::test]
async fn tags_are_added_and_taken_by_query_and_by_ids() {
    let crowd = Crowd::new().await;
    let agents = crowd.enrol_many(3).await;
    let body =
        json!({"agents": "tags:canary", "tagsToAdd": ["new", "canary"], "tagsToRemove": [], "batchSize": 2});
    let action = crowd.manager.post(&path("update_agent_tags"), &body).await;
    let row = crowd.row(id(&action)).await;
    assert_eq!(
        (&row["type"], &row["status"], &row["nbAgentsAck"]),
        (&json!("UPDATE_TAGS"), &json!("COMPLETE"), &json!(3))
    );
    assert_eq!(crowd.manager.agent(&agents[0].id).await["tags"], json!(["canary", "new"]));
    let ids: Vec<&str> = agents[..2].iter().map(|agent| agent.id.as_str()).chain(["nobody"]).collect();
    let body = json!({"agents": ids, "tagsToRemove": ["canary"]});
    let action = crowd.manager.post(&path("update_agent_tags"), &body).await;
    let row = crowd.row(id(&action)).await;
    assert_eq!(
        (&row["nbAgentsActioned"], &row["nbAgentsAck"], &row["nbAgentsFailed"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(row["latestErrors"][0]["error"], "Agent nobody not found");
    assert_eq!(crowd.hosts("kuery=tags:canary").await, ["web-2"]);
    for (body, told) in [
        (json!({"agents": "*"}), "[request body.tagsToAdd]"),
        (
            json!({"agents": 7, "tagsToAdd": ["a"]}),
            "[request body.agents]: a list of ids of agents, or a query",
        ),
        (json!({"tagsToAdd": ["a"]}), "[request body]: missing field `agents`"),
        (json!({"agents": "colour:red", "tagsToAdd": ["a"]}), "[request body.agents]: agents have no field"),
        (json!({"agents": "*", "tagsToAdd": [""]}), "[request body.tagsToAdd]: a tag has"),
    ] {
        let message = crowd.refused("POST", &path("update_agent_tags"), &body, 400).await;
        assert!(message.starts_with(told), "{message}");
    }
    // Agents are not told of it.
    let mut agent: Agent = agents[0].clone();
    let answer = agent.checkin(&crowd.way).await;
    assert_eq!(answer.actions(), [format!("policy:{}:1", crowd.policy)]);
}

#[tokio::test]
async fn agents_get_another_policy() {
    let crowd = Crowd::new().await;
    let mut agents = crowd.enrol_many(3).await;
    let (other, _) = crowd.manager.make_policy("db").await;
    crowd.post(&agents[0], "reassign", &json!({"policy_id": other})).await;
    assert_eq!(crowd.manager.agent(&agents[0].id).await["policy_id"], other);
    let body = json!({"agents": format!("policy_id:{}", crowd.policy), "policy_id": other});
    let action = crowd.manager.post(&path("reassign"), &body).await;
    let row = crowd.row(id(&action)).await;
    assert_eq!(
        (&row["nbAgentsActioned"], &row["newPolicyId"], &row["status"]),
        (&json!(2), &json!(other), &json!("IN_PROGRESS"))
    );
    let answer = agents[1].checkin(&crowd.way).await;
    assert_eq!(answer.actions(), [id(&action), &format!("policy:{other}:1")]);
    agents[1].ack(&crowd.way, id(&action), None).await;
    agents[2].checkin(&crowd.way).await;
    agents[2].ack(&crowd.way, id(&action), Some("no room")).await;
    let row = crowd.await_row(id(&action), |row| row["status"] != "IN_PROGRESS").await;
    assert_eq!(
        (&row["status"], &row["nbAgentsAck"], &row["nbAgentsFailed"]),
        (&json!("FAILED"), &json!(1), &json!(1))
    );
    let error = &row["latestErrors"][0];
    assert_eq!(
        (&error["agentId"], &error["error"], &error["hostname"]),
        (&json!(agents[2].id), &json!("no room"), &json!("web-2"))
    );
    crowd.refused("POST", &agents[0].path("reassign"), &json!({"policy_id": "nobody"}), 404).await;
    crowd.refused("POST", &agents[0].path("reassign"), &json!({}), 400).await;
    let listed = crowd.manager.post("/api/fleet/agents", &json!({"actionIds": [id(&action)]})).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn hosted_policies_keep_their_agents() {
    let crowd = Crowd::new().await;
    let agent = crowd.enrol(&crowd.key, "web-1", "9.5.0", &[]).await;
    let (other, _) = crowd.manager.make_policy("db").await;
    let policy = format!("/api/fleet/agent_policies/{}", crowd.policy);
    let body = json!({"name": "web", "namespace": "default", "is_managed": true, "force": true});
    assert_eq!(crowd.manager.ask("PUT", &policy, Some(&body)).await.0, 200);
    for (last, body) in [
        ("reassign", json!({"policy_id": other})),
        ("unenroll", json!({})),
        ("upgrade", json!({"version": "9.6.0"})),
        ("migrate", json!({"uri": "https://other.example:8220", "enrollment_token": "abc"})),
    ] {
        let message = crowd.refused("POST", &agent.path(last), &body, 400).await;
        assert!(message.contains("is hosted (is_managed)"), "{message}");
    }
    let body = json!({"agents": "*", "tagsToAdd": ["a"]});
    let action = crowd.manager.post(&path("update_agent_tags"), &body).await;
    let row = crowd.row(id(&action)).await;
    assert_eq!((&row["status"], &row["nbAgentsFailed"]), (&json!("FAILED"), &json!(1)));
    assert!(row["latestErrors"][0]["error"].as_str().unwrap().contains("hosted"), "{row}");
    // Nobody gets there either, and who insists may go.
    let stranger =
        crowd.manager.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{other}")).await;
    let stranger = crowd.enrol(stranger["items"][0]["api_key"].as_str().unwrap(), "db-1", "9.5.0", &[]).await;
    let message =
        crowd.refused("POST", &stranger.path("reassign"), &json!({"policy_id": crowd.policy}), 400).await;
    assert!(message.starts_with("[request body.policy_id]"), "{message}");
    crowd.post(&agent, "unenroll", &json!({"force": true, "revoke": true})).await;
    assert_eq!(crowd.manager.agent(&agent.id).await["status"], "unenrolled");
}

#[tokio::test]
async fn agents_leave_when_asked_and_at_once_when_revoked() {
    for settings in stores() {
        let crowd = Crowd::on(Server::start(&settings.1)).await;
        let mut agents = crowd.enrol_many(4).await;
        let action =
            crowd.manager.post(&path("unenroll"), &json!({"agents": "hostname:(web-0 or web-1)"})).await;
        crowd
            .manager
            .await_agent(&agents[0].id, "asked", |agent| agent["unenrollment_started_at"].is_string())
            .await;
        let answer = agents[0].checkin(&crowd.way).await;
        assert!(answer.actions().contains(&id(&action).to_owned()));
        agents[0].ack(&crowd.way, id(&action), None).await;
        crowd.manager.await_agent(&agents[0].id, "gone", |agent| agent["status"] == "unenrolled").await;
        // It was a mistake.
        let cancel = format!("/api/fleet/agents/actions/{}/cancel", id(&action));
        let cancelled = crowd.manager.post(&cancel, &json!({})).await;
        assert_eq!(cancelled["item"]["type"], "CANCEL");
        crowd
            .manager
            .await_agent(&agents[1].id, "kept", |agent| agent.get("unenrollment_started_at").is_none())
            .await;
        let row = crowd.row(id(&action)).await;
        assert_eq!(row["status"], "CANCELLED");
        assert!(row["cancellationTime"].is_string());

        let body = json!({"agents": [agents[2].id, agents[3].id, agents[0].id], "revoke": true});
        let action = crowd.manager.post(&path("unenroll"), &body).await;
        let row = crowd.row(id(&action)).await;
        let told = (&row["type"], &row["status"], &row["nbAgentsAck"], &row["nbAgentsFailed"]);
        assert_eq!(told, (&json!("FORCE_UNENROLL"), &json!("FAILED"), &json!(2), &json!(1)));
        assert!(row["latestErrors"][0]["error"].as_str().unwrap().contains("unenrolled already"), "{row}");
        assert_eq!(crowd.hosts("").await.len(), 1);
        assert_eq!(crowd.hosts("showInactive=true&kuery=status:unenrolled").await.len(), 3);
        let cancel = format!("/api/fleet/agents/actions/{}/cancel", id(&action));
        let message = crowd.refused("POST", &cancel, &json!({}), 400).await;
        assert!(message.contains("FORCE_UNENROLL"), "{message}");
        crowd.refused("POST", "/api/fleet/agents/actions/nothing/cancel", &json!({}), 404).await;
    }
}

/// Settings of servers on each store, with what must live as long as they do.
fn stores() -> [(Option<crate::etcd::Etcd>, Vec<String>); 2] {
    let etcd = crate::etcd::Etcd::start();
    let settings = vec!["store.type=etcd".to_owned(), format!("store.etcd.endpoints={}", etcd.endpoint())];
    [(None, Vec::new()), (Some(etcd), settings)]
}
