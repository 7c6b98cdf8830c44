//! What nobody should send, and what is told to who does.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

const POLICIES: &str = "/api/fleet/agent_policies";
const INTEGRATIONS: &str = "/api/fleet/package_policies";
const OUTPUTS: &str = "/api/fleet/outputs";

/// An integration of the package `system` in the policy `web`.
fn integration(id: &str) -> Value {
    json!({
        "id": id, "name": id, "policy_ids": ["web"],
        "package": {"name": "system", "version": "1.0.0"},
    })
}

async fn system_version(admin: &Client) -> Value {
    let found = admin.get("/api/fleet/epm/packages/system").await.ok();
    found["item"]["version"].clone()
}

/// A server with the policy `web`.
async fn server() -> (Server, Client) {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    admin.post(POLICIES, &json!({"id": "web", "name": "Web", "namespace": "default"})).await.ok();
    (server, admin)
}

/// A request with a misspelt field: its method, path and body, the field, and the one that was meant.
type Misspelt = (&'static str, &'static str, Value, &'static str, &'static str);

/// `body` with more fields.
fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn misspelt_in_policies() -> Vec<Misspelt> {
    const WEB: &str = "/api/fleet/agent_policies/web";
    let policy = |more: &Value| with(json!({"name": "Web", "namespace": "default"}), more);
    let integration = |more: &Value| with(integration("sys"), more);
    let monitoring = policy(&json!({"monitoring_http": {"enabld": true}}));
    let limit = policy(&json!({"monitoring_diagnostics": {"limit": {"burts": 1}}}));
    let tags = policy(&json!({"global_data_tags": [{"name": "a", "valeu": 1}]}));
    let removal = json!({"agentPolicyId": "web", "forse": true});
    let streams =
        integration(&json!({"inputs": [{"type": "logfile", "streams": [{"data_stream": {"typ": "logs"}}]}]}));
    let simplified = integration(&json!({"inputs": {"system-logfile": {"enabeld": true}}}));
    let variable = integration(&json!({"inputs": [], "vars": {"x": {"vaule": 1}}}));
    vec![
        ("PUT", WEB, monitoring, "monitoring_http.enabld", "enabled"),
        ("PUT", WEB, limit, "monitoring_diagnostics.limit.burts", "burst"),
        ("PUT", WEB, tags, "global_data_tags.0.valeu", "value"),
        ("POST", "/api/fleet/agent_policies/delete", removal, "forse", "force"),
        ("POST", INTEGRATIONS, streams, "inputs.0.streams.0.data_stream.typ", "type"),
        ("POST", INTEGRATIONS, simplified, "inputs.system-logfile.enabeld", "enabled"),
        ("POST", INTEGRATIONS, variable, "vars.x.vaule", "value"),
    ]
}

fn misspelt_elsewhere() -> Vec<Misspelt> {
    const API_KEYS: &str = "/api/fleet/api_keys";
    let output = |more: &Value| with(json!({"name": "O", "type": "logstash", "hosts": ["h:1"]}), more);
    let key = json!({"policy_id": "web", "expirtion": "1h"});
    let user = json!({"username": "ann", "password": "correct horse", "rolse": ["viewer"]});
    let grants = json!({"name": "k", "grants": [{"policy": "web", "role": "viewer"}]});
    let expiry = json!({"name": "k", "expire_at": "2030-01-01T00:00:00Z"});
    let unenroll = json!({"agents": "*", "revok": true});
    let upgrade = json!({"agents": "*", "version": "9.0.0", "startTime": null});
    let secrets = output(&json!({"secrets": {"ssl": {"keey": "x"}}}));
    let certificate = output(&json!({"ssl": {"certificat": "x"}}));
    let webhook = json!({"name": "w", "url": "https://x", "kind": []});
    vec![
        ("POST", "/api/fleet/enrollment_api_keys", key, "expirtion", "expiration"),
        ("POST", "/api/fleet/users", user, "rolse", "roles"),
        ("POST", API_KEYS, grants, "grants.0.policy", "policy_id"),
        ("POST", API_KEYS, expiry, "expire_at", "expires_at"),
        ("POST", "/api/fleet/service_tokens", json!({"remot": true}), "remot", "remote"),
        ("POST", "/api/fleet/agents/bulk_unenroll", unenroll, "revok", "revoke"),
        ("POST", "/api/fleet/agents/bulk_upgrade", upgrade, "startTime", "start_time"),
        ("POST", OUTPUTS, secrets, "secrets.ssl.keey", "key"),
        ("POST", OUTPUTS, certificate, "ssl.certificat", "certificate"),
        ("POST", "/api/fleet/webhooks", webhook, "kind", "kinds"),
    ]
}

#[tokio::test]
async fn misspelt_fields_are_named_wherever_they_are() {
    let (_server, admin) = server().await;
    for (method, path, body, field, meant) in misspelt_in_policies().into_iter().chain(misspelt_elsewhere()) {
        let message = admin.ask(method, path, Some(&body)).await.refusal(400);
        let wanted = format!("[request body.{field}]: there is no such field: is {meant} meant?");
        assert_eq!(message, wanted, "{path}");
    }
}

#[tokio::test]
async fn what_a_request_has_no_use_for_is_not_lost_without_a_word() {
    let (_server, admin) = server().await;
    admin.post(OUTPUTS, &json!({"id": "o", "name": "O", "type": "logstash", "hosts": ["h:1"]})).await.ok();
    let output = format!("{OUTPUTS}/o");
    let force = json!({"force": true});
    let of_integration = format!("{INTEGRATIONS}/sys");
    let of_package = "/api/fleet/epm/packages/system";
    for (method, path, body, wanted) in [
        ("DELETE", &*output, &force, "[request body.force]: there is no such field: this request takes none"),
        (
            "DELETE",
            &*of_integration,
            &force,
            "[request body.force]: there is no such field: write ?force=… behind the path",
        ),
        (
            "DELETE",
            of_package,
            &json!({"forse": true}),
            "[request body.forse]: there is no such field: is force meant?",
        ),
        (
            "POST",
            "/api/fleet/agents/actions/a/cancel",
            &json!({"agents": "*"}),
            "[request body.agents]: there is no such field: this request takes none",
        ),
        ("DELETE", &*output, &json!([1]), "[request body]: this request takes none"),
    ] {
        assert_eq!(admin.ask(method, path, Some(body)).await.refusal(400), wanted, "{path}");
    }
    let text = admin.send("DELETE", &output, "application/json", "force").await.refusal(400);
    assert_eq!(text, "[request body]: this request takes none");
    let large = admin.send("DELETE", &output, "application/json", " ".repeat(1 << 20)).await.refusal(400);
    assert_eq!(large, "[request body]: this request takes none, and none so large");
    // Nothing is nothing, however it is said.
    admin.get(&output).await.ok();
    admin.ask("DELETE", &output, Some(&json!({}))).await.ok();
}

#[tokio::test]
async fn what_is_shown_is_taken() {
    let (_server, admin) = server().await;
    let mut body = integration("sys");
    body["package"]["version"] = system_version(&admin).await;
    let full = admin.post(INTEGRATIONS, &body).await.ok()["item"].clone();
    let one = format!("{INTEGRATIONS}/sys");
    assert_eq!(admin.put(&one, &full).await.ok()["item"]["revision"], full["revision"]);
    let simplified = admin.get(&format!("{one}?format=simplified")).await.ok()["item"].clone();
    admin.put(&format!("{one}?format=simplified"), &simplified).await.ok();
    let policy = admin.get(&format!("{POLICIES}/web")).await.ok()["item"].clone();
    admin.put(&format!("{POLICIES}/web"), &policy).await.ok();
    for path in
        [OUTPUTS, "/api/fleet/users", "/api/fleet/agent_download_sources", "/api/fleet/fleet_server_hosts"]
    {
        let item = admin.get(path).await.ok()["items"][0].clone();
        let id = item["id"].as_str().or(item["username"].as_str()).unwrap_or_default().to_owned();
        let answer = admin.put(&format!("{path}/{id}"), &item).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
    let settings = admin.get("/api/fleet/settings").await.ok()["item"].clone();
    admin.put("/api/fleet/settings", &settings).await.ok();
}

#[tokio::test]
async fn bodies_that_are_no_objects_and_those_that_are_too_deep_are_refused() {
    let (_server, admin) = server().await;
    for path in [POLICIES, INTEGRATIONS, OUTPUTS, "/api/fleet/enrollment_api_keys", "/api/fleet/users"] {
        for body in ["[]", "[1]", "null", "7", "\"text\"", "{", "nothing"] {
            admin.send("POST", path, "application/json", body).await.refusal(400);
        }
        let list = admin.send("POST", path, "application/json", "[]").await.refusal(400);
        assert_eq!(list, "[request body]: an object is needed, not a list", "{path}");
        for depth in [70, 101, 127, 10_000] {
            let nested = format!(
                "{{\"name\": \"x\", \"overrides\": {}{}}}",
                "{\"a\":".repeat(depth) + "1",
                "}".repeat(depth)
            );
            let message = admin.send("POST", path, "application/json", nested).await.refusal(400);
            assert_eq!(message, "[request body]: nested deeper than 64 levels", "{path}");
        }
    }
    // What is as deep as it may be is kept, shipped and told to the trail.
    let nested = "{\"a\":".repeat(60) + "1" + &"}".repeat(60);
    let body = format!("{{\"name\": \"Web\", \"namespace\": \"default\", \"overrides\": {nested}}}");
    assert_eq!(
        admin.send("PUT", &format!("{POLICIES}/web"), "application/json", body).await.ok()["item"]["revision"],
        2
    );
    let told = admin.get("/api/fleet/audit?kind=agent-policy&object=web").await.ok();
    assert_eq!(told["items"][0]["after"]["revision"], 2, "{told}");
}

#[tokio::test]
async fn who_means_a_revision_says_a_number() {
    let (_server, admin) = server().await;
    let mut body = integration("sys");
    body["package"]["version"] = system_version(&admin).await;
    admin.post(INTEGRATIONS, &body).await.ok();
    for wrong in [json!("1"), json!(-1), json!(1.5), json!([1])] {
        let policy = json!({"name": "Web", "namespace": "default", "revision": wrong});
        let message = admin.put(&format!("{POLICIES}/web"), &policy).await.refusal(400);
        assert!(message.starts_with("[request body.revision]: "), "{message}");
        let message =
            admin.put(&format!("{INTEGRATIONS}/sys"), &json!({"revision": wrong})).await.refusal(400);
        assert!(message.starts_with("[request body.revision]: "), "{message}");
        let message = admin.put(&format!("{INTEGRATIONS}/sys"), &json!({"force": wrong})).await.refusal(400);
        assert!(message.starts_with("[request body.force]: "), "{message}");
        let policy = json!({"name": "Web", "namespace": "default", "force": wrong});
        let message = admin.put(&format!("{POLICIES}/web"), &policy).await.refusal(400);
        assert!(message.starts_with("[request body.force]: "), "{message}");
    }
}

#[tokio::test]
async fn ids_and_names_are_ones_that_people_and_paths_can_hold() {
    let (_server, admin) = server().await;
    let version = system_version(&admin).await;
    let bodies = |field: &str, value: &str| {
        let mut policy = json!({"name": "P", "namespace": "default"});
        let mut integration = integration("sys");
        integration["package"]["version"] = version.clone();
        let mut output = json!({"name": "O", "type": "logstash", "hosts": ["h:1"]});
        for body in [&mut policy, &mut integration, &mut output] {
            body[field] = value.into();
        }
        [(POLICIES, policy), (INTEGRATIONS, integration), (OUTPUTS, output)]
    };
    let long = "x".repeat(256);
    for id in [
        "..",
        ".",
        "a/b",
        "a..b",
        "a b",
        "a\u{0}",
        "a\u{7}",
        "_bulk_get",
        "delete",
        "outputs",
        "upgrade",
        &long,
    ] {
        for (path, body) in bodies("id", id) {
            let message = admin.post(path, &body).await.refusal(400);
            assert!(message.starts_with("[request body.id]: "), "{path} {id:?}: {message}");
        }
    }
    for name in ["", "  ", "a\u{0}b", "a\u{1b}[2J", "a\u{202E}b", "a\u{2066}b", &"x".repeat(257)] {
        for (path, body) in bodies("name", name) {
            let message = admin.post(path, &body).await.refusal(400);
            assert!(message.starts_with("[request body.name]: "), "{path} {name:?}: {message}");
        }
        if !name.trim().is_empty() {
            let key = json!({"policy_id": "web", "name": name});
            admin.post("/api/fleet/enrollment_api_keys", &key).await.refusal(400);
            admin.post("/api/fleet/service_tokens", &json!({"name": name})).await.refusal(400);
            let user = json!({"username": name, "password": "correct horse"});
            admin.post("/api/fleet/users", &user).await.refusal(400);
        }
    }
}

/// Words that stand in paths where ids stand are all refused as ids.
#[tokio::test]
async fn no_object_is_called_as_a_route_is() {
    let (_server, admin) = server().await;
    let described = admin.get("/api/fleet/openapi.json").await.ok();
    let paths: Vec<&String> = described["paths"].as_object().expect("paths").keys().collect();
    let mut words = std::collections::BTreeSet::new();
    for group in [POLICIES, INTEGRATIONS, OUTPUTS] {
        let within = paths.iter().filter_map(|path| path.strip_prefix(group)?.strip_prefix('/'));
        words.extend(within.map(|rest| rest.split('/').next().unwrap_or_default().to_owned()));
    }
    words.retain(|word| !word.starts_with('{'));
    assert!(words.len() >= 4, "{words:?}");
    for word in words {
        let body = json!({"id": word, "name": "P", "namespace": "default"});
        let message = admin.post(POLICIES, &body).await.refusal(400);
        assert!(message.starts_with("[request body.id]: "), "{word}: {message}");
    }
}

#[tokio::test]
async fn pages_count_from_one_and_paths_are_texts() {
    let (_server, admin) = server().await;
    for group in [
        POLICIES,
        INTEGRATIONS,
        OUTPUTS,
        "/api/fleet/enrollment_api_keys",
        "/api/fleet/uninstall_tokens",
        "/api/fleet/agents",
        "/api/fleet/users",
    ] {
        for (field, value) in
            [("page", "0"), ("page", "-1"), ("page", "x"), ("perPage", "-1"), ("perPage", "1.5")]
        {
            let message = admin.get(&format!("{group}?{field}={value}")).await.refusal(400);
            assert!(
                message.starts_with(&format!("[request query.{field}]: a whole number from ")),
                "{group}: {message}"
            );
        }
        if group != "/api/fleet/agents" {
            admin.get(&format!("{group}?perPage=0")).await.refusal(400);
        }
    }
    for path in [
        format!("{POLICIES}/%ff"),
        format!("{INTEGRATIONS}/%ff%fe"),
        "/api/fleet/agents/%ff".to_owned(),
        format!("{POLICIES}/%ff/revisions"),
        "/api/fleet/%ff".to_owned(),
        "/%ff".to_owned(),
        "/s/%ff/api/fleet/outputs/%ff".to_owned(),
    ] {
        let answer = admin.get(&path).await;
        let status = answer.status.as_u16();
        assert!(status == 400 || status == 404, "{path}: {status}");
        answer.refusal(status);
    }
}

#[tokio::test]
async fn nobody_means_all_agents_by_saying_nothing() {
    let (_server, admin) = server().await;
    for (path, more) in [
        ("bulk_unenroll", json!({})),
        ("bulk_reassign", json!({"policy_id": "web"})),
        ("bulk_upgrade", json!({"version": "9.0.0"})),
        ("bulk_request_diagnostics", json!({})),
        ("bulk_update_agent_tags", json!({"tagsToAdd": ["a"]})),
    ] {
        let path = format!("/api/fleet/agents/{path}");
        for agents in [json!(""), json!("  "), json!([])] {
            let mut body = more.clone();
            body["agents"] = agents;
            let message = admin.post(&path, &body).await.refusal(400);
            assert_eq!(
                message,
                "[request body.agents]: ids of agents, or a query, are needed: say \"*\" for all agents"
            );
        }
        let mut body = more;
        body["agents"] = "*".into();
        body["batchSize"] = 10_000.into();
        admin.post(&path, &body).await.ok();
    }
}

#[tokio::test]
async fn who_may_not_see_an_object_is_not_told_whether_it_is_there() {
    let (server, admin) = server().await;
    admin.post(POLICIES, &json!({"id": "own", "name": "Own", "namespace": "default"})).await.ok();
    let mut body = integration("sys");
    body["package"]["version"] = system_version(&admin).await;
    admin.post(INTEGRATIONS, &body).await.ok();
    let grants = json!([{"policy_id": "own", "role": "editor"}]);
    let ann = json!({"username": "ann", "password": "correct horse battery", "roles": [], "grants": grants});
    admin.post("/api/fleet/users", &ann).await.ok();
    let ann = Client::by_password(&server, "ann", "correct horse battery");

    let change = json!({"description": "x"});
    for (method, path, body) in [
        ("GET", "/api/fleet/package_policies/ID", None),
        ("PUT", "/api/fleet/package_policies/ID", Some(&change)),
        ("DELETE", "/api/fleet/package_policies/ID", None),
    ] {
        let [there, absent] = ["sys", "absent"].map(|id| (path.replace("ID", id), id));
        let (there, absent) = (ann.ask(method, &there.0, body).await, ann.ask(method, &absent.0, body).await);
        assert_eq!(
            there.refusal(404).replace("sys", "ID"),
            absent.refusal(404).replace("absent", "ID"),
            "{method}"
        );
    }
    for (path, field) in [("upgrade", "packagePolicyIds"), ("delete", "packagePolicyIds")] {
        let mut body = json!({});
        body[field] = json!(["sys", "absent"]);
        let answers = ann.post(&format!("{INTEGRATIONS}/{path}"), &body).await.ok();
        assert_eq!(answers[0]["statusCode"], 404, "{answers}");
        assert_eq!(answers[1]["statusCode"], 404, "{answers}");
    }
    // A new one of the same id: what is there is not shown.
    let mut taken = integration("sys");
    taken["name"] = "other".into();
    taken["policy_ids"] = json!(["own"]);
    taken["package"]["version"] = body["package"]["version"].clone();
    let answer = ann.post(INTEGRATIONS, &taken).await;
    assert_eq!(answer.json()["attributes"], Value::Null, "{}", answer.text);
    answer.refusal(409);
    // Policies: as if there was none, or none of theirs.
    for method in ["GET", "PUT"] {
        let body = json!({"name": "n", "namespace": "default"});
        let body = (method == "PUT").then_some(&body);
        let there = ann.ask(method, &format!("{POLICIES}/web"), body).await.refusal(403);
        let absent = ann.ask(method, &format!("{POLICIES}/absent"), body).await.refusal(403);
        assert_eq!(there.replace("web", "ID"), absent.replace("absent", "ID"));
    }
    for id in ["web", "absent"] {
        let mut body = taken.clone();
        body["policy_ids"] = json!([id]);
        ann.post(INTEGRATIONS, &body).await.refusal(403);
        ann.post("/api/fleet/enrollment_api_keys", &json!({"policy_id": id})).await.refusal(403);
    }
}
