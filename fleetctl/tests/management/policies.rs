//! Policies and the nouns that are like them.

use serde_json::json;

use crate::User;
use crate::api::Api;
use crate::http::Answer;

fn api() -> Api {
    let api = Api::default();
    api.add(
        "agent_policies",
        json!({"id": "web", "name": "Web servers", "namespace": "default", "revision": 7, "agents": 12,
            "updated_at": "2026-11-22T08:00:00Z", "updated_by": "ada", "monitoring_enabled": ["logs", "metrics"]}),
    );
    api.add(
        "agent_policies",
        json!({"id": "db", "name": "Databases", "namespace": "prod", "revision": 1, "agents": 0,
            "updated_at": "2026-11-21T08:00:00Z", "updated_by": "grace"}),
    );
    for path in ["package_policies", "outputs", "fleet_server_hosts", "proxies", "agent_download_sources"] {
        api.add(path, json!({"id": "one", "name": "One"}));
    }
    api
}

#[tokio::test]
async fn a_list_is_a_table() {
    let server = api().serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["policy", "list"]).await, @r"
    ID   NAME         NAMESPACE  REVISION  AGENTS  UPDATED               BY
    db   Databases    prod       1         0       2026-11-21T08:00:00Z  grace
    web  Web servers  default    7         12      2026-11-22T08:00:00Z  ada
    exit 0
    ");
    insta::assert_snapshot!(user.run(&["policy", "list", "--no-legend", "--kuery", "namespace:prod"]).await, @r"
    db  Databases  prod  1  0  2026-11-21T08:00:00Z  grace
    exit 0
    ");
    insta::assert_snapshot!(user.run(&["policy", "show", "web", "-o", "table"]).await, @r"
    ID         web
    NAME       Web servers
    NAMESPACE  default
    REVISION   7
    AGENTS     12
    UPDATED    2026-11-22T08:00:00Z
    BY         ada
    exit 0
    ");
    insta::assert_snapshot!(user.run(&["policy", "show", "Databases"]).await, @r#"
    agents: 0
    id: db
    name: Databases
    namespace: prod
    revision: 1
    updated_at: "2026-11-21T08:00:00Z"
    updated_by: grace
    exit 0
    "#);
}

#[tokio::test]
async fn objects_are_created_from_flags_and_files() {
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user
        .run(&["policy", "create", "Mail", "--set", "id=mail", "--set", "monitoring_enabled=[logs]"])
        .await;
    assert_eq!((run.out.as_str(), run.code), ("Created agent policy mail (Mail)\n", 0), "{run}");
    let mail = api.object("agent_policies", "mail").unwrap();
    assert_eq!((&mail["namespace"], &mail["monitoring_enabled"]), (&json!("default"), &json!(["logs"])));
    let file =
        user.file("es.yaml", "name: Data\ntype: elasticsearch\nhosts: [https://es:9200]\nrevision: 9\n");
    let run = user.run(&["output", "create", "-f", &file, "--set", "is_default=true", "-o", "yaml"]).await;
    insta::assert_snapshot!(run, @r"
    hosts:
      - https://es:9200
    id: made-2
    is_default: true
    name: Data
    revision: 1
    type: elasticsearch
    updated_by: me
    exit 0
    ");
    let run = user.run(&["output", "create"]).await;
    assert_eq!((run.code, run.err.contains("give NAME, --set or --file")), (2, true), "{run}");
    let file = user.file("bad.yaml", "name: [\n");
    let run = user.run(&["output", "create", "-f", &file]).await;
    assert!(run.code == 1 && run.err.contains("bad.yaml: line 2"), "{run}");
}

#[tokio::test]
async fn every_noun_lists_shows_and_deletes() {
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server);
    for (noun, path, title) in [
        ("integration", "package_policies", "integration"),
        ("output", "outputs", "output"),
        ("host", "fleet_server_hosts", "fleet server host"),
        ("proxy", "proxies", "proxy"),
        ("download-source", "agent_download_sources", "download source"),
    ] {
        let run = user.run(&[noun, "list", "-o", "id"]).await;
        assert_eq!((run.out.as_str(), run.code), ("one\n", 0), "{noun}: {run}");
        let run = user.run(&[noun, "show", "One", "-o", "id"]).await;
        assert_eq!((run.out.as_str(), run.code), ("one\n", 0), "{noun}: {run}");
        let run = user.run(&[noun, "delete", "One", "--force"]).await;
        assert_eq!(run.out, format!("Deleted {title} one (One)\n"), "{noun}: {run}");
        assert!(api.object(path, "one").is_none(), "{noun}");
        assert!(server.log().contains(&format!("DELETE {path}/one?force=true")), "{:?}", server.log());
    }
    let run = user.run(&["policy", "delete", "web", "db"]).await;
    assert_eq!(run.out, "Deleted agent policy web (Web servers)\nDeleted agent policy db (Databases)\n");
    assert!(api.object("agent_policies", "web").is_none());
    let run = user.run(&["policy", "delete", "web"]).await;
    assert!(run.code == 1 && run.err.contains("no agent policy has the id or name \"web\""), "{run}");
}

#[tokio::test]
async fn an_upgrade_is_tried_before_it_is_done() {
    let api = api();
    api.hook(|_, request| {
        let answer = match request.path.strip_prefix("/api/fleet/package_policies/")? {
            "upgrade/dryrun" => json!([{"name": "One", "hasErrors": false, "diff": [
                {"id": "one", "package": {"name": "nginx", "version": "1.0.0"}, "inputs": [{"compiled_stream": {}}]},
                {"id": "one", "package": {"name": "nginx", "version": "2.0.0"}, "inputs": [{}]}]}]),
            "upgrade" => json!([{"id": "one", "success": false, "body": {"message": "paths: a list is needed"}}]),
            _ => return None,
        };
        Some(Answer::json(200, &answer))
    });
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["integration", "upgrade", "One", "--dry-run"]).await, @r#"
    integration one:
      ~ /package/version: "1.0.0" -> "2.0.0"
    exit 0
    "#);
    let run = user.run(&["integration", "upgrade", "One"]).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.err, "integration one: paths: a list is needed\nNot every integration can be upgraded\n");
    assert_eq!(server.requests().pop().unwrap().json(), json!({"packagePolicyIds": ["one"]}));
}

#[tokio::test]
async fn revisions_are_listed_compared_and_restored() {
    let api = api();
    api.hook(|_, request| {
        let below = request.path.strip_prefix("/api/fleet/agent_policies/web/")?;
        let answer = match (request.method.as_str(), below) {
            ("GET", "revisions") => json!({"total": 2, "items": [
                {"revision": 7, "updated_at": "2026-11-22T08:00:00Z", "updated_by": "ada"},
                {"revision": 6, "updated_at": "2026-11-20T08:00:00Z", "updated_by": "grace"}]}),
            ("GET", "revisions/7/diff") => json!({"item": {"from": 6, "to": 7, "changes": [
                {"op": "replace", "path": "/name", "before": "Web", "after": "Web servers"},
                {"op": "add", "path": "/description", "after": request.parameter("against").unwrap_or("none")},
                {"op": "remove", "path": "/overrides", "before": {}}]}}),
            ("POST", "revisions/6/rollback") => json!({"item": {"id": "web", "revision": 8}}),
            ("GET", "download") => return Some(Answer::new(200, "id: web\nrevision: 7\n")),
            ("POST", "copy") => json!({"item": {"id": "copy", "name": request.json()["name"]}}),
            _ => return None,
        };
        Some(Answer::json(200, &answer))
    });
    let server = api.serve().await;
    let user = User::of(&server);
    insta::assert_snapshot!(user.run(&["policy", "revisions", "web"]).await, @r"
    REVISION  UPDATED               BY
    7         2026-11-22T08:00:00Z  ada
    6         2026-11-20T08:00:00Z  grace
    exit 0
    ");
    insta::assert_snapshot!(user.run(&["policy", "diff", "web", "--against", "5"]).await, @r#"
    ~ /name: "Web" -> "Web servers"
    + /description: "5"
    - /overrides: {}
    exit 0
    "#);
    let run = user.run(&["policy", "rollback", "web", "--to", "6"]).await;
    assert!(run.code == 1 && run.err.contains("--yes"), "{run}");
    let run = user.run(&["policy", "rollback", "web", "--to", "6", "--yes"]).await;
    assert_eq!(run.out, "agent policy web (Web servers) is as in revision 6: revision 8\n");
    assert_eq!(user.run(&["policy", "download", "web"]).await.out, "id: web\nrevision: 7\n");
    let run = user.run(&["policy", "copy", "web", "Web two"]).await;
    assert_eq!(run.out, "Created agent policy copy (Web two)\n");
}
