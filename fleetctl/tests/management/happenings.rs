//! Events, webhooks, uninstall tokens, and what agents can be asked for that takes them away.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::User;
use crate::api::Api;
use crate::http::{Answer, Request};

fn event(id: &str, to: &str) -> String {
    let data = json!({
        "id": id, "@timestamp": "2026-11-22T08:00:00Z", "kind": "agent-status", "agent_id": "a1",
        "hostname": "web-1", "policy_id": "web", "from": "online", "to": to,
    });
    format!("id: {id}\nevent: agent-status\ndata: {data}\n\n")
}

fn streamed(text: String) -> Answer {
    let mut answer = Answer::new(200, text);
    answer.headers.push(("content-type", "text/event-stream".to_owned()));
    answer
}

#[tokio::test(start_paused = true)]
async fn events_are_followed_over_interruptions() {
    let api = Api::default();
    api.add("agent_policies", json!({"id": "web", "name": "Web"}));
    let mut parts = vec![
        streamed(format!("retry: 2000\n\n{}{}", event("1", "offline"), event("2", "online"))),
        Answer::new(503, "{\"message\": \"come again\"}"),
        streamed(format!(":\n\nevent: gap\ndata: {{\"after\": \"2\"}}\n\n{}", event("5", "error"))),
    ]
    .into_iter();
    api.hook(move |_, request| (request.path == "/api/fleet/events").then(|| parts.next()).flatten());
    let server = api.serve().await;
    let user = User::of(&server);
    let run =
        user.run(&["event", "follow", "--policy", "Web", "--kind", "agent-status", "--count", "3"]).await;
    assert_eq!(
        run.out,
        "2026-11-22T08:00:00Z  agent-status  web-1  web  online  offline  -\n\
         2026-11-22T08:00:00Z  agent-status  web-1  web  online  online  -\n\
         2026-11-22T08:00:00Z  agent-status  web-1  web  online  error  -\n",
        "{run}"
    );
    assert_eq!(run.code, 0, "{run}");
    assert!(run.err.contains("come again") && run.err.contains("forgotten"), "{run}");
    let asked: Vec<Request> =
        server.requests().into_iter().filter(|request| request.path == "/api/fleet/events").collect();
    let last: Vec<Option<&str>> = asked.iter().map(|request| request.header("last-event-id")).collect();
    assert_eq!(last, [None, Some("2"), Some("2")]);
    assert_eq!(asked[0].parameter("policy_id"), Some("web"));
    assert_eq!(asked[0].parameter("kinds"), Some("agent-status"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_comes_is_an_error() {
    for (status, code) in [(403, 1), (503, 1)] {
        let api = Api::default();
        api.hook(move |_, _| {
            Some(Answer::json(status, &json!({"statusCode": status, "message": "not now"})))
        });
        let server = api.serve().await;
        let run = User::of(&server).run(&["event", "follow", "-o", "json"]).await;
        assert!(run.code == code && run.err.contains("not now"), "{run}");
        let wanted = if status == 403 { 1 } else { 5 };
        assert_eq!(server.requests().len(), wanted, "{status}");
    }
}

#[tokio::test]
async fn events_are_data_for_programs() {
    let api = Api::default();
    let text = event("1", "offline");
    let streamed = streamed(text);
    api.hook(move |_, _| Some(streamed.clone()));
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user.run(&["event", "follow", "--count", "1", "-o", "json"]).await;
    let line: serde_json::Value = serde_json::from_str(run.out.trim()).expect("one line of JSON");
    assert_eq!((line["id"].as_str(), run.out.lines().count()), (Some("1"), 1), "{run}");
    assert_eq!(user.run(&["event", "follow", "--count", "1", "-o", "id"]).await.out, "1\n");
}

#[tokio::test]
async fn webhooks_and_uninstall_tokens() {
    let api = Api::default();
    api.add("agent_policies", json!({"id": "web", "name": "Web"}));
    let hook = json!({
        "id": "w1", "name": "pager", "url": "https://pager.example/x", "enabled": true, "kinds": ["action-failed"],
        "policy_ids": [], "delivery": {"failures": 0},
    });
    api.add("webhooks", hook);
    let token = json!({"id": "u1", "policy_id": "web", "policy_name": "Web", "created_at": "2026-11-22T08:00:00Z", "token": "c2VjcmV0"});
    api.add("uninstall_tokens", token);
    let delivered = Arc::new(Mutex::new(true));
    let told = Arc::clone(&delivered);
    api.hook(move |_, request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/fleet/webhooks") => {
            let item = json!({"id": "w2", "name": request.json()["name"]});
            Some(Answer::json(200, &json!({"item": item, "secret": "whsec_c2VjcmV0"})))
        }
        ("POST", "/api/fleet/webhooks/w1/test") => {
            let delivered = *told.lock().expect("a word");
            let item = json!({"delivered": delivered, "status": if delivered { 204 } else { 500 }});
            Some(Answer::json(200, &json!({"item": item})))
        }
        _ => None,
    });
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["webhook", "list"]).await, @r"
    ID  NAME   URL                      ENABLED  KINDS          POLICIES
    w1  pager  https://pager.example/x  yes      action-failed  -
    exit 0
    ");
    let run = user.run(&["webhook", "create", "chat", "--set", "url=https://chat.example/y"]).await;
    assert_eq!((run.out.as_str(), run.code), ("Created webhook w2 (chat)\nwhsec_c2VjcmV0\n", 0), "{run}");
    assert_eq!(
        user.run(&["webhook", "test", "pager"]).await.out,
        "The receiver of webhook w1 took it (204)\n"
    );
    *delivered.lock().expect("a word") = false;
    let run = user.run(&["webhook", "test", "w1"]).await;
    assert!(run.code == 1 && run.err.contains("did not take it: 500"), "{run}");
    assert_eq!(user.run(&["webhook", "delete", "pager"]).await.out, "Deleted webhook w1 (pager)\n");

    let run = user.run(&["uninstall-token", "list", "--policy", "Web"]).await;
    assert!(run.out.contains("u1") && !run.out.contains("c2VjcmV0"), "{run}");
    assert!(
        server.log().iter().any(|line| line.starts_with("GET uninstall_tokens?policyId=web")),
        "{:?}",
        server.log()
    );
    assert!(user.run(&["uninstall-token", "show", "u1"]).await.out.contains("token: c2VjcmV0\n"));
}

#[tokio::test]
async fn the_key_that_signs_for_agents() {
    let api = Api::default();
    api.hook(|_, request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/api/fleet/message_signing_service") => {
            let item = json!({"public_key": "MFk", "rotations": 1, "previous": {"agents_left": 2}});
            Some(Answer::json(200, &json!({"item": item})))
        }
        ("POST", path) if path.starts_with("/api/fleet/message_signing_service/rotate_key_pair") => {
            let item = json!({"public_key": "MFk", "rotations": 2, "previous": {"agents_left": 3}});
            Some(Answer::json(200, &json!({"message": "Changed.", "item": item})))
        }
        _ => None,
    });
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user.run(&["signing-key", "show"]).await;
    assert!(run.out.contains("public_key: MFk\n") && run.out.contains("agents_left: 2\n"), "{run}");
    // Nobody is there to be asked.
    assert_ne!(user.run(&["signing-key", "rotate"]).await.code, 0);
    assert!(!server.log().iter().any(|line| line.starts_with("POST")), "{:?}", server.log());
    let run = user.run(&["signing-key", "rotate", "--yes", "--force"]).await;
    assert!(run.out.contains("3 agents do not have it yet"), "{run}");
    let asked = server.log();
    let line = asked.iter().find(|line| line.starts_with("POST")).unwrap();
    assert!(line.contains("acknowledge=true&force=true"), "{line}");
}

#[tokio::test]
async fn agents_go_elsewhere_back_and_without_privileges() {
    let api = Api::default();
    api.add("agents", json!({"id": "a1", "local_metadata": {"host": {"hostname": "web-1"}}}));
    api.hook(|_, request| match request.path.trim_start_matches("/api/fleet/agents/") {
        "bulk_migrate" | "bulk_privilege_level_change" => Some(Answer::json(200, &json!({"actionId": "x1"}))),
        "bulk_rollback" => Some(Answer::json(200, &json!({"actionIds": ["x2", "x3"]}))),
        _ => None,
    });
    let server = api.serve().await;
    let user = User::of(&server);
    let (token, password) = (user.file("token", "dG9rZW4=\n"), user.file("password", "hunter2\n"));
    let to = "https://other.example:8220";
    let words = ["agent", "migrate", "--to", to, "--token-file", &token, "--set", "insecure=true", "web-1"];
    let run = user.run(&words).await;
    assert_eq!(run.out, "Migration to https://other.example:8220 for 1 agent: action x1\n", "{run}");
    let run = user.run(&["agent", "rollback", "--kuery", "*", "--yes"]).await;
    assert_eq!(run.out, "Rollback for 1 agent: actions x2, x3\n", "{run}");
    let words = ["agent", "privilege", "web-1", "--run-as", "svc", "--run-as-password-file", &password];
    let run = user.run(&words).await;
    assert_eq!(run.out, "Change of privileges for 1 agent: action x1\n", "{run}");
    assert_eq!(user.run(&["agent", "privilege", "a1"]).await.code, 0);
    let sent: Vec<serde_json::Value> = server
        .requests()
        .into_iter()
        .filter(|request| request.method == "POST")
        .map(|request| request.json())
        .collect();
    let expected = [
        json!({"agents": ["a1"], "uri": to, "enrollment_token": "dG9rZW4=", "settings": {"insecure": true}}),
        json!({"agents": "*"}),
        json!({"agents": ["a1"], "user_info": {"username": "svc", "password": "hunter2"}}),
        json!({"agents": ["a1"]}),
    ];
    assert_eq!(sent, expected);
    // A query asks first, and nothing is done where nobody answers.
    let run = user.run(&["agent", "rollback", "--kuery", "*"]).await;
    assert!(run.code == 1 && run.err.contains("--yes"), "{run}");
}
