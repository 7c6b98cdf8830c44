use std::time::Duration;

use fleet_access::timestamp::Timestamp;
use serde_json::{Value, json};

use super::{KEYS, POLICIES, SESSION, USERS, policy, somebody};
use crate::client::Client;
use crate::server::Server;

/// Makes a key: its id, and a client with it.
async fn key(server: &Server, owner: &Client, body: &Value) -> (String, Client) {
    let made = owner.post(KEYS, body).await.ok();
    let client = Client::by_key(server, made["api_key"].as_str().expect("a key"));
    (made["item"]["id"].as_str().expect("an id").to_owned(), client)
}

#[tokio::test]
async fn a_script_works_with_a_key_until_it_is_revoked() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let (id, script) = key(&server, &admin, &json!({"name": "terraform"})).await;
    // As clients of the existing API send it.
    policy(&script.with("kbn-xsrf", "true").with("elastic-api-version", "2023-10-31"), "web").await;
    let who = script.get(SESSION).await.ok();
    assert_eq!((&who["item"]["username"], &who["item"]["roles"]), (&json!("admin"), &json!(["admin"])));
    let listed = admin.get(KEYS).await.ok();
    assert_eq!((&listed["total"], &listed["items"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(listed["items"][0]["expires_at"], Value::Null);
    assert!(!listed.to_string().contains("digest"), "{listed}");
    admin.delete(&format!("{KEYS}/{id}")).await.ok();
    let refused = script.get(SESSION).await.refusal(401);
    assert!(refused.contains("revoked"), "{refused}");
    admin.delete(&format!("{KEYS}/{id}")).await.refusal(404);
}

#[tokio::test]
async fn a_key_does_what_it_was_given_and_never_more_than_its_owner() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let web = policy(&admin, "web").await;
    let grant = json!([{"policy_id": web, "role": "editor"}]);
    let ann = somebody(&server, "ann", json!(["viewer"]), grant.clone()).await;
    let bob = somebody(&server, "bob", json!(["viewer"]), json!([])).await;

    let refused = ann.post(KEYS, &json!({"name": "k", "roles": ["editor"]})).await.refusal(403);
    assert!(refused.contains("the role editor"), "{refused}");
    bob.post(KEYS, &json!({"name": "k", "grants": grant})).await.refusal(403);
    let (id, script) = key(&server, &ann, &json!({"name": "k", "grants": grant})).await;
    script.get(&format!("{POLICIES}/{web}")).await.ok();
    script.get("/api/fleet/artifacts/x").await.refusal(405);
    script.post(KEYS, &json!({"name": "by a key"})).await.refusal(403);

    // Others neither see nor revoke it.
    assert_eq!(bob.get(KEYS).await.ok()["total"], 0);
    bob.delete(&format!("{KEYS}/{id}")).await.refusal(404);
    assert_eq!(admin.get(KEYS).await.ok()["items"][0]["username"], "ann");

    admin.put(&format!("{USERS}/ann"), &json!({"grants": []})).await.ok();
    script.get(&format!("{POLICIES}/{web}")).await.refusal(403);
    admin.delete(&format!("{USERS}/ann")).await.ok();
    script.get(SESSION).await.refusal(401);
    assert_eq!(admin.get(KEYS).await.ok()["total"], 0);
}

#[tokio::test]
async fn a_key_ends_when_it_is_to() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    // Long enough that it has not passed when the server looks at it, however busy the machine is.
    let mut life = 2;
    let (soon, key) = loop {
        let soon = Timestamp::now() + Duration::from_secs(life);
        let made = admin.post(KEYS, &json!({"name": "k", "expires_at": soon})).await;
        if made.status == 200 {
            break (soon, made.json()["api_key"].as_str().expect("a key").to_owned());
        }
        life *= 2;
        assert!(life < 100, "{}", made.refusal(400));
    };
    let script = Client::by_key(&server, &key);
    let began = tokio::time::Instant::now();
    let refused = loop {
        let answer = script.get(SESSION).await;
        if answer.status == 401 {
            break answer.refusal(401);
        }
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(began.elapsed().as_secs() < life + 20, "it never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(refused.contains(&format!("expired at {soon}")), "{refused}");
}

#[tokio::test]
async fn each_bad_field_and_key_is_named() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": 1}), "name"),
        (json!({"name": "x".repeat(1000)}), "name"),
        (json!({"name": "k", "roles": "admin"}), "roles"),
        (json!({"name": "k", "roles": ["x"]}), "roles"),
        (json!({"name": "k", "grants": [{"role": "viewer"}]}), "policy_id"),
        (json!({"name": "k", "expires_at": "tomorrow"}), "expires_at"),
        (json!({"name": "k", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
    ] {
        let message = admin.post(KEYS, &body).await.refusal(400);
        assert!(message.contains(field), "{body}: {message}");
    }
    for key in ["", "x", "!", "bm9jb2xvbg==", "YTpi"] {
        let message = Client::by_key(&server, key).get(SESSION).await.refusal(401);
        assert!(message.contains("authorization"), "{key}: {message}");
    }
}
