//! Keys, tokens, people, packages, and the audit trail.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::User;
use crate::api::Api;
use crate::http::Answer;

fn api() -> Api {
    let api = Api::default();
    api.add("agent_policies", json!({"id": "web", "name": "Web"}));
    api.add(
        "enrollment_api_keys",
        json!({"id": "k1", "name": "Default (x)", "policy_id": "web", "active": true, "api_key": "c2VjcmV0",
            "created_at": "2026-11-22T08:00:00Z"}),
    );
    api.add("service_tokens", json!({"id": "t1", "name": "relay", "revoked": false}));
    api.add(
        "users",
        json!({"username": "ada", "roles": ["editor"], "grants": [{"policy_id": "web", "role": "admin"}]}),
    );
    api.add("api_keys", json!({"id": "key1", "name": "ci", "roles": ["viewer"], "owner": "ada"}));
    api
}

#[tokio::test]
async fn enrolment_keys() {
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user.run(&["enroll-key", "list", "--policy", "Web"]).await;
    insta::assert_snapshot!(run, @r"
    ID  NAME         POLICY  ACTIVE  CREATED               EXPIRES
    k1  Default (x)  web     yes     2026-11-22T08:00:00Z  -
    exit 0
    ");
    assert!(!run.out.contains("c2VjcmV0"), "a list shows no secrets");
    assert!(user.run(&["enroll-key", "show", "k1"]).await.out.contains("api_key: c2VjcmV0\n"));
    let mut body = None;
    let seen = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&seen);
    api.hook(move |_, request| {
        (request.method == "POST" && request.path.ends_with("/enrollment_api_keys")).then(|| {
            *kept.lock().unwrap() = Some(request.json());
            Answer::json(
                200,
                &json!({"action": "created", "item": {"id": "k2", "name": "ci", "api_key": "bmV3"}}),
            )
        })
    });
    let words = ["enroll-key", "create", "ci", "--policy", "Web", "--expires", "24h", "--max-uses", "5"];
    let run = user.run(&words).await;
    assert_eq!((run.out.as_str(), run.code), ("Created enrolment key k2 (ci)\nbmV3\n", 0), "{run}");
    body.clone_from(&*seen.lock().unwrap());
    assert_eq!(body, Some(json!({"name": "ci", "policy_id": "web", "expiration": "24h", "max_uses": 5})));
    assert_eq!(
        user.run(&["enroll-key", "delete", "k1"]).await.out,
        "Deleted enrolment key k1 (Default (x))\n"
    );
}

#[tokio::test]
async fn service_tokens_and_api_keys_are_told_once() {
    let api = api();
    api.hook(|_, request| {
        let answer = match (request.method.as_str(), request.path.trim_start_matches("/api/fleet/")) {
            ("POST", "service_tokens") => {
                json!({"id": "t2", "name": request.json()["name"], "value": "dG9rZW4="})
            }
            ("POST", "api_keys") => json!({"item": {"id": "key2", "name": "ci"}, "api_key": "a2V5"}),
            _ => return None,
        };
        Some(Answer::json(200, &answer))
    });
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user.run(&["service-token", "create", "relay"]).await;
    assert_eq!(run.out, "Created service token t2 (relay)\ndG9rZW4=\n");
    let run = user.run(&["service-token", "delete", "relay"]).await;
    assert_eq!(run.out, "Deleted service token t1 (relay)\n");
    let run = user.run(&["api-key", "create", "ci", "--role", "viewer", "--grant", "Web=editor"]).await;
    assert_eq!(run.out, "Created API key key2 (ci)\na2V5\n");
    let run = user.run(&["api-key", "create", "ci", "-o", "json"]).await;
    assert!(run.out.contains("\"api_key\": \"a2V5\""), "{run}");
    let posts: Vec<_> = server.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(
        posts[1].json(),
        json!({"name": "ci", "roles": ["viewer"], "grants": [{"policy_id": "web", "role": "editor"}]})
    );
    assert_eq!(user.run(&["api-key", "delete", "ci"]).await.out, "Deleted API key key1 (ci)\n");
}

#[tokio::test]
async fn people() {
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["user", "list"]).await, @r"
    NAME  ROLES   GRANTS  CREATED
    ada   editor  1       -
    exit 0
    ");
    let password = user.file("password", "correct horse\n");
    let run =
        user.run(&["user", "create", "grace", "--role", "admin", "--new-password-file", &password]).await;
    assert_eq!((run.out.as_str(), run.code), ("Created user grace\n", 0), "{run}");
    assert_eq!(api.object("users", "grace").unwrap()["password"], "correct horse");
    let run = user.run(&["user", "password", "ada", "--new-password-file", &password]).await;
    assert_eq!(run.out, "Set the password of user ada\n");
    let ada = api.object("users", "ada").unwrap();
    assert_eq!((&ada["password"], &ada["roles"]), (&json!("correct horse"), &json!(["editor"])));
    let own = User::of(&server).with("FLEET_USERNAME", "ada").with("FLEET_PASSWORD", "old password");
    assert_eq!(own.run(&["user", "password", "ada", "--new-password-file", &password]).await.code, 0);
    let sent = server.requests().pop().unwrap().json();
    assert_eq!(sent, json!({"password": "correct horse", "current_password": "old password"}));
    let run = user.run(&["user", "create", "x"]).await;
    assert!(run.code == 1 && run.err.contains("--new-password-file"), "{run}");
    let run = user.run(&["user", "create", "x", "--grant", "Web", "--new-password-file", &password]).await;
    assert!(run.code == 2 && run.err.contains("POLICY=ROLE"), "{run}");
}

#[tokio::test]
async fn packages() {
    let api = api();
    for (name, status) in [("nginx", "installed"), ("apache", "not_installed")] {
        api.add("epm/packages", json!({"name": name, "version": "1.2.0", "title": name, "status": status}));
    }
    let seen: Arc<Mutex<Vec<(String, String, usize)>>> = Arc::default();
    let kept = Arc::clone(&seen);
    api.hook(move |_, request| {
        let below = request.path.strip_prefix("/api/fleet/epm/packages")?;
        if request.method == "GET" {
            return None;
        }
        let kind = request.header("content-type").unwrap_or_default();
        let what = format!("{} {below}", request.method);
        kept.lock().unwrap().push((what, kind.to_owned(), request.body.len()));
        Some(Answer::json(200, &json!({"items": [], "_meta": {"name": "own"}})))
    });
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["package", "list", "--installed"]).await, @r"
    NAME   VERSION  TITLE  TYPE  STATUS
    nginx  1.2.0    nginx  -     installed
    exit 0
    ");
    assert_eq!(user.run(&["package", "show", "nginx", "-o", "id"]).await.out, "nginx\n");
    let run = user.run(&["package", "install", "apache@2.0.0"]).await;
    assert_eq!(run.out, "Installed package apache@2.0.0\n");
    let zip = user.file("own.zip", "PK\u{3}\u{4}rest");
    assert_eq!(user.run(&["package", "upload", &zip]).await.out, "Installed package own\n");
    let none = user.file("own.txt", "hello");
    assert!(user.run(&["package", "upload", &none]).await.err.contains("is no package"));
    assert_eq!(user.run(&["package", "remove", "nginx"]).await.out, "Removed package nginx\n");
    let json = "application/json".to_owned();
    assert_eq!(
        *seen.lock().unwrap(),
        [
            ("POST /apache/2.0.0".to_owned(), json, 2),
            ("POST ".to_owned(), "application/zip".to_owned(), 8),
            ("DELETE /nginx/1.2.0".to_owned(), String::new(), 0),
        ]
    );
}

#[tokio::test]
async fn the_audit_trail() {
    let api = api();
    api.add(
        "audit",
        json!({"id": "e1", "@timestamp": "2026-11-22T08:00:00Z", "user": "ada", "remote": "10.0.0.1",
            "kind": "agent_policy", "object": "web", "status": 200}),
    );
    api.hook(|_, request| {
        request
            .path
            .ends_with("/audit/export")
            .then(|| Answer::new(200, "{\"id\":\"e1\"}\n{\"id\":\"e2\"}\n"))
    });
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["audit", "list", "--by", "ada", "--from", "2026-11-01T00:00:00Z"]).await, @r"
    TIME                  USER  FROM      KIND          OBJECT  STATUS
    2026-11-22T08:00:00Z  ada   10.0.0.1  agent_policy  web     200
    exit 0
    ");
    let asked = server.requests().remove(0);
    assert_eq!(
        (asked.parameter("user"), asked.parameter("from")),
        (Some("ada"), Some("2026-11-01T00:00:00Z"))
    );
    assert_eq!(user.run(&["audit", "export"]).await.out, "{\"id\":\"e1\"}\n{\"id\":\"e2\"}\n");
    let file = user.home.path().join("audit.ndjson").display().to_string();
    assert_eq!(user.run(&["audit", "export", "-f", &file]).await.err, format!("Wrote 2 lines to {file}\n"));
}
