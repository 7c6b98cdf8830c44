//! Upgrades, and the way back.

use serde_json::{Value, json};

use super::crowd::Crowd;
use crate::agent::{Agent, enrolment, request};

const BULK: &str = "/api/fleet/agents/bulk_upgrade";

#[tokio::test]
async fn an_upgrade_that_would_do_no_good_is_refused_with_its_reason() {
    let crowd = Crowd::new().await;
    let agent = crowd.enrol(&crowd.key, "web-1", "9.5.0", &[]).await;
    let mut body = enrolment("packaged");
    body["metadata"]["local"]["elastic"]["agent"]["upgradeable"] = false.into();
    body["metadata"]["local"]["elastic"]["agent"]["version"] = "9.5.0".into();
    let answer = crowd.way.send(request("POST", "/api/fleet/agents/enroll", &crowd.key, &body)).await;
    let packaged = Agent::of(&answer, "packaged");
    for (asked, body, told) in [
        (&agent, json!({"version": "10.0.0"}), "[request body.version]: 10.0.0 is later than this server"),
        (&agent, json!({"version": "latest"}), "[request body.version]: \"latest\" is not a version"),
        (&agent, json!({}), "[request body]: missing field `version`"),
        (&agent, json!({"version": "9.5.0"}), "agent {id} runs 9.5.0, which is not older"),
        (&packaged, json!({"version": "9.6.0"}), "agent {id} cannot upgrade itself"),
    ] {
        let message = crowd.refused("POST", &asked.path("upgrade"), &body, 400).await;
        assert!(message.starts_with(&told.replace("{id}", &asked.id)), "{message}");
    }
    crowd
        .post(&agent, "upgrade", &json!({"version": "9.6.0", "source_uri": "https://mirror.example/"}))
        .await;
    crowd.manager.await_agent(&agent.id, "marked", |agent| agent["upgrade_started_at"].is_string()).await;
    let message = crowd.refused("POST", &agent.path("upgrade"), &json!({"version": "9.6.0"}), 400).await;
    assert!(message.contains("being upgraded already"), "{message}");
    crowd.post(&agent, "upgrade", &json!({"version": "9.6.0", "force": true})).await;
    let mut agent = agent;
    let answer = agent.checkin(&crowd.way).await;
    let given = &answer.body["actions"][0];
    assert_eq!(given["data"], json!({"version": "9.6.0", "source_uri": "https://mirror.example/"}));
    let ids = answer.actions();
    agent.ack(&crowd.way, &ids[0], None).await;
    agent.ack(&crowd.way, &ids[1], None).await;
    crowd.manager.await_agent(&agent.id, "upgraded", |agent| agent["upgraded_at"].is_string()).await;
    let body = json!({"version": "9.6.0"});
    let message = crowd.refused("POST", &agent.path("upgrade"), &body, 400).await;
    assert!(message.contains("is not older"), "it checked in as 9.6.0: {message}");
}

#[tokio::test]
async fn an_agent_rests_after_an_upgrade_unless_somebody_insists() {
    let crowd = Crowd::new().await;
    let mut agent = crowd.enrol(&crowd.key, "web-1", "9.4.0", &[]).await;
    crowd.post(&agent, "upgrade", &json!({"version": "9.5.0"})).await;
    let checkin = async |agent: &mut Agent| {
        let mut body = agent.checkin_body();
        body["local_metadata"]["elastic"]["agent"]["version"] = "9.5.0".into();
        crowd.way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await
    };
    let answer = checkin(&mut agent).await;
    agent.ack(&crowd.way, &answer.actions()[0], None).await;
    crowd.manager.await_agent(&agent.id, "upgraded", |agent| agent["upgraded_at"].is_string()).await;
    let message = crowd.refused("POST", &agent.path("upgrade"), &json!({"version": "9.6.0"}), 429).await;
    assert!(message.contains("skipRateLimitCheck"), "{message}");
    crowd.post(&agent, "upgrade", &json!({"version": "9.6.0", "skipRateLimitCheck": true})).await;
}

#[tokio::test]
async fn a_rolling_upgrade_spreads_its_agents_and_tells_who_is_left_out() {
    let crowd = Crowd::new().await;
    let mut agents = crowd.enrol_many(2).await;
    let new = crowd.enrol(&crowd.key, "new", "9.6.0", &[]).await;
    let start = "2126-01-01T00:00:00Z";
    let body =
        json!({"agents": "*", "version": "9.6.0", "start_time": start, "rollout_duration_seconds": 600});
    let action = crowd.manager.post(BULK, &body).await;
    let row = crowd.row(action["actionId"].as_str().unwrap()).await;
    assert_eq!(
        (&row["type"], &row["version"], &row["hasRolloutPeriod"]),
        (&json!("UPGRADE"), &json!("9.6.0"), &json!(true))
    );
    assert_eq!((&row["startTime"], &row["expiration"]), (&json!(start), &json!("2126-01-01T00:20:00Z")));
    assert_eq!((&row["nbAgentsActioned"], &row["nbAgentsFailed"]), (&json!(3), &json!(1)));
    assert_eq!(row["latestErrors"][0]["agentId"], new.id);
    let mut starts = Vec::new();
    for agent in &mut agents {
        let answer = agent.checkin(&crowd.way).await;
        starts.push(answer.body["actions"][0]["start_time"].as_str().unwrap().to_owned());
    }
    starts.sort();
    assert_eq!(starts, [start, "2126-01-01T00:05:00Z"]);
    let message = crowd
        .refused(
            "POST",
            BULK,
            &json!({"agents": "*", "version": "9.6.0", "rollout_duration_seconds": 5}),
            400,
        )
        .await;
    assert!(message.starts_with("[request body.rollout_duration_seconds]"), "{message}");
    // What has passed is told of as such.
    let body = json!({"agents": "*", "version": "9.6.0", "force": true, "start_time": "2020-01-01T00:00:00Z", "rollout_duration_seconds": 600});
    let action = crowd.manager.post(BULK, &body).await;
    assert_eq!(crowd.row(action["actionId"].as_str().unwrap()).await["status"], "ROLLOUT_PASSED");
}

#[tokio::test]
async fn an_upgrade_that_is_taken_back_in_time_was_none() {
    let crowd = Crowd::new().await;
    let mut agent = crowd.enrol_many(1).await.remove(0);
    let mut body = agent.checkin_body();
    let answer = crowd.way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    agent.apply(&crowd.way, &answer).await;
    let asked = json!({"agents": [agent.id], "version": "9.6.0", "force": true, "start_time": "2126-01-01T00:00:00Z"});
    let action = crowd.manager.post(BULK, &asked).await;
    let id = action["actionId"].as_str().unwrap();
    crowd.manager.await_agent(&agent.id, "marked", |one| one["upgrade_started_at"].is_string()).await;
    body["upgrade_details"] = json!({"target_version": "9.6.0", "action_id": id, "state": "UPG_SCHEDULED",
        "metadata": {"scheduled_at": "2126-01-01T00:00:00Z"}});
    crowd.way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    crowd.manager.await_agent(&agent.id, "scheduled", |one| one["upgrade_details"].is_object()).await;

    crowd.manager.post(&format!("/api/fleet/agents/actions/{id}/cancel"), &json!({})).await;
    crowd.manager.await_agent(&agent.id, "not marked", |one| !one["upgrade_started_at"].is_string()).await;
    body.as_object_mut().unwrap().remove("upgrade_details");
    crowd.way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    let told = crowd.manager.await_agent(&agent.id, "over", |one| !one["upgrade_details"].is_object()).await;
    assert_eq!(told.get("upgraded_at"), None, "{told}");
    // So that it need not rest.
    crowd.post(&agent, "upgrade", &json!({"version": "9.6.0", "force": true})).await;
}

#[tokio::test]
async fn agents_go_back_to_the_version_that_they_kept() {
    let crowd = Crowd::new().await;
    let mut agents = crowd.enrol_many(2).await;
    let message = crowd.refused("POST", &agents[0].path("rollback"), &Value::Null, 400).await;
    assert!(message.contains("has no version to go back to"), "{message}");
    for (agent, version) in agents.iter_mut().zip(["9.4.0", "9.3.0"]) {
        let mut body = agent.checkin_body();
        body["upgrade"] = json!({"rollbacks": [
            {"version": "9.5.9", "valid_until": "2020-01-01T00:00:00Z"},
            {"version": version, "valid_until": "2126-01-01T00:00:00Z"},
        ]});
        let answer = crowd.way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
        agent.apply(&crowd.way, &answer).await;
    }
    let one = crowd.post(&agents[0], "rollback", &json!({})).await;
    let answer = agents[0].checkin(&crowd.way).await;
    let given = &answer.body["actions"][0];
    assert_eq!((&given["id"], &given["type"]), (&one["actionId"], &json!("UPGRADE")));
    assert_eq!(given["data"], json!({"version": "9.4.0", "rollback": true}));
    // The first one tells of none any more.
    let both = crowd.manager.post("/api/fleet/agents/bulk_rollback", &json!({"agents": "*"})).await;
    assert_eq!(both["actionIds"].as_array().unwrap().len(), 1);
    let row = crowd.row(both["actionIds"][0].as_str().unwrap()).await;
    assert_eq!(
        (&row["version"], &row["nbAgentsActioned"], &row["nbAgentsFailed"]),
        (&json!("9.3.0"), &json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_policy_sends_its_agents_to_the_versions_that_it_requires() {
    let crowd = Crowd::new().await;
    let mut agents = crowd.enrol_many(2).await;
    let old = |agent: &Agent| {
        let mut body = agent.checkin_body();
        body["local_metadata"]["elastic"]["agent"]["version"] = "9.5.0".into();
        body
    };
    for agent in &mut agents {
        let body = old(agent);
        let answer = crowd.way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
        agent.apply(&crowd.way, &answer).await;
    }
    let path = format!("/api/fleet/agent_policies/{}", crowd.policy);
    let message = crowd
        .refused("PUT", &path, &json!({"required_versions": [{"version": "new", "percentage": 1}]}), 400)
        .await;
    assert!(message.starts_with("[request body.required_versions.0.version]"), "{message}");
    let required = json!({"required_versions": [{"version": "9.6.0", "percentage": 100}]});
    let (status, saved) = crowd.manager.ask("PUT", &path, Some(&required)).await;
    assert_eq!(status, 200, "{saved}");
    for agent in &agents {
        let asked =
            crowd.manager.await_agent(&agent.id, "asked", |one| one["upgrade_attempts"].is_array()).await;
        assert_eq!(asked["upgrade_attempts"].as_array().map(Vec::len), Some(1), "{asked}");
    }
    let mut given = Vec::new();
    while given.is_empty() {
        let body = old(&agents[0]);
        let answer = crowd.way.send(request("POST", &agents[0].path("checkin"), &agents[0].key, &body)).await;
        given = answer.body["actions"].as_array().cloned().unwrap_or_default();
        given.retain(|action| action["type"] == "UPGRADE");
    }
    assert_eq!(given[0]["data"], json!({"version": "9.6.0"}));
    let row = crowd.row(given[0]["id"].as_str().unwrap()).await;
    assert_eq!((&row["is_automatic"], &row["policyId"]), (&json!(true), &json!(crowd.policy)));
    let mut body = old(&agents[1]);
    body["upgrade_details"] = json!({"target_version": "9.6.0", "state": "UPG_FAILED", "action_id": given[0]["id"],
        "metadata": {"failed_state": "UPG_DOWNLOADING", "error_msg": "no"}});
    crowd.way.send(request("POST", &agents[1].path("checkin"), &agents[1].key, &body)).await;
    crowd.manager.await_agent(&agents[1].id, "failed", |one| one["upgrade_details"].is_object()).await;
    let status = crowd.manager.get(&format!("{path}/auto_upgrade_agents_status")).await;
    assert_eq!(status["totalAgents"], 2);
    let of = |version: &str| {
        let all = status["currentVersions"].as_array().unwrap();
        all.iter()
            .find(|one| one["version"] == version)
            .cloned()
            .unwrap_or_else(|| panic!("{version}: {status}"))
    };
    assert_eq!(of("9.5.0")["agents"], 2);
    assert_eq!((&of("9.6.0")["failedUpgradeAgents"], &of("9.6.0")["agents"]), (&json!(1), &json!(0)));
}
