use serde_json::{Value, json};

use super::{POLICIES, SESSION, SOME_PASSWORD, USERS, policy, somebody};
use crate::client::Client;
use crate::server::Server;

#[tokio::test]
async fn users_are_made_listed_changed_and_deleted() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let body = json!({
        "username": "ann@example.org", "password": SOME_PASSWORD, "full_name": "Ann Example",
        "roles": ["viewer"], "grants": [{"policy_id": "web", "role": "editor"}],
    });
    let made = admin.post(USERS, &body).await.ok()["item"].take();
    assert_eq!(made["grants"], body["grants"]);
    assert_eq!((&made["enabled"], &made["full_name"]), (&json!(true), &json!("Ann Example")));
    assert!(!made.to_string().contains("password"), "{made}");
    admin.post(USERS, &body).await.refusal(409);

    let list = admin.get(&format!("{USERS}?perPage=1&page=2")).await.ok();
    assert_eq!((&list["total"], &list["page"], &list["perPage"]), (&json!(2), &json!(2), &json!(1)));
    assert_eq!(list["items"], json!([made]));

    let one = format!("{USERS}/ann%40example.org");
    assert_eq!(admin.get(&one).await.ok()["item"], made);
    // What GET gives, PUT takes.
    let mut next = made.clone();
    next["roles"] = json!(["editor"]);
    assert_eq!(admin.put(&one, &next).await.ok()["item"]["roles"], json!(["editor"]));
    admin.delete(&one).await.ok();
    admin.get(&one).await.refusal(404);
    admin.delete(&one).await.refusal(404);
    admin.put(&one, &next).await.refusal(404);
}

#[tokio::test]
async fn everybody_does_what_their_roles_and_grants_allow() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let (web, db) = (policy(&admin, "web").await, policy(&admin, "db").await);
    let viewer = somebody(&server, "viewer", json!(["viewer"]), json!([])).await;
    let editor = somebody(&server, "editor", json!(["editor"]), json!([])).await;
    let granted = json!([{"policy_id": web, "role": "editor"}]);
    let granted = somebody(&server, "granted", json!([]), granted).await;
    let nothing = somebody(&server, "nothing", json!([]), json!([])).await;

    viewer.get(POLICIES).await.ok();
    let body = json!({"name": "another", "namespace": "default"});
    let refused = viewer.post(POLICIES, &body).await.refusal(403);
    assert!(refused.contains("write-policies"), "{refused}");
    editor.post(POLICIES, &body).await.ok();
    for client in [&viewer, &editor, &granted, &nothing] {
        client.get(USERS).await.refusal(403);
        client.get("/api/fleet/audit").await.refusal(403);
        client.get(SESSION).await.ok();
    }
    nothing.get(POLICIES).await.refusal(403);

    let seen = granted.get(POLICIES).await.ok();
    assert_eq!((&seen["total"], &seen["items"][0]["id"]), (&json!(1), &json!(web)));
    granted.get(&format!("{POLICIES}/{web}")).await.ok();
    let renamed = json!({"name": "web 2", "namespace": "default"});
    granted.put(&format!("{POLICIES}/{web}"), &renamed).await.ok();
    let status = granted.put(&format!("{POLICIES}/{db}"), &renamed).await.status;
    assert!(status == 403 || status == 404, "{status}");
}

#[tokio::test]
async fn people_see_and_change_themselves() {
    let server = Server::start(&[]);
    let ann = somebody(&server, "ann", json!(["viewer"]), json!([])).await;
    somebody(&server, "bob", json!([]), json!([])).await;
    let me = format!("{USERS}/ann");
    assert_eq!(ann.get(&me).await.ok()["item"]["username"], "ann");
    ann.get(&format!("{USERS}/bob")).await.refusal(403);
    ann.put(&format!("{USERS}/bob"), &json!({"full_name": "x"})).await.refusal(403);
    ann.delete(&me).await.refusal(403);
    ann.put(&me, &json!({"full_name": "Ann"})).await.ok();
    ann.put(&me, &json!({"roles": ["admin"]})).await.refusal(403);
    ann.put(&me, &json!({"enabled": true})).await.refusal(403);

    let new = json!({"password": "another password"});
    let message = ann.put(&me, &new).await.refusal(400);
    assert!(message.starts_with("[request body.current_password]"), "{message}");
    let wrong = json!({"password": "another password", "current_password": "wrong password"});
    ann.put(&me, &wrong).await.refusal(400);
    let right = json!({"password": "another password", "current_password": SOME_PASSWORD});
    ann.put(&me, &right).await.ok();
    ann.get(&me).await.refusal(401);
    Client::by_password(&server, "ann", "another password").get(&me).await.ok();
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let me = format!("{USERS}/admin");
    for body in [json!({"enabled": false}), json!({"roles": ["editor"]}), json!({"roles": []})] {
        assert!(admin.put(&me, &body).await.refusal(409).contains("last enabled administrator"));
    }
    admin.delete(&me).await.refusal(409);
    let ann = somebody(&server, "ann", json!(["admin"]), json!([])).await;
    ann.delete(&me).await.ok();
    ann.delete(&format!("{USERS}/ann")).await.refusal(409);
}

#[tokio::test]
async fn each_bad_field_is_named() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let good = json!({"username": "ann", "password": SOME_PASSWORD, "roles": ["viewer"], "grants": []});
    let long = "x".repeat(2000);
    for (field, values) in [
        (
            "username",
            vec![Value::Null, json!(1), json!(""), json!("a:b"), json!(".."), json!(long), json!("a\nb")],
        ),
        (
            "password",
            vec![Value::Null, json!(1), json!(""), json!("1234567"), json!(long), json!("aaaaaaaaa")],
        ),
        ("full_name", vec![Value::Null, json!(1), json!(long), json!("a\u{0}")]),
        ("roles", vec![Value::Null, json!("admin"), json!(["root"]), json!([1])]),
        (
            "grants",
            vec![
                Value::Null,
                json!({}),
                json!([{"policy_id": "web"}]),
                json!([{"policy_id": "", "role": "viewer"}]),
            ],
        ),
    ] {
        for value in values {
            let mut body = good.clone();
            body[field] = value;
            let message = admin.post(USERS, &body).await.refusal(400);
            assert!(message.starts_with(&format!("[request body.{field}")), "{body}: {message}");
        }
    }
    for field in ["username", "password"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        assert!(admin.post(USERS, &body).await.refusal(400).contains(field));
    }
    admin.post(USERS, &good).await.ok();
}
