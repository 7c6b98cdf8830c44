//! The list of agents, and what is made of all of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::crowd::{Crowd, hosts};

const AGENTS: &str = "/api/fleet/agents";

#[tokio::test]
async fn agents_are_filtered_sorted_and_shown_in_pages() {
    let crowd = Crowd::new().await;
    let (other, other_key) = crowd.manager.make_policy("db").await;
    for (host, version, tags) in [
        ("web-2", "9.5.0", &["canary"][..]),
        ("web-10", "9.6.0", &["eu", "canary"]),
        ("web-1", "9.10.0", &[]),
    ] {
        crowd.enrol(&crowd.key, host, version, tags).await;
    }
    crowd.enrol(&other_key, "db-1", "8.19.1", &["eu"]).await;
    for (query, expected) in [
        ("sortField=hostname", &["db-1", "web-1", "web-10", "web-2"][..]),
        (
            "sortField=local_metadata.host.hostname.keyword&sortOrder=desc",
            &["web-2", "web-10", "web-1", "db-1"],
        ),
        ("sortField=agent.version&sortOrder=asc", &["db-1", "web-2", "web-10", "web-1"]),
        ("sortField=hostname&page=2&perPage=3", &["web-2"]),
        ("sortField=hostname&page=9", &[]),
        ("sortField=hostname&kuery=tags:eu", &["db-1", "web-10"]),
        ("sortField=hostname&kuery=fleet-agents.tags:canary%20and%20not%20tags:eu", &["web-2"]),
        ("sortField=hostname&kuery=agent.version%3E=9.6", &["web-1", "web-10"]),
        ("sortField=hostname&kuery=local_metadata.host.hostname:web-1*", &["web-1", "web-10"]),
        ("sortField=hostname&kuery=enrolled_at%3Enow-1h&perPage=1", &["db-1"]),
        ("sortField=hostname&kuery=enrolled_at%3Cnow-1h", &[]),
        ("sortField=hostname&kuery=last_checkin:*", &[]),
        ("sortField=hostname&showUpgradeable=true", &["db-1", "web-2"]),
    ] {
        assert_eq!(crowd.hosts(query).await, expected, "{query}");
    }
    let listed = crowd.manager.get(&format!("{AGENTS}?kuery=policy_id:%22{other}%22&withMetrics=true")).await;
    assert_eq!(
        (listed["total"].as_u64(), listed["page"].as_u64(), listed["perPage"].as_u64()),
        (Some(1), Some(1), Some(20))
    );
    assert!(listed.get("nextCursor").is_none() && listed.get("statusSummary").is_none());
    assert_eq!(listed["items"][0]["agent"]["version"], "8.19.1");
}

#[tokio::test]
async fn a_cursor_goes_on_where_the_page_ended_whatever_comes_and_goes() {
    let crowd = Crowd::new().await;
    let agents = crowd.enrol_many(7).await;
    let mut met = Vec::new();
    let mut path = format!("{AGENTS}?sortField=hostname&perPage=2");
    for round in 0.. {
        let page = crowd.manager.get(&path).await;
        met.extend(hosts(&page));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{AGENTS}?sortField=hostname&perPage=2&cursor={cursor}");
        // One that was shown goes, and one comes that would stand before what was shown.
        if round == 0 {
            crowd.manager.ask("DELETE", agents[0].path("").trim_end_matches('/'), None).await;
            crowd.enrol(&crowd.key, "a-new-one", "9.6.0", &[]).await;
        }
    }
    let expected: Vec<String> = (0..7).map(|number| format!("web-{number}")).collect();
    assert_eq!(met, expected);

    let first = crowd.manager.get(&format!("{AGENTS}?perPage=3")).await;
    let after = first["nextSearchAfter"].as_str().unwrap().replace('"', "%22").replace(',', "%2C");
    let second = crowd.manager.get(&format!("{AGENTS}?perPage=100&searchAfter={after}")).await;
    let all: BTreeSet<String> = hosts(&first).into_iter().chain(hosts(&second)).collect();
    assert_eq!((all.len(), second["total"].as_u64()), (7, Some(7)));
    assert!(second.get("nextCursor").is_none());
    let cursor = first["nextCursor"].as_str().unwrap();
    for (query, told) in [
        (
            format!("sortField=hostname&cursor={cursor}"),
            "[request query.cursor]: it belongs to another order",
        ),
        ("cursor=nonsense".to_owned(), "[request query.cursor]: it is not the nextCursor"),
        ("searchAfter=nonsense".to_owned(), "[request query.searchAfter]"),
        (
            "searchAfter=[%22web%22,%22x%22]".to_owned(),
            "[request query.searchAfter]: it belongs to another order",
        ),
        (format!("page=2&cursor={cursor}"), "[request query.page]"),
        ("sortField=colour".to_owned(), "[request query.sortField]: agents cannot be sorted by \"colour\""),
        ("sortOrder=up".to_owned(), "[request query.sortOrder]"),
        ("perPage=10001".to_owned(), "[request query.perPage]"),
        (
            "kuery=colour:red".to_owned(),
            "[request query.kuery]: agents have no field \"colour\" (at character 1)",
        ),
        ("kuery=tags:(a".to_owned(), "[request query.kuery]: expected ) at character 8"),
        ("kuery=last_checkin%3Esoon".to_owned(), "[request query.kuery]: expected a date"),
    ] {
        let message = crowd.refused("GET", &format!("{AGENTS}?{query}"), &Value::Null, 400).await;
        assert!(message.starts_with(told), "{query}: {message}");
    }
}

#[tokio::test]
async fn summaries_count_what_a_query_is_about() {
    let crowd = Crowd::new().await;
    let (other, other_key) = crowd.manager.make_policy("db").await;
    let mut agents = crowd.enrol_many(3).await;
    crowd.enrol(&other_key, "db-1", "9.6.0", &["eu"]).await;
    let first = agents[0].checkin(&crowd.way).await;
    agents[0].apply(&crowd.way, &first).await;
    crowd.manager.await_agent(&agents[0].id, "online", |agent| agent["status"] == "online").await;
    crowd.post(&agents[1], "unenroll", &json!({"revoke": true})).await;

    let listed =
        crowd.manager.get(&format!("{AGENTS}?getStatusSummary=true&kuery=policy_id:{}", crowd.policy)).await;
    assert_eq!(listed["total"], 2);
    let summary = &listed["statusSummary"];
    assert_eq!(
        (&summary["online"], &summary["updating"], &summary["unenrolled"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(summary["offline"], 0);
    assert_eq!(crowd.manager.get(&format!("{AGENTS}?showInactive=true")).await["total"], 4);

    for (query, all, active, online) in [
        (String::new(), 4, 3, 1),
        (format!("?policyId={}", crowd.policy), 3, 2, 1),
        (format!("?policyIds={}&policyIds={other}", crowd.policy), 4, 3, 1),
        (format!("?policyIds={other}"), 1, 1, 0),
        ("?kuery=tags:eu".to_owned(), 1, 1, 0),
        ("?kuery=status:online".to_owned(), 1, 1, 1),
    ] {
        let counts = crowd.manager.get(&format!("/api/fleet/agent_status{query}")).await;
        let results = &counts["results"];
        let told = (results["all"].as_u64(), results["active"].as_u64(), results["online"].as_u64());
        assert_eq!(told, (Some(all), Some(active), Some(online)), "{query}: {counts}");
    }
    assert_eq!(crowd.manager.get(&format!("{AGENTS}/tags")).await["items"], json!(["canary", "eu"]));
    assert_eq!(
        crowd.manager.get(&format!("{AGENTS}/tags?kuery=policy_id:{other}")).await["items"],
        json!(["eu"])
    );
    let facets =
        crowd.manager.get(&format!("{AGENTS}/facets?fields=tags,status,version&showInactive=true")).await;
    assert_eq!(
        facets["item"],
        json!({
            "tags": {"canary": 3, "eu": 1},
            "status": {"online": 1, "updating": 2, "unenrolled": 1},
            // Whoever has checked in has told its version.
            "version": {"9.5.0": 2, "9.6.0": 2},
        })
    );
    let message = crowd.refused("GET", &format!("{AGENTS}/facets?fields=colour"), &Value::Null, 400).await;
    assert!(message.starts_with("[request query.fields]"), "{message}");
    let versions = crowd.manager.get(&format!("{AGENTS}/available_versions")).await;
    assert_eq!(versions["items"], json!(["9.6.0", "9.5.0"]));
    let data = format!("/api/fleet/agent_status/data?agentsIds={}", agents[0].id);
    let told = crowd.manager.get(&data).await;
    assert_eq!(told["items"], json!([{&*agents[0].id: {"data": false}}]));
    crowd.refused("GET", "/api/fleet/agent_status/data", &Value::Null, 400).await;
}

#[tokio::test]
async fn an_agent_is_shown_changed_and_forgotten() {
    let crowd = Crowd::new().await;
    let agent = crowd.enrol(&crowd.key, "web-1", "9.6.0", &["canary"]).await;
    let path = format!("{AGENTS}/{}", agent.id);
    let body = json!({"tags": ["a", "b"], "user_provided_metadata": {"rack": 7}});
    let (status, changed) = crowd.manager.ask("PUT", &path, Some(&body)).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["item"]["tags"], &changed["item"]["user_provided_metadata"]["rack"]),
        (&json!(["a", "b"]), &json!(7))
    );
    assert_eq!(changed["item"]["local_metadata"]["os"]["platform"], "debian");
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    for (body, told) in [
        (json!({}), "[request body.tags]"),
        (json!({"tags": many}), "[request body.tags]: 101 tags are too many"),
        (json!({"tags": [""]}), "[request body.tags]: a tag has"),
        (json!({"tags": "a"}), "[request body.tags]"),
        (json!({"user_provided_metadata": [1]}), "[request body.user_provided_metadata]"),
        (
            json!({"user_provided_metadata": {"x": "y".repeat(70_000)}}),
            "[request body.user_provided_metadata]: at most",
        ),
    ] {
        let message = crowd.refused("PUT", &path, &body, 400).await;
        assert!(message.starts_with(told), "{message}");
    }
    assert_eq!(crowd.manager.ask("DELETE", &path, None).await.1, json!({"action": "deleted"}));
    for method in ["GET", "PUT", "DELETE"] {
        let body = if method == "PUT" { json!({"tags": []}) } else { Value::Null };
        let message = crowd.refused(method, &path, &body, 404).await;
        assert_eq!(message, format!("Agent {} not found", agent.id));
    }
}
