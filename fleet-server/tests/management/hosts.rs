//! Fleet Server hosts, proxies and download sources.

use http::StatusCode;
use serde_json::{Value, json};

use crate::agent::{Agent, Way};
use crate::manager::Manager;
use crate::server::Server;

const HOSTS: &str = "/api/fleet/fleet_server_hosts";
const PROXIES: &str = "/api/fleet/proxies";
const SOURCES: &str = "/api/fleet/agent_download_sources";
const FIRST_HOST: &str = "fleet-default-fleet-server-host";
const FIRST_SOURCE: &str = "fleet-default-download-source";

async fn put(manager: &Manager, path: String, body: Value) -> (StatusCode, Value) {
    manager.ask("PUT", &path, Some(&body)).await
}

async fn full(manager: &Manager, policy: &str) -> Value {
    manager.get(&format!("/api/fleet/agent_policies/{policy}/full")).await["item"].take()
}

fn host(id: &str) -> Value {
    json!({"id": id, "name": id, "host_urls": ["https://fleet-server:8220"], "is_default": false})
}

#[tokio::test]
async fn hosts_are_made_changed_and_removed() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let made = manager.post(HOSTS, &host("mine")).await;
    assert_eq!(made["item"], host("mine"));
    let urls = json!(["https://fleet-server:8220", "https://fleet-server-2"]);
    let body = json!({"name": "Updated", "host_urls": urls, "is_default": true});
    let (status, changed) = put(&manager, format!("{HOSTS}/mine"), body).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let urls = json!(["https://fleet-server:8220", "https://fleet-server-2:443"]);
    assert_eq!(
        changed["item"],
        json!({"id": "mine", "name": "Updated", "host_urls": urls, "is_default": true})
    );
    assert_eq!(manager.get(&format!("{HOSTS}/{FIRST_HOST}")).await["item"]["is_default"], false);
    assert_eq!(full(&manager, "default").await["fleet"]["hosts"], urls);

    // The one of the first start takes its place back, whether it is given up or removed.
    let (status, changed) = put(&manager, format!("{HOSTS}/mine"), json!({"is_default": false})).await;
    assert_eq!((status, &changed["item"]["is_default"]), (StatusCode::OK, &json!(false)));
    assert_eq!(manager.get(&format!("{HOSTS}/{FIRST_HOST}")).await["item"]["is_default"], true);
    assert_eq!(put(&manager, format!("{HOSTS}/mine"), json!({"is_default": true})).await.0, StatusCode::OK);
    let (status, removed) = manager.ask("DELETE", &format!("{HOSTS}/mine"), None).await;
    assert_eq!((status, removed), (StatusCode::OK, json!({"id": "mine"})));
    let first = manager.get(&format!("{HOSTS}/{FIRST_HOST}")).await["item"].take();
    assert_eq!(first["is_default"], true);
    assert_eq!(full(&manager, "default").await["fleet"]["hosts"], first["host_urls"]);
    // The last one may go; then agents stay with the servers that they know.
    let (status, answer) = manager.ask("DELETE", &format!("{HOSTS}/{FIRST_HOST}"), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(full(&manager, "default").await.get("fleet"), None);
}

#[tokio::test]
async fn without_a_default_host_agents_stay_with_the_servers_that_they_know() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    for id in ["a", "b"] {
        manager.post(HOSTS, &host(id)).await;
    }
    assert_eq!(put(&manager, format!("{HOSTS}/a"), json!({"is_default": true})).await.0, StatusCode::OK);
    assert_eq!(manager.ask("DELETE", &format!("{HOSTS}/{FIRST_HOST}"), None).await.0, StatusCode::OK);
    let policy = json!({"id": "p", "name": "p", "namespace": "default", "fleet_server_host_id": "b"});
    manager.post("/api/fleet/agent_policies", &policy).await;
    assert_eq!(full(&manager, "p").await["fleet"]["hosts"], host("b")["host_urls"]);
    assert_eq!(manager.ask("DELETE", &format!("{HOSTS}/a"), None).await.0, StatusCode::OK);
    assert_eq!(full(&manager, "default").await.get("fleet"), None);
    // What named a host that is removed names none.
    assert_eq!(manager.ask("DELETE", &format!("{HOSTS}/b"), None).await.0, StatusCode::OK);
    let policy = manager.get("/api/fleet/agent_policies/p").await["item"].take();
    assert_eq!((policy.get("fleet_server_host_id"), &policy["revision"]), (None, &json!(2)));
    assert_eq!(full(&manager, "p").await.get("fleet"), None);
}

#[tokio::test]
async fn keys_of_a_host_go_to_the_secret_store() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let mut body = host("tls");
    body["ssl"] = json!({"certificate": "c", "agent_certificate": "a", "client_auth": "required"});
    body["secrets"] = json!({"ssl": {"key": "k1", "es_key": "k2", "agent_key": "k3"}});
    body["is_default"] = true.into();
    let made = manager.post(HOSTS, &body).await["item"].take();
    for key in ["key", "es_key", "agent_key"] {
        assert!(made["secrets"]["ssl"][key]["id"].is_string(), "{made}");
    }
    let fleet = full(&manager, "default").await["fleet"].take();
    let agent_key = &made["secrets"]["ssl"]["agent_key"];
    let expected = json!({"hosts": ["https://fleet-server:8220"], "ssl": {"certificate": "a"},
        "secrets": {"ssl": {"key": agent_key}}});
    assert_eq!(fleet, expected, "agents get no key of a server");
}

#[tokio::test]
async fn a_proxy_is_used_changed_and_stays_while_it_is_used() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "p", "name": "Proxy", "url": "https://proxy.example.com:3128",
        "certificate": "PEM-CERT", "certificate_authorities": "PEM-CA", "certificate_key": "PEM-KEY"});
    let made = manager.post(PROXIES, &body).await["item"].take();
    let mut expected = body.clone();
    expected["is_preconfigured"] = false.into();
    assert_eq!(made, expected);
    for path in [
        "/api/fleet/outputs/fleet-default-output".to_owned(),
        format!("{HOSTS}/{FIRST_HOST}"),
        format!("{SOURCES}/{FIRST_SOURCE}"),
    ] {
        let (status, answer) = put(&manager, path, json!({"proxy_id": "p"})).await;
        assert_eq!((status, &answer["item"]["proxy_id"]), (StatusCode::OK, &json!("p")), "{answer}");
    }
    let (status, used) = manager.ask("DELETE", &format!("{PROXIES}/p"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for user in ["output fleet-default-output", FIRST_HOST, FIRST_SOURCE] {
        assert!(used["message"].as_str().unwrap().contains(user), "{used}");
    }
    // The provider for Terraform sends no certificates when there shall be none.
    let change =
        json!({"name": "Proxy", "url": "http://proxy:3128", "proxy_headers": {"X-Key": "v", "X-N": 1}});
    let (_, changed) = put(&manager, format!("{PROXIES}/p"), change).await;
    let expected = json!({"id": "p", "name": "Proxy", "url": "http://proxy:3128",
        "proxy_headers": {"X-Key": "v", "X-N": 1}, "is_preconfigured": false});
    assert_eq!(changed["item"], expected);
    let policy = full(&manager, "default").await;
    for part in [&policy["outputs"]["default"], &policy["fleet"], &policy["agent"]["download"]] {
        assert_eq!(part["proxy_url"], "http://proxy:3128", "{policy}");
        assert_eq!(part["proxy_headers"], json!({"X-Key": "v", "X-N": 1}));
    }
    let (_, cleared) = put(&manager, format!("{PROXIES}/p"), json!({"proxy_headers": {}})).await;
    assert_eq!(cleared["item"]["proxy_headers"], json!({}));
    for path in [
        "/api/fleet/outputs/fleet-default-output".to_owned(),
        format!("{HOSTS}/{FIRST_HOST}"),
        format!("{SOURCES}/{FIRST_SOURCE}"),
    ] {
        assert_eq!(put(&manager, path, json!({"proxy_id": null})).await.0, StatusCode::OK);
    }
    let (status, removed) = manager.ask("DELETE", &format!("{PROXIES}/p"), None).await;
    assert_eq!((status, removed), (StatusCode::OK, json!({"id": "p"})));
    assert_eq!(manager.get(PROXIES).await["total"], 0);
}

#[tokio::test]
async fn download_sources_are_made_used_and_removed() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "mirror", "name": "Mirror", "host": "https://mirror.example.com/downloads/elastic-agent",
        "ssl": {"certificate_authorities": ["ca"]}, "auth": {"username": "u"},
        "secrets": {"auth": {"password": "hunter2"}}});
    let made = manager.post(SOURCES, &body).await["item"].take();
    assert_eq!((&made["host"], &made["is_default"]), (&body["host"], &json!(false)));
    let password = &made["secrets"]["auth"]["password"];
    assert!(password["id"].is_string(), "{made}");
    let policy = json!({"id": "p", "name": "p", "namespace": "default", "download_source_id": "mirror"});
    manager.post("/api/fleet/agent_policies", &policy).await;
    let expected = json!({"sourceURI": body["host"], "ssl": {"certificate_authorities": ["ca"]},
        "auth": {"username": "u"}, "secrets": {"auth": {"password": password}}});
    assert_eq!(full(&manager, "p").await["agent"]["download"], expected);
    let (status, refused) = manager.ask("DELETE", &format!("{SOURCES}/{FIRST_SOURCE}"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert_eq!(
        put(&manager, format!("{SOURCES}/mirror"), json!({"is_default": true})).await.0,
        StatusCode::OK
    );
    assert_eq!(manager.ask("DELETE", &format!("{SOURCES}/{FIRST_SOURCE}"), None).await.0, StatusCode::OK);
    let other = json!({"name": "Mirror", "host": "https://other/"});
    let (status, taken) = manager.ask("POST", SOURCES, Some(&other)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(
        taken["message"],
        "[request body.name]: download source mirror has the name \"Mirror\" already"
    );
}

#[tokio::test]
async fn mistakes_name_the_field() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let proxy = json!({"name": "p", "url": "http://proxy:3128"});
    let source = json!({"name": "s", "host": "https://mirror/"});
    for (path, good, field, value) in [
        (HOSTS, &host("h"), "host_urls", json!([])),
        (HOSTS, &host("h"), "host_urls", json!(["fleet:8220"])),
        (HOSTS, &host("h"), "host_urls", json!([1])),
        (HOSTS, &host("h"), "name", json!(" ")),
        (HOSTS, &host("h"), "ssl", json!({"client_auth": "sometimes"})),
        (HOSTS, &host("h"), "ssl", json!({"agent_cert": "a"})),
        (HOSTS, &host("h"), "secrets", json!({"ssl": {"key": {"id": "made-up"}}})),
        (HOSTS, &host("h"), "proxy_id", json!("nobody")),
        (PROXIES, &proxy, "url", json!("proxy:3128")),
        (PROXIES, &proxy, "url", json!("ftp://proxy")),
        (PROXIES, &proxy, "url", Value::Null),
        (PROXIES, &proxy, "proxy_headers", json!({"X": {}})),
        (PROXIES, &proxy, "proxy_headers", json!({"X": "a\nb"})),
        (PROXIES, &proxy, "proxy_headers", json!({"X Y": "a"})),
        (PROXIES, &proxy, "certificate", json!(1)),
        (SOURCES, &source, "host", json!("mirror")),
        (SOURCES, &source, "host", json!(7)),
        (SOURCES, &source, "auth", json!({"username": "u"})),
        (SOURCES, &source, "auth", json!({"password": "p"})),
        (SOURCES, &source, "auth", json!({"username": "u", "password": "p", "api_key": "k"})),
        (SOURCES, &source, "auth", json!({"headers": [{"key": "a b", "value": "c"}]})),
        (SOURCES, &source, "proxy_id", json!("nobody")),
        (SOURCES, &source, "colour", json!("red")),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, answer) = manager.ask("POST", path, Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field} = {value}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("[request body.{field}")), "{field} = {value}: {message}");
    }
    for path in [HOSTS, PROXIES, SOURCES] {
        for method in ["GET", "PUT", "DELETE"] {
            let (status, answer) = manager.ask(method, &format!("{path}/nobody"), None).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn policies_that_run_servers_are_told_with_their_agents() {
    const STATUS: &str = "/api/fleet/fleet_server_hosts/fleet_server_policy_status";
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    assert_eq!(manager.get(STATUS).await, json!({"is_ready": false, "items": []}));
    let (policy, key) = manager.make_policy("servers").await;
    manager.make_policy("others").await;
    let version = manager.get("/api/fleet/epm/packages/fleet_server").await["item"]["version"].take();
    let integration = json!({
        "id": "fs", "name": "fs", "policy_ids": [policy],
        "package": {"name": "fleet_server", "version": version},
    });
    manager.post("/api/fleet/package_policies", &integration).await;
    let told = manager.get(STATUS).await;
    assert_eq!((&told["is_ready"], told["items"].as_array().unwrap().len()), (&json!(false), 1), "{told}");
    let item = &told["items"][0];
    assert_eq!((&item["id"], &item["name"]), (&json!(policy), &json!("servers")));
    assert_eq!((&item["package_policies"], &item["agents"]), (&json!(["fs"]), &json!(0)), "{told}");

    let mut agent = Agent::enrol(&way, &key, "server-1").await;
    let answer = agent.checkin(&way).await;
    agent.apply(&way, &answer).await;
    manager.await_agent(&agent.id, "online", |agent| agent["status"] == "online").await;
    let told = manager.get(STATUS).await;
    let item = &told["items"][0];
    assert_eq!((&told["is_ready"], &item["agents"], &item["online"]), (&json!(true), &json!(1), &json!(1)));
    // No host has that id, now or ever.
    let (status, refused) = manager.ask("POST", HOSTS, Some(&host("fleet_server_policy_status"))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
}
