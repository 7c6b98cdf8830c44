//! Servers that are killed while policies are made, copied, renamed and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::etcd::Etcd;
use crate::server::Server;

const POLICIES: &str = "/api/fleet/agent_policies";
const INTEGRATIONS: &str = "/api/fleet/package_policies";
const KEYS: &str = "/api/fleet/enrollment_api_keys";
const TOKENS: &str = "/api/fleet/uninstall_tokens";
const ALL: &str = "?perPage=10000";

/// So often a server is killed.
const KILLS: usize = 10;
/// Those who change policies at a time.
const PEOPLE: u64 = 4;
/// What is left over is cleared within twice the pause between two looks for it.
const CLEARED_MAX: Duration = Duration::from_secs(90);

async fn items(client: &Client, path: &str) -> Vec<Value> {
    let answer = client.get(&format!("{path}{ALL}")).await.ok();
    answer["items"].as_array().expect("items").clone()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// Makes, copies, renames and removes policies until the server is gone.
async fn work(client: Client, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        // Few ids and names, so that people meet.
        let (id, number) = (format!("p{}", random.random_range(0..4)), random.random_range(0..4));
        let done = match random.random_range(0..6) {
            0 | 1 => {
                let body = json!({"id": id, "name": format!("n{number}"), "namespace": "default"});
                client.attempt("POST", &format!("{POLICIES}?sys_monitoring=true"), Some(&body)).await
            }
            2 => {
                let body = json!({"name": format!("copy {number}")});
                client.attempt("POST", &format!("{POLICIES}/source/copy"), Some(&body)).await
            }
            3 => {
                let body = json!({"name": format!("n{number}"), "namespace": "default"});
                client.attempt("PUT", &format!("{POLICIES}/{id}"), Some(&body)).await
            }
            _ => {
                let listed = client.attempt("GET", &format!("{POLICIES}{ALL}"), None).await;
                let known =
                    listed.map(|answer| answer.json()["items"].as_array().cloned().unwrap_or_default());
                let mut known = known.unwrap_or_default();
                known.retain(|policy| policy["id"] != "source" && policy["id"] != "default");
                let Some(policy) = known.get(random.random_range(0..known.len().max(1))) else { continue };
                let body = json!({"agentPolicyId": policy["id"]});
                client.attempt("POST", &format!("{POLICIES}/delete"), Some(&body)).await
            }
        };
        match done {
            Some(answer) => assert_ne!(answer.status.as_u16(), 500, "{}", answer.text),
            None => return,
        }
    }
}

/// What must not be once everything has come to rest; nothing: all is well.
async fn wrong(client: &Client) -> Vec<String> {
    let mut wrong = Vec::new();
    let policies = items(client, POLICIES).await;
    let ids: BTreeSet<String> = policies.iter().map(|policy| text(policy, "id")).collect();
    let names: BTreeSet<String> = policies.iter().map(|policy| text(policy, "name")).collect();
    if names.len() != policies.len() {
        wrong.push(format!("policies share a name: {policies:?}"));
    }
    let mut integrations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for integration in items(client, INTEGRATIONS).await {
        if !taken.insert(text(&integration, "name")) {
            wrong.push(format!("integrations share the name {}", integration["name"]));
        }
        let of: Vec<String> = integration["policy_ids"]
            .as_array()
            .expect("ids")
            .iter()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        for id in &of {
            integrations.entry(id.clone()).or_default().push(text(&integration, "id"));
        }
        if of.iter().any(|id| !ids.contains(id)) || of.is_empty() {
            wrong.push(format!("integration {} is of {of:?}", integration["id"]));
        }
    }
    let keys = items(client, KEYS).await;
    let active: BTreeSet<String> =
        keys.iter().filter(|key| key["active"] == true).map(|key| text(key, "policy_id")).collect();
    wrong.extend(active.difference(&ids).map(|id| format!("an active key is of {id}")));
    wrong.extend(ids.difference(&active).map(|id| format!("policy {id} has no key")));
    for token in items(client, TOKENS).await {
        if !ids.contains(&text(&token, "policy_id")) {
            wrong.push(format!("an uninstall token is of {}", token["policy_id"]));
        }
    }
    for policy in &policies {
        let id = text(policy, "id");
        let whole = client.get(&format!("{POLICIES}/{id}")).await.ok()["item"].clone();
        let mut listed: Vec<String> =
            whole["package_policies"].as_array().expect("a list").iter().map(|one| text(one, "id")).collect();
        let mut named = integrations.remove(&id).unwrap_or_default();
        listed.sort();
        named.sort();
        let wanted = match text(policy, "name").as_str() {
            "Source" => 2,
            name if name.starts_with("copy") => 2,
            "Default" => listed.len(),
            _ => 1,
        };
        if listed != named || listed.len() != wanted {
            wrong.push(format!("policy {id} ({}) lists {listed:?}, and {named:?} are of it", policy["name"]));
        }
        if client.get(&format!("{POLICIES}/{id}/full")).await.status != 200 {
            wrong.push(format!("policy {id} is not out"));
        }
    }
    wrong
}

async fn come_to_rest(client: &Client, seed: u64) {
    let began = Instant::now();
    loop {
        let wrong = wrong(client).await;
        if wrong.is_empty() {
            return;
        }
        assert!(began.elapsed() < CLEARED_MAX, "seed {seed}:\n{}", wrong.join("\n"));
        sleep(Duration::from_secs(1)).await;
    }
}

/// A policy with two integrations, to be copied.
async fn make_source(admin: &Client) {
    let body = json!({"id": "source", "name": "Source", "namespace": "default"});
    admin.post(&format!("{POLICIES}?sys_monitoring=true"), &body).await.ok();
    let version = admin.get("/api/fleet/epm/packages/system").await.ok()["item"]["version"].clone();
    let more = json!({
        "id": "more", "name": "more", "policy_ids": ["source"],
        "package": {"name": "system", "version": version},
    });
    admin.post(INTEGRATIONS, &more).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_made_and_removed_whole_whenever_a_server_is_killed() {
    let seed: u64 = 7;
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(&[]);
    let admin = Client::admin(&server);
    make_source(&admin).await;
    for kill in 0..KILLS {
        let mut people = JoinSet::new();
        for person in 0..PEOPLE {
            people.spawn(work(admin.clone(), seed + 1000 * kill as u64 + person));
        }
        sleep(Duration::from_millis(random.random_range(20..400))).await;
        server.kill();
        while let Some(done) = people.join_next().await {
            done.expect("nobody is told of a mistake of the server");
        }
        server = server.restart();
    }
    come_to_rest(&admin, seed).await;

    // Nothing of what was is a part of what comes under the same id.
    for number in 0..4 {
        let id = format!("p{number}");
        let gone = json!({"agentPolicyId": id});
        drop(admin.post(&format!("{POLICIES}/delete"), &gone).await);
        let body = json!({"id": id, "name": format!("new {number}"), "namespace": "default"});
        admin.post(POLICIES, &body).await.ok();
        assert_eq!(admin.get(&format!("{POLICIES}/{id}/revisions")).await.ok()["total"], 1);
        let keys = admin.get(&format!("{KEYS}{ALL}&kuery=policy_id:{id}")).await.ok();
        let active = keys["items"].as_array().expect("keys").iter().filter(|key| key["active"] == true);
        assert_eq!(active.count(), 1, "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_who_want_a_name_at_one_moment_gets_it() {
    let etcd = Etcd::start();
    let here = Server::start(&["store=etcd".to_owned(), format!("store.etcd.endpoints={}", etcd.endpoint())]);
    let there = here.start_beside();
    let clients = [Client::admin(&here), Client::admin(&there)];
    let version = clients[0].get("/api/fleet/epm/packages/system").await.ok()["item"]["version"].clone();
    for round in 0..5 {
        let mut people = JoinSet::new();
        for person in 0..8 {
            let (client, version) = (clients[person % 2].clone(), version.clone());
            people.spawn(async move {
                let policy = json!({"name": format!("web {round}"), "namespace": "default"});
                let integration = json!({
                    "name": format!("sys {round}"), "policy_ids": ["default"],
                    "package": {"name": "system", "version": version},
                });
                let policy = client.post(POLICIES, &policy).await;
                let integration = client.post(INTEGRATIONS, &integration).await;
                [policy, integration].map(|answer| {
                    let status = answer.status.as_u16();
                    assert!(status == 200 || status == 409, "{}", answer.text);
                    usize::from(status == 200)
                })
            });
        }
        let mut made = [0, 0];
        while let Some(done) = people.join_next().await {
            let done = done.expect("an answer");
            made = [made[0] + done[0], made[1] + done[1]];
        }
        assert_eq!(made, [1, 1], "round {round}");
    }
    // A name that was given up is there for others.
    let policies = items(&clients[0], POLICIES).await;
    let first = policies.iter().find(|policy| policy["name"] == "web 0").expect("a policy");
    let id = text(first, "id");
    let renamed = json!({"name": "other", "namespace": "default"});
    clients[0].put(&format!("{POLICIES}/{id}"), &renamed).await.ok();
    let again = json!({"name": "web 0", "namespace": "default"});
    let made = clients[1].post(POLICIES, &again).await.ok();
    clients[0].put(&format!("{POLICIES}/{id}"), &again).await.refusal(409);
    clients[1].post(&format!("{POLICIES}/delete"), &json!({"agentPolicyId": made["item"]["id"]})).await.ok();
    clients[0].put(&format!("{POLICIES}/{id}"), &again).await.ok();
}

#[tokio::test]
async fn what_goes_with_a_policy_is_in_the_trail() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    make_source(&admin).await;
    let body = json!({"id": "other", "name": "Other", "namespace": "default"});
    admin.post(POLICIES, &body).await.ok();
    let shared = json!({"policy_ids": ["source", "other"]});
    admin.put(&format!("{INTEGRATIONS}/more"), &shared).await.ok();
    admin.post(&format!("{POLICIES}/delete"), &json!({"agentPolicyId": "source"})).await.ok();
    let told = admin.get("/api/fleet/audit?perPage=1000").await.ok();
    let told = told["items"].as_array().expect("entries").clone();
    let of = |kind: &str, gone: bool| {
        let mut of = told.clone();
        of.retain(|entry| {
            let is_gone = entry["after"].is_null();
            entry["kind"] == kind && is_gone == gone && !entry["before"].is_null()
        });
        of
    };
    assert_eq!(of("agent-policy", true)[0]["object"], "source");
    assert_eq!(of("package-policy", true)[0]["before"]["name"], "system-Source");
    assert_eq!(of("package-policy", false)[0]["object"], "more");
    assert_eq!(of("package-policy", false)[0]["after"]["policy_ids"], json!(["other"]));
    assert_eq!(of("enrollment-key", false)[0]["before"]["policy_id"], "source");
    assert_eq!(of("enrollment-key", false)[0]["after"]["active"], false);
    assert_eq!(of("uninstall-token", true)[0]["before"]["policy_id"], "source");
    // The first key of a policy is told of too.
    let made = told.iter().filter(|entry| entry["kind"] == "enrollment-key" && entry["before"].is_null());
    assert_eq!(made.count(), 2);

    // An integration that a rollback takes off is one that was changed.
    let added = json!({
        "id": "added", "name": "added", "policy_ids": ["other"],
        "package": {"name": "system", "version": of("package-policy", true)[0]["before"]["package"]["version"]},
    });
    admin.post(INTEGRATIONS, &added).await.ok();
    admin.post(&format!("{POLICIES}/other/revisions/1/rollback"), &json!({})).await.ok();
    let left = admin.get("/api/fleet/audit?kind=package-policy&object=added").await.ok();
    assert_eq!(
        (&left["items"][0]["after"], &left["items"][0]["before"]["name"]),
        (&Value::Null, &json!("added"))
    );
}
