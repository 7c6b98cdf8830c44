use serde_json::{Value, json};

use super::{AUDIT, SESSION, USERS, policy, somebody};
use crate::client::Client;
use crate::server::Server;

async fn entries(client: &Client, query: &str) -> Vec<Value> {
    let page = client.get(&format!("{AUDIT}?perPage=100{query}")).await.ok();
    let items = page["items"].as_array().expect("items").clone();
    assert_eq!(page["total"], items.len());
    assert_eq!(page["nextCursor"], Value::Null);
    items
}

#[tokio::test]
async fn each_change_says_who_from_where_what_before_and_after() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let ann = somebody(&server, "ann", json!(["viewer"]), json!([])).await;
    admin
        .put(&format!("{USERS}/ann"), &json!({"roles": ["editor"], "password": "hunter2hunter2"}))
        .await
        .ok();
    admin.delete(&format!("{USERS}/ann")).await.ok();
    let users = entries(&admin, "&kind=user&object=ann").await;
    assert_eq!(users.len(), 3);
    let [gone, changed, made] = users.as_slice() else { panic!("{users:?}") };
    for entry in [gone, changed, made] {
        assert_eq!((&entry["user"], &entry["remote"]), (&json!("admin"), &json!("127.0.0.1")));
        assert_eq!(entry["status"], 200);
        assert!(entry["@timestamp"].is_string() && entry["id"].is_string(), "{entry}");
    }
    assert_eq!((made.get("before"), &made["after"]["roles"]), (None, &json!(["viewer"])));
    assert_eq!(changed["before"]["roles"], json!(["viewer"]));
    assert_eq!(changed["after"]["roles"], json!(["editor"]));
    assert_eq!(changed["after"]["password"], "*** (changed)");
    assert_eq!((gone.get("after"), &gone["before"]["username"]), (None, &json!("ann")));
    let all = admin.get(&format!("{AUDIT}/export")).await;
    assert!(!all.text.contains("hunter2"), "{}", all.text);
    drop(ann);
}

#[tokio::test]
async fn attempts_that_are_refused_are_kept_too() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let ann = somebody(&server, "ann", json!(["viewer"]), json!([])).await;
    ann.post("/api/fleet/agent_policies", &json!({"name": "x", "namespace": "default"})).await.refusal(403);
    ann.get(SESSION).await.ok();
    let wrong = json!({"username": "ann", "password": "wrong password"});
    Client::anonymous(&server).post(SESSION, &wrong).await.refusal(401);
    let nobody = json!({"username": "nobody", "password": "wrong password"});
    Client::anonymous(&server).post(SESSION, &nobody).await.refusal(401);
    let began = std::time::Instant::now();
    let kept = loop {
        let kept = entries(&admin, "&user=ann").await;
        if kept.len() >= 2 {
            break kept;
        }
        assert!(began.elapsed().as_secs() < 20, "{kept:?}");
    };
    let told: Vec<_> =
        kept.iter().map(|entry| (&entry["kind"], &entry["object"], &entry["status"])).collect();
    assert_eq!(
        told,
        [
            (&json!("session"), &json!("ann"), &json!(401)),
            (&json!("request"), &json!("/api/fleet/agent_policies"), &json!(403)),
        ]
    );
    assert_eq!(entries(&admin, "&user=nobody").await, [] as [Value; 0]);
}

#[tokio::test]
async fn it_is_read_in_pages_and_exported_whole() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    for number in 0..25 {
        policy(&admin, &format!("policy {number}")).await;
    }
    let mut cursor = String::new();
    let mut seen = Vec::new();
    loop {
        let page = admin.get(&format!("{AUDIT}?kind=agent-policy&perPage=10{cursor}")).await.ok();
        assert_eq!(page["total"], 25);
        seen.extend(
            page["items"].as_array().expect("items").iter().map(|entry| entry["after"]["name"].clone()),
        );
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected: Vec<Value> = (0..25).rev().map(|number| json!(format!("policy {number}"))).collect();
    assert_eq!(seen, expected);

    let export = admin.get(&format!("{AUDIT}/export?kind=agent-policy")).await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 25);
    assert_eq!(lines[0]["after"]["name"], "policy 24");
    let none = admin.get(&format!("{AUDIT}/export?to=2020-01-01T00:00:00Z")).await;
    assert_eq!((none.status.as_u16(), none.text.as_str()), (200, ""));
    assert_eq!(entries(&admin, "&from=2100-01-01T00:00:00Z").await, [] as [Value; 0]);

    for (query, field) in [("cursor=x", "cursor"), ("from=yesterday", "from"), ("perPage=x", "perPage")] {
        let message = admin.get(&format!("{AUDIT}?{query}")).await.refusal(400);
        assert!(message.starts_with(&format!("[request query.{field}]")), "{message}");
    }
}
