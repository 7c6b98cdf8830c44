//! Many packages at a time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::PACKAGES;
use super::archives::package;
use crate::client::Client;
use crate::server::Server;

/// The longest time for a task.
const TASK_MAX: Duration = Duration::from_secs(30);

async fn finish(admin: &Client, kind: &str, body: &Value) -> Value {
    let path = format!("{PACKAGES}/{kind}");
    let started = admin.post(&path, body).await.ok();
    let id = started["taskId"].as_str().expect("an id");
    let began = Instant::now();
    loop {
        let task = admin.get(&format!("{path}/{id}")).await.ok();
        if task["status"] != "pending" {
            return task;
        }
        assert!(began.elapsed() < TASK_MAX, "{task}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_package_is_told_for_itself() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let body = json!({"packages": ["otlp", {"name": "system", "version": "1.0.0"}, "none"]});
    let done = admin.post(&format!("{PACKAGES}/_bulk"), &body).await.ok();
    let items = &done["items"];
    assert_eq!(items[0]["result"]["status"], "installed", "{done}");
    assert_eq!((&items[1]["name"], &items[1]["version"]), (&json!("system"), &json!("1.0.0")));
    assert_eq!(items[2], json!({"name": "none", "statusCode": 404, "error": "Package none not found"}));
    let again = admin.post(&format!("{PACKAGES}/_bulk"), &json!({"packages": ["otlp"]})).await.ok();
    assert_eq!(again["items"][0]["result"]["status"], "already_installed");

    for wrong in [json!({}), json!({"packages": []}), json!({"packages": vec!["x"; 1001]})] {
        let refusal = admin.post(&format!("{PACKAGES}/_bulk"), &wrong).await.refusal(400);
        assert!(refusal.starts_with("[request body.packages]"), "{refusal}");
    }
    let refusal = admin.post(&format!("{PACKAGES}/_bulk"), &json!({"packages": [7]})).await.refusal(400);
    assert!(refusal.starts_with("[request body.packages[0]]"), "{refusal}");
}

#[tokio::test]
async fn tasks_tell_what_became_of_them() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    for version in ["1.0.0", "1.1.0"] {
        admin.upload(super::ZIP, package("acme", version)).await.ok();
    }
    let back = finish(&admin, "_bulk_rollback", &json!({"packages": [{"name": "acme"}]})).await;
    assert_eq!(back, json!({"status": "success", "results": [{"name": "acme", "success": true}]}));
    assert_eq!(admin.package("acme").await["installationInfo"]["version"], "1.0.0");
    let up =
        finish(&admin, "_bulk_upgrade", &json!({"packages": [{"name": "acme"}, {"name": "none"}]})).await;
    assert_eq!((&up["status"], &up["results"][0]["success"]), (&json!("success"), &json!(true)));
    assert_eq!(up["results"][1]["error"]["message"], "Package none not found");
    assert_eq!(admin.package("acme").await["installationInfo"]["version"], "1.1.0");
    let gone =
        finish(&admin, "_bulk_uninstall", &json!({"packages": [{"name": "acme", "version": "1.1.0"}]})).await;
    assert_eq!(gone["results"], json!([{"name": "acme", "success": true}]));
    let again = finish(&admin, "_bulk_uninstall", &json!({"packages": [{"name": "acme"}]})).await;
    assert_eq!(
        (&again["status"], &again["error"]["message"]),
        (&json!("failed"), &json!("acme is not installed"))
    );
    let none = admin.get(&format!("{PACKAGES}/_bulk_upgrade/none")).await;
    assert_eq!(none.refusal(404), "Task none not found");
}
