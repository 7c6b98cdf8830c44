//! Agent policies and their revisions.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::manager::Manager;
use crate::server::Server;

const POLICIES: &str = "/api/fleet/agent_policies";

async fn put(manager: &Manager, id: &str, body: Value) -> (StatusCode, Value) {
    manager.ask("PUT", &format!("{POLICIES}/{id}"), Some(&body)).await
}

#[tokio::test]
async fn each_revision_is_kept_compared_and_taken_back() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "web", "name": "Web", "namespace": "default", "description": "first"});
    assert_eq!(manager.post(POLICIES, &body).await["item"]["revision"], 1);
    let (status, saved) = put(&manager, "web", json!({"name": "Web", "namespace": "prod"})).await;
    assert_eq!((status, &saved["item"]["revision"]), (StatusCode::OK, &json!(2)), "{saved}");

    let same = put(&manager, "web", saved["item"].clone()).await;
    assert_eq!(same.1["item"]["revision"], 2, "what changes nothing makes no revision: {}", same.1);

    let listed = manager.get(&format!("{POLICIES}/web/revisions")).await;
    let numbers: Vec<u64> =
        listed["items"].as_array().unwrap().iter().map(|one| one["revision"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(listed["items"][0]["updated_by"], "admin");

    let compared = manager.get(&format!("{POLICIES}/web/revisions/2/diff")).await;
    assert_eq!(
        compared["item"],
        json!({"from": 1, "to": 2, "changes": [
            {"op": "replace", "path": "/agent_policy/namespace", "before": "default", "after": "prod"},
        ]})
    );

    let rolled = manager.post(&format!("{POLICIES}/web/revisions/1/rollback"), &json!({})).await;
    assert_eq!(rolled["item"]["revision"], 3);
    assert_eq!(rolled["item"]["namespace"], "default");
    let (status, missing) = manager.ask("GET", &format!("{POLICIES}/web/revisions/9"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{missing}");
}

#[tokio::test]
async fn the_second_of_two_editors_is_told_what_the_first_did() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "web", "name": "Web", "namespace": "default"});
    let made = manager.post(POLICIES, &body).await["item"].clone();
    let with = |text: &str| {
        let mut edited = made.clone();
        edited["description"] = text.into();
        edited
    };
    assert_eq!(put(&manager, "web", with("one")).await.0, StatusCode::OK);
    let (status, refused) = put(&manager, "web", with("two")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["attributes"]["current"]["description"], "one");
    assert_eq!(manager.get(&format!("{POLICIES}/web")).await["item"]["description"], "one");
}

#[tokio::test]
async fn mistakes_name_the_field() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let good = json!({"id": "web", "name": "Web", "namespace": "default"});
    manager.post(POLICIES, &good).await;
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(7)),
        ("name", json!("x".repeat(300))),
        ("namespace", json!("A B")),
        ("monitoring_enabled", json!(["colours"])),
        ("monitoring_enabled", json!("logs")),
        ("inactivity_timeout", json!(-1)),
        ("inactivity_timeout", json!("2 weeks")),
        ("global_data_tags", json!([{"name": "a b", "value": "x"}])),
        ("global_data_tags", json!([{"name": "a", "value": {}}])),
        ("required_versions", json!([{"version": "9.6.0", "percentage": 101}])),
        ("advanced_settings", json!([])),
        ("overrides", json!("inputs")),
        ("agent_features", json!([{"name": "fqdn"}])),
        ("colour", json!("red")),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, answer) = put(&manager, "web", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field} = {value}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("[request body.{field}")), "{field} = {value}: {message}");
    }
    let (status, taken) = manager
        .ask("POST", POLICIES, Some(&json!({"id": "other", "name": "Web", "namespace": "default"})))
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{taken}");
}

#[tokio::test]
async fn a_copy_is_a_policy_of_its_own() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "web", "name": "Web", "namespace": "prod", "monitoring_enabled": ["logs"]});
    manager.post(POLICIES, &body).await;
    let copy = manager.post(&format!("{POLICIES}/web/copy"), &json!({"name": "Web 2"})).await["item"].clone();
    assert_ne!(copy["id"], "web");
    assert_eq!((&copy["namespace"], &copy["revision"]), (&json!("prod"), &json!(1)));
    let found = manager.get(&format!("{POLICIES}?kuery=name:%22Web%202%22")).await;
    assert_eq!((&found["total"], &found["items"][0]["id"]), (&json!(1), &copy["id"]));
    let sorted = manager.get(&format!("{POLICIES}?sortField=name&sortOrder=desc&perPage=1")).await;
    assert_eq!(sorted["items"][0]["name"], "Web 2");
    let removed = manager.post(&format!("{POLICIES}/delete"), &json!({"agentPolicyId": copy["id"]})).await;
    assert_eq!(removed["name"], "Web 2");
}

#[tokio::test]
async fn a_space_in_front_of_the_path_is_accepted() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let here = manager.get("/api/fleet/agent_policies?perPage=5").await;
    assert_eq!(manager.get("/s/marketing/api/fleet/agent_policies?perPage=5").await, here);
    let described = manager.get("/api/fleet/openapi.json").await;
    assert_eq!(described["openapi"], "3.1.0");
    assert_eq!(described["paths"]["/api/fleet/agent_policies/{id}"]["put"]["x-right"], "write-policies");
}

#[tokio::test]
async fn saves_at_one_moment_at_several_servers_leave_no_number_out() {
    const SAVES: usize = 12;
    let etcd = Etcd::start();
    let settings = ["store.type=etcd".to_owned(), format!("store.etcd.endpoints={}", etcd.endpoint())];
    let first = Server::start(&settings);
    let second = first.start_beside();
    let managers = [Manager::of(&first), Manager::of(&second)];
    managers[0].post(POLICIES, &json!({"id": "web", "name": "Web", "namespace": "default"})).await;
    let saves = (0..SAVES).map(|number| {
        let manager = &managers[number % 2];
        async move {
            let (status, answer) = match number % 3 {
                // Without a revision: whoever is last wins, and whoever is overtaken is told so.
                0 => put(manager, "web", json!({"description": number.to_string()})).await,
                _ => {
                    let body = json!({
                        "name": format!("filestream {number}"), "policy_ids": ["web"],
                        "package": {"name": "filestream", "version": "1.0.0"},
                        "inputs": {"filestream-filestream": {"streams": {"filestream.filestream": {
                            "vars": {"paths": ["/var/log/x.log"]}}}}},
                    });
                    manager.ask("POST", "/api/fleet/package_policies", Some(&body)).await
                }
            };
            assert!(status == StatusCode::OK || status == StatusCode::CONFLICT, "{status} {answer}");
            status == StatusCode::OK
        }
    });
    let saved = join_all(saves).await.into_iter().filter(|saved| *saved).count();
    let listed = managers[1].get(&format!("{POLICIES}/web/revisions?perPage=100")).await;
    let mut numbers: Vec<u64> =
        listed["items"].as_array().unwrap().iter().map(|one| one["revision"].as_u64().unwrap()).collect();
    numbers.reverse();
    let newest = managers[0].get(&format!("{POLICIES}/web")).await["item"]["revision"].as_u64().unwrap();
    assert_eq!(numbers, (1..=newest).collect::<Vec<_>>());
    assert!(numbers.len() > saved, "{saved} saves, and {numbers:?}");
}
