//! Somebody who was given a single policy sees and changes its agents alone.

use serde_json::{Value, json};

use super::crowd::{Crowd, hosts};
use crate::people::somebody;

#[tokio::test]
async fn a_grant_narrows_every_list_and_every_choice() {
    let crowd = Crowd::new().await;
    let (other, other_key) = crowd.manager.make_policy("db").await;
    let mine = crowd.enrol(&crowd.key, "web-1", "9.5.0", &["canary"]).await;
    let theirs = crowd.enrol(&other_key, "db-1", "9.5.0", &["secret"]).await;
    let all = crowd.manager.post("/api/fleet/agents/bulk_request_diagnostics", &json!({"agents": "*"})).await;
    let foreign = crowd.post(&theirs, "request_diagnostics", &json!({})).await;
    let grants = json!([{"policy_id": crowd.policy, "role": "editor"}]);
    let ann = somebody(&crowd.server, "ann", json!([]), grants).await;

    let listed = ann.get("/api/fleet/agents?getStatusSummary=true").await.ok();
    assert_eq!((hosts(&listed), &listed["total"]), (vec!["web-1".to_owned()], &json!(1)));
    let counted: u64 =
        listed["statusSummary"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(counted, 1);
    assert_eq!(ann.get("/api/fleet/agent_status").await.ok()["results"]["all"], 1);
    assert_eq!(ann.get(&format!("/api/fleet/agent_status?policyId={other}")).await.ok()["results"]["all"], 0);
    assert_eq!(ann.get("/api/fleet/agents/tags").await.ok()["items"], json!(["canary"]));
    assert_eq!(
        ann.get("/api/fleet/agents/facets?fields=policy_id").await.ok()["item"]["policy_id"],
        json!({(&crowd.policy): 1})
    );
    ann.get(&format!("/api/fleet/agents/{}", mine.id)).await.ok();
    ann.get(&format!("/api/fleet/agents/{}/uploads", mine.id)).await.ok();
    for last in ["", "/uploads"] {
        ann.get(&format!("/api/fleet/agents/{}{last}", theirs.id)).await.refusal(404);
    }
    ann.put(&format!("/api/fleet/agents/{}", theirs.id), &json!({"tags": []})).await.refusal(404);
    ann.delete(&format!("/api/fleet/agents/{}", theirs.id)).await.refusal(404);
    for last in ["unenroll", "reassign", "upgrade", "request_diagnostics", "rollback"] {
        let body = match last {
            "reassign" => json!({"policy_id": crowd.policy}),
            "upgrade" => json!({"version": "9.6.0"}),
            _ => json!({}),
        };
        ann.post(&format!("/api/fleet/agents/{}/{last}", theirs.id), &body).await.refusal(404);
    }

    let rows = ann.get("/api/fleet/agents/action_status").await.ok();
    let ids: Vec<&Value> = rows["items"].as_array().unwrap().iter().map(|row| &row["actionId"]).collect();
    assert_eq!(ids, [&all["actionId"]]);
    let ids = json!({"actionIds": [all["actionId"], foreign["actionId"]]});
    assert_eq!(ann.post("/api/fleet/agents", &ids).await.ok()["items"], json!([mine.id]));
    let cancel = |id: &Value| format!("/api/fleet/agents/actions/{}/cancel", id.as_str().unwrap());
    ann.post(&cancel(&foreign["actionId"]), &json!({})).await.refusal(404);
    ann.post(&cancel(&all["actionId"]), &json!({})).await.refusal(403);

    // A query chooses among her agents; ids of others are not there for her; her agents stay hers.
    let body = json!({"agents": "*", "tagsToAdd": ["hers"]});
    ann.post("/api/fleet/agents/bulk_update_agent_tags", &body).await.ok();
    assert_eq!(crowd.hosts("kuery=tags:hers").await, ["web-1"]);
    let body = json!({"agents": [theirs.id], "tagsToAdd": ["hers"]});
    let action = ann.post("/api/fleet/agents/bulk_update_agent_tags", &body).await.ok();
    let row = crowd.row(action["actionId"].as_str().unwrap()).await;
    assert_eq!(row["latestErrors"][0]["error"], format!("Agent {} not found", theirs.id));
    let body = json!({"policy_id": other});
    ann.post(&format!("/api/fleet/agents/{}/reassign", mine.id), &body).await.refusal(403);
}

#[tokio::test]
async fn a_viewer_changes_nothing() {
    let crowd = Crowd::new().await;
    let agent = crowd.enrol(&crowd.key, "web-1", "9.5.0", &[]).await;
    let grants = json!([{"policy_id": crowd.policy, "role": "viewer"}]);
    for (name, roles, grants) in [("vera", json!(["viewer"]), json!([])), ("greta", json!([]), grants)] {
        let viewer = somebody(&crowd.server, name, roles, grants).await;
        viewer.get(&format!("/api/fleet/agents/{}", agent.id)).await.ok();
        viewer.put(&format!("/api/fleet/agents/{}", agent.id), &json!({"tags": []})).await.refusal(403);
        for last in
            ["unenroll", "reassign", "upgrade", "migrate", "rollback", "actions", "privilege_level_change"]
        {
            viewer.post(&format!("/api/fleet/agents/{}/{last}", agent.id), &json!({})).await.refusal(403);
        }
        for bulk in ["unenroll", "reassign", "upgrade", "migrate", "rollback", "update_agent_tags"] {
            viewer
                .post(&format!("/api/fleet/agents/bulk_{bulk}"), &json!({"agents": "*"}))
                .await
                .refusal(403);
        }
        viewer.get("/api/fleet/enrollment_api_keys").await.refusal(403);
    }
}
