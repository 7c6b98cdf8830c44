//! What policies name is there, or they are refused.

use http::StatusCode;
use serde_json::{Value, json};

use crate::manager::Manager;
use crate::server::Server;

const POLICIES: &str = "/api/fleet/agent_policies";

/// The fields that name something.
const FIELDS: [&str; 4] =
    ["data_output_id", "monitoring_output_id", "fleet_server_host_id", "download_source_id"];

async fn put(manager: &Manager, id: &str, body: Value) -> (StatusCode, Value) {
    manager.ask("PUT", &format!("{POLICIES}/{id}"), Some(&body)).await
}

#[tokio::test]
async fn what_is_not_there_cannot_be_named() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    manager.post(POLICIES, &json!({"id": "web", "name": "Web", "namespace": "default"})).await;
    for field in FIELDS {
        let body = json!({"name": "Other", "namespace": "default", field: "nowhere"});
        for (method, path) in [("POST", POLICIES.to_owned()), ("PUT", format!("{POLICIES}/web"))] {
            let (status, refused) = manager.ask(method, &path, Some(&body)).await;
            let message = refused["message"].as_str().unwrap_or_default();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {field}: {message}");
            let told = format!("[request body.{field}]");
            assert!(message.starts_with(&told) && message.contains("nowhere"), "{method}: {message}");
        }
        // Clients that know no null send an empty text.
        let (status, kept) = put(&manager, "web", json!({field: ""})).await;
        assert_eq!((status, kept["item"].get(field)), (StatusCode::OK, None), "{field}");
    }
    let policy = manager.get(&format!("{POLICIES}/web")).await["item"].take();
    assert_eq!(policy["revision"], 1);
    assert_eq!(manager.get(&format!("{POLICIES}?kuery=name:Other")).await["total"], 0);

    let integration = json!({
        "name": "lines", "policy_ids": ["web"], "output_id": "",
        "package": {"name": "filestream", "version": "1.0.0"},
        "inputs": {"filestream-filestream": {"streams": {"filestream.filestream": {"vars": {"paths": ["/a"]}}}}},
    });
    let made = manager.post("/api/fleet/package_policies", &integration).await["item"].take();
    assert_eq!(made.get("output_id").filter(|id| !id.is_null()), None, "{made}");
    let host = json!({"name": "h", "host_urls": ["https://f:8220"], "proxy_id": ""});
    let made = manager.post("/api/fleet/fleet_server_hosts", &host).await["item"].take();
    assert_eq!(made.get("proxy_id").filter(|id| !id.is_null()), None, "{made}");
}

#[tokio::test]
async fn a_revision_that_names_what_is_gone_is_not_taken_back() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let output =
        json!({"id": "second", "name": "Second", "type": "elasticsearch", "hosts": ["https://e:9200"]});
    manager.post("/api/fleet/outputs", &output).await;
    let body = json!({"id": "web", "name": "Web", "namespace": "default", "data_output_id": "second"});
    manager.post(POLICIES, &body).await;
    let (status, _) = put(&manager, "web", json!({"data_output_id": null})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, gone) = manager.ask("DELETE", "/api/fleet/outputs/second", None).await;
    assert_eq!(status, StatusCode::OK, "{gone}");

    let back = format!("{POLICIES}/web/revisions/1/rollback");
    let (status, refused) = manager.ask("POST", &back, Some(&json!({}))).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert_eq!(status, StatusCode::BAD_REQUEST, "{message}");
    for told in ["revision 1", "data_output_id", "second", "gone"] {
        assert!(message.contains(told), "{told}: {message}");
    }
    assert_eq!(manager.get(&format!("{POLICIES}/web")).await["item"]["revision"], 2);
    manager.post("/api/fleet/outputs", &output).await;
    let restored = manager.post(&back, &json!({})).await["item"].take();
    assert_eq!(restored["data_output_id"], "second");
}
