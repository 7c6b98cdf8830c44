//! Agents: lists, and what they are asked for.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::User;
use crate::api::Api;
use crate::http::{Answer, Request};

fn agent(id: &str, host: &str, tags: &[&str]) -> Value {
    json!({"id": id, "status": "online", "policy_id": "web", "policy_revision": 7, "agent": {"version": "9.6.0"},
        "local_metadata": {"host": {"hostname": host}}, "tags": tags, "last_checkin": "2026-11-22T08:00:00Z"})
}

/// The last part of each path, and the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Some agents, and what they were asked for in bulk.
fn api() -> (Api, Asked) {
    let api = Api::default();
    api.add("agents", agent("a1", "web-1", &["canary", "eu"]));
    api.add("agents", agent("a2", "web-2", &[]));
    api.add("agents", agent("a3", "db-1", &["eu"]));
    api.add("agent_policies", json!({"id": "db", "name": "Databases"}));
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    api.hook(move |_, request| {
        let what = request.path.strip_prefix("/api/fleet/agents/bulk_")?;
        seen.lock().unwrap().push((what.to_owned(), request.json()));
        Some(Answer::json(200, &json!({"actionId": "act-1"})))
    });
    (api, asked)
}

#[tokio::test]
async fn a_list_is_filtered_by_flags() {
    let (api, _) = api();
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["agent", "list", "--tag", "eu"]).await, @r"
    ID  HOST   STATUS  VERSION  POLICY  TAGS       LAST CHECK-IN
    a1  web-1  online  9.6.0    web@7   canary,eu  2026-11-22T08:00:00Z
    a3  db-1   online  9.6.0    web@7   eu         2026-11-22T08:00:00Z
    exit 0
    ");
    let words = [
        "agent",
        "list",
        "--policy",
        "Databases",
        "--status",
        "online",
        "--kuery",
        "tags:\"x\"",
        "--show-inactive",
    ];
    assert_eq!(user.run(&words).await.code, 0);
    let last = server.requests().pop().unwrap();
    assert_eq!(last.parameter("kuery"), Some("policy_id:\"db\" and status:\"online\" and (tags:\"x\")"));
    assert_eq!(last.parameter("showInactive"), Some("true"));
}

#[tokio::test]
async fn agents_are_named_by_host_or_id() {
    let (api, asked) = api();
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user.run(&["agent", "reassign", "web-1", "a3", "--policy", "Databases"]).await;
    assert_eq!((run.out.as_str(), run.code), ("Policy db for 2 agents: action act-1\n", 0), "{run}");
    let run = user.run(&["agent", "unenroll", "web-2", "--revoke"]).await;
    assert_eq!(run.out, "Unenrolment for 1 agent: action act-1\n");
    let run = user.run(&["agent", "tag", "web-2", "--add", "x", "--add", "y", "--remove", "eu"]).await;
    assert_eq!(run.out, "Tags for 1 agent: action act-1\n");
    assert_eq!(
        *asked.lock().unwrap(),
        [
            ("reassign".to_owned(), json!({"agents": ["a1", "a3"], "policy_id": "db"})),
            ("unenroll".to_owned(), json!({"agents": ["a2"], "revoke": true})),
            (
                "update_agent_tags".to_owned(),
                json!({"agents": ["a2"], "tagsToAdd": ["x", "y"], "tagsToRemove": ["eu"]})
            ),
        ]
    );
    let run = user.run(&["agent", "unenroll", "web-9"]).await;
    assert!(run.code == 1 && run.err.contains("no agent has the id or name \"web-9\""), "{run}");
    for words in [&["agent", "unenroll"][..], &["agent", "tag", "web-1"]] {
        assert_eq!(user.run(words).await.code, 2, "{words:?}");
    }
}

#[tokio::test]
async fn only_what_people_say_of_an_agent_is_edited() {
    let (api, _) = api();
    let server = api.serve().await;
    let run = User::of(&server).run(&["agent", "edit", "web-1", "--set", "tags=[canary, us]"]).await;
    assert_eq!((run.out.as_str(), run.code), ("Changed agent a1 (web-1)\n", 0), "{run}");
    assert_eq!(server.requests().pop().unwrap().json(), json!({"tags": ["canary", "us"]}));
}

#[tokio::test]
async fn a_query_needs_a_yes() {
    let (api, asked) = api();
    let server = api.serve().await;
    let user = User::of(&server);
    let words = ["agent", "upgrade", "--to", "9.6.1", "--kuery", "tags:\"eu\"", "--rollout-seconds", "3600"];
    let run = user.run(&words).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.err, "Bring to version 9.6.1 2 agents? Nobody can answer here: say so with --yes\n");
    assert!(asked.lock().unwrap().is_empty());
    let run = user.run(&[&words[..], &["--yes"]].concat()).await;
    assert_eq!(run.out, "Upgrade to 9.6.1 for 2 agents: action act-1\n");
    let body = json!({"agents": "tags:\"eu\"", "version": "9.6.1", "rollout_duration_seconds": 3600});
    assert_eq!(*asked.lock().unwrap(), [("upgrade".to_owned(), body)]);
    let run = user.run(&["agent", "unenroll", "--kuery", "tags:\"none\"", "--yes"]).await;
    assert!(run.code == 1 && run.err.contains("no agent is what --kuery"), "{run}");
}

#[tokio::test(start_paused = true)]
async fn diagnostics_are_waited_for_and_downloaded() {
    let (api, _) = api();
    let looks = Mutex::new(0);
    api.hook(move |_, request: &Request| {
        Some(match request.path.strip_prefix("/api/fleet/agents/")? {
            "a1/request_diagnostics" => Answer::json(200, &json!({"actionId": "diag"})),
            "a1/uploads" => {
                let mut looks = looks.lock().unwrap();
                *looks += 1;
                let status = if *looks < 3 { "IN_PROGRESS" } else { "READY" };
                Answer::json(
                    200,
                    &json!({"items": [
                        {"actionId": "old", "status": "READY", "name": "old.zip", "filePath": "/x"},
                        {"actionId": "diag", "status": status, "name": "../../new.zip",
                            "filePath": "/api/fleet/agents/files/f1/new.zip"}]}),
                )
            }
            "files/f1/new.zip" => Answer::new(200, b"PK\x03\x04\xff".to_vec()),
            _ => return None,
        })
    });
    let server = api.serve().await;
    let user = User::of(&server);
    let path = user.home.path().join("out.zip").display().to_string();
    let run = user.run(&["agent", "diagnostics", "web-1", "-f", &path]).await;
    assert_eq!((run.out, run.code), (format!("Wrote {path} (5 bytes)\n"), 0), "{}", run.err);
    assert_eq!(std::fs::read(&path).unwrap(), b"PK\x03\x04\xff");
    let run = user.run(&["agent", "diagnostics", "web-1", "--no-wait"]).await;
    assert_eq!(run.out, "Diagnostics of agent a1: action diag\n");
}

#[tokio::test(start_paused = true)]
async fn diagnostics_that_never_come_end_the_wait() {
    let (api, _) = api();
    api.hook(|_, request| {
        let answer = match request.path.strip_prefix("/api/fleet/agents/a1/")? {
            "request_diagnostics" => json!({"actionId": "diag"}),
            _ => json!({"items": []}),
        };
        Some(Answer::json(200, &answer))
    });
    let server = api.serve().await;
    let run = User::of(&server).run(&["agent", "diagnostics", "web-1", "--timeout", "30"]).await;
    assert_eq!(run.code, 124);
    assert_eq!(run.err, "agent a1 has sent no diagnostics within 30 s: action diag\n");
}

#[tokio::test]
async fn actions_are_shown_and_cancelled() {
    let (api, _) = api();
    api.add(
        "agents/action_status",
        json!({"actionId": "act-1", "type": "UPGRADE", "status": "IN_PROGRESS", "nbAgentsActioned": 3,
            "nbAgentsAck": 1, "nbAgentsFailed": 0, "creationTime": "2026-11-22T08:00:00Z"}),
    );
    api.hook(|_, request| {
        (request.method == "POST" && request.path == "/api/fleet/agents/actions/act-1/cancel")
            .then(|| Answer::json(200, &json!({"item": {}})))
    });
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["action", "list"]).await, @r"
    ID     TYPE     STATUS       AGENTS  DONE  FAILED  CREATED
    act-1  UPGRADE  IN_PROGRESS  3       1     0       2026-11-22T08:00:00Z
    exit 0
    ");
    let run = user.run(&["action", "status", "act-1", "-o", "table"]).await;
    assert!(run.out.contains("STATUS   IN_PROGRESS\n"), "{run}");
    assert_eq!(user.run(&["action", "show", "act-1", "-o", "id"]).await.out, "act-1\n");
    assert_eq!(user.run(&["action", "cancel", "act-1"]).await.out, "Cancelled action act-1\n");
}
