//! What the Terraform provider sends, and what it takes for done.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::Client;
use crate::manager::Manager;
use crate::server::Server;

#[tokio::test]
async fn null_that_somebody_sent_comes_back() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    manager
        .post("/api/fleet/agent_policies", &json!({"id": "web", "name": "Web", "namespace": "default"}))
        .await;
    let body = json!({
        "id": "lines", "name": "lines", "policy_ids": ["web"],
        "package": {"name": "filestream", "version": "1.0.0"},
        "inputs": {"filestream-filestream": {"enabled": true, "streams": {"filestream.filestream": {
            "enabled": true, "vars": {"paths": ["/a"], "parsers": null},
        }}}},
    });
    let path = "/api/fleet/package_policies?format=simplified";
    let made = manager.post(path, &body).await["item"].take();
    let vars = "/inputs/filestream-filestream/streams/filestream.filestream/vars";
    let told = made.pointer(vars).expect("variables");
    assert_eq!(told.get("parsers"), Some(&Value::Null), "{told}");
    let one = "/api/fleet/package_policies/lines?format=simplified";
    let (status, again) = manager.ask("PUT", one, Some(&body)).await;
    assert_eq!(status, StatusCode::OK, "{again}");
    assert_eq!(again["item"].pointer(vars), made.pointer(vars));
    assert_eq!(again["item"]["revision"], 1, "the same is no change");
}

#[tokio::test]
async fn whole_numbers_may_have_a_fraction_of_zeros() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = r#"{"id": "web", "name": "Web 1.0", "namespace": "default", "inactivity_timeout": 120.0,
        "required_versions": [{"version": "9.6.0", "percentage": 50.0}]}"#;
    let answer = manager.fetch("POST", "/api/fleet/agent_policies", body).await;
    let made: Value = serde_json::from_slice(answer.body()).expect("JSON");
    assert_eq!(answer.status(), StatusCode::OK, "{made}");
    assert_eq!(
        (&made["item"]["inactivity_timeout"], &made["item"]["name"]),
        (&json!(120), &json!("Web 1.0"))
    );
    let answer =
        manager.fetch("PUT", "/api/fleet/agent_policies/web", r#"{"inactivity_timeout": 1.5}"#).await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{text}");
    assert!(text.contains("inactivity_timeout"), "{text}");
}

#[tokio::test]
async fn an_empty_id_is_none() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let policy = manager
        .post("/api/fleet/agent_policies", &json!({"id": "", "name": "Web", "namespace": "default"}))
        .await["item"]
        .take();
    let integration = json!({
        "id": "", "name": "journal", "policy_ids": [policy["id"]],
        "package": {"name": "journald", "version": "1.0.0"},
    });
    let output = json!({"id": "", "name": "Logs", "type": "logstash", "hosts": ["es:5044"]});
    for (path, body) in [("package_policies", integration), ("outputs", output)] {
        let made = manager.post(&format!("/api/fleet/{path}"), &body).await;
        let id = made["item"]["id"].as_str().expect("an id");
        assert!(!id.is_empty(), "{made}");
        assert_eq!(manager.get(&format!("/api/fleet/{path}/{id}")).await["item"]["name"], body["name"]);
    }
}

#[tokio::test]
async fn a_version_that_is_left_out_leaves_a_slash() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    for path in ["/api/fleet/epm/packages/system/", "/s/shop/api/fleet/epm/packages/system/?prerelease=true"]
    {
        assert_eq!(manager.get(path).await["item"]["name"], "system", "{path}");
    }
}

#[tokio::test]
async fn integrations_without_agents_are_refused_and_never_found() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"name": "cloud", "package": {"name": "system", "version": "1.0.0"}});
    for path in ["/api/fleet/managed_integrations", "/api/fleet/agentless_policies"] {
        let (status, refused) = manager.ask("POST", path, Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(
            refused["message"].as_str().is_some_and(|text| text.contains("package_policies")),
            "{refused}"
        );
        let (status, _) = manager.ask("DELETE", &format!("{path}/one?force=true"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for method in ["GET", "PUT"] {
        let (status, missing) = manager.ask(method, "/api/fleet/managed_integrations/one", Some(&body)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method}");
        assert_eq!(missing["message"], "Managed integration one not found");
    }
}

#[tokio::test]
async fn spaces_have_names() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let spaces = "/api/spaces/space";
    assert_eq!(admin.get(spaces).await.ok()[0]["id"], "default");
    let shop = json!({"id": "shop", "name": "Shop", "disabledFeatures": ["canvas"], "color": "#aabbcc"});
    assert_eq!(admin.post(spaces, &shop).await.ok(), shop);
    admin.post(spaces, &shop).await.refusal(409);
    assert_eq!(admin.get(&format!("{spaces}/shop")).await.ok(), shop);
    let mut changed = shop.clone();
    changed["description"] = "What is sold".into();
    assert_eq!(admin.put(&format!("{spaces}/shop"), &changed).await.ok(), changed);
    let ids =
        |listed: Value| listed.as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(admin.get(spaces).await.ok()), ["default", "shop"]);
    for (bad, field) in [
        (json!({"id": "A B", "name": "x"}), "id"),
        (json!({"id": "a", "name": " "}), "name"),
        (json!({"id": "a", "name": "x", "imageUrl": "x".repeat(70_000)}), "imageUrl"),
    ] {
        let refused = admin.post(spaces, &bad).await.refusal(400);
        assert!(refused.contains(field), "{field}: {refused}");
    }
    assert_eq!(admin.delete(&format!("{spaces}/shop")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.delete(&format!("{spaces}/shop")).await.status, StatusCode::NOT_FOUND);
    admin.delete(&format!("{spaces}/default")).await.refusal(400);
}
