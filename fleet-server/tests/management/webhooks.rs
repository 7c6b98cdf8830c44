//! Webhooks, sent to a real receiver.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use ring::hmac;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::agent::{Agent, Way};
use crate::client::Client;
use crate::etcd::Etcd;
use crate::manager::Manager;
use crate::people::somebody;
use crate::receiver::{Delivery, Mode, Receiver};
use crate::server::Server;

const WEBHOOKS: &str = "/api/fleet/webhooks";
/// The longest time for something to be shown.
const SHOWN_MAX: Duration = Duration::from_secs(30);

/// Makes a webhook; answers its id and secret.
async fn make(manager: &Manager, receiver: &Receiver, more: Value) -> (String, String) {
    let mut body = json!({"name": "pager", "url": receiver.url()});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let made = manager.post(WEBHOOKS, &body).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["item"]["id"]), text(&made["secret"]))
}

async fn await_delivery(manager: &Manager, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let shown = manager.get(&format!("{WEBHOOKS}/{id}")).await;
        if is(&shown["item"]["delivery"]) {
            return shown["item"].clone();
        }
        assert!(began.elapsed() < SHOWN_MAX, "not {what}: {shown}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_signed(delivery: &Delivery, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut text = format!("{}.{}.", delivery.id(), delivery.header("webhook-timestamp")).into_bytes();
    text.extend_from_slice(&delivery.body);
    let signature = delivery.header("webhook-signature").strip_prefix("v1,").expect("version 1");
    hmac::verify(&key, &text, &STANDARD.decode(signature).expect("base64")).is_ok()
}

#[tokio::test]
async fn deliveries_are_signed_and_only_what_is_asked_for() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let receiver = Receiver::start().await;
    let (policy, key) = manager.make_policy("web").await;
    let (_, other_key) = manager.make_policy("db").await;
    let more = json!({
        "kinds": ["agent-enrolled"],
        "policy_ids": [policy],
        "headers": {"Authorization": "Bearer abc"},
    });
    let (id, secret) = make(&manager, &receiver, more).await;
    let tried = manager.post(&format!("{WEBHOOKS}/{id}/test"), &json!({})).await;
    assert_eq!((&tried["item"]["delivered"], &tried["item"]["status"]), (&json!(true), &json!(204)));
    assert_eq!(receiver.received()[0].json()["type"], "test");

    Agent::enrol(&way, &other_key, "db-1").await;
    let agent = Agent::enrol(&way, &key, "web-1").await;
    let received = receiver.wait("the enrolment", |all| all.len() >= 2).await;
    let delivery = &received[1];
    let body = delivery.json();
    assert_eq!((&body["type"], &body["data"]["agent_id"]), (&json!("agent-enrolled"), &json!(agent.id)));
    assert_eq!(body["data"]["id"], delivery.id());
    assert_eq!(delivery.header("authorization"), "Bearer abc");
    assert!(received.iter().all(|delivery| is_signed(delivery, &secret)));

    let shown = await_delivery(&manager, &id, "delivered", |state| state["delivered"] == 1).await;
    assert_eq!(
        (&shown["delivery"]["pending"], &shown["headers"]),
        (&json!(0), &json!({"authorization": null}))
    );
    let text = manager.get(WEBHOOKS).await.to_string();
    assert!(!text.contains("whsec_") && !text.contains("Bearer"), "{text}");
    // What is shown can be sent back, and changes nothing.
    let (status, same) = manager.ask("PUT", &format!("{WEBHOOKS}/{id}"), Some(&shown)).await;
    assert_eq!(status, StatusCode::OK, "{same}");
    Agent::enrol(&way, &key, "web-2").await;
    let received = receiver.wait("another enrolment", |all| all.len() >= 3).await;
    assert!(is_signed(&received[2], &secret) && received[2].header("authorization") == "Bearer abc");
    let (status, gone) = manager.ask("DELETE", &format!("{WEBHOOKS}/{id}"), None).await;
    assert_eq!(status, StatusCode::OK, "{gone}");
    Client::admin(&server).get(&format!("{WEBHOOKS}/{id}")).await.refusal(404);
}

#[tokio::test]
async fn a_receiver_that_fails_hangs_and_is_killed_misses_nothing() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let mut receiver = Receiver::start().await;
    let (_, key) = manager.make_policy("web").await;
    let (id, _) = make(&manager, &receiver, json!({"kinds": ["agent-enrolled"]})).await;
    let mut agents = Vec::new();
    receiver.set(Mode::Answer(503));
    agents.push(Agent::enrol(&way, &key, "web-1").await.id);
    receiver.wait("an attempt", |all| !all.is_empty()).await;
    agents.push(Agent::enrol(&way, &key, "web-2").await.id);
    let failing = await_delivery(&manager, &id, "failing", |state| {
        state["pending"] == 2 && state["failing_since"].is_string()
    })
    .await;
    assert!(failing["delivery"]["last_error"].as_str().unwrap().contains("503"), "{failing}");

    receiver.set(Mode::Hang);
    await_delivery(&manager, &id, "slow", |state| {
        state["last_error"].as_str().is_some_and(|error| error.contains("within 10 s"))
    })
    .await;
    receiver.kill();
    agents.push(Agent::enrol(&way, &key, "web-3").await.id);
    await_delivery(&manager, &id, "unreachable", |state| {
        state["last_error"].as_str().is_some_and(|error| error.contains("connect"))
    })
    .await;
    receiver.set(Mode::Answer(302));
    receiver.revive().await;
    await_delivery(&manager, &id, "redirected", |state| {
        state["last_error"].as_str().is_some_and(|error| error.contains("not followed"))
    })
    .await;
    receiver.set(Mode::Answer(200));
    // A change of the webhook is a reason to try at once.
    let shown = manager.get(&format!("{WEBHOOKS}/{id}")).await["item"].clone();
    let (status, _) = manager.ask("PUT", &format!("{WEBHOOKS}/{id}"), Some(&shown)).await;
    assert_eq!(status, StatusCode::OK);
    await_delivery(&manager, &id, "well", |state| {
        state["delivered"] == 3 && state["pending"] == 0 && state["failing_since"].is_null()
    })
    .await;
    let taken: Vec<String> = receiver
        .taken()
        .iter()
        .map(|delivery| delivery.json()["data"]["agent_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(taken, agents, "in their order");
    let first: BTreeSet<String> = receiver
        .received()
        .iter()
        .filter(|delivery| delivery.json()["data"]["agent_id"] == *agents[0])
        .map(|delivery| delivery.id().to_owned())
        .collect();
    assert_eq!(first.len(), 1, "every attempt has the same id");
}

#[tokio::test]
async fn an_event_that_is_refused_holds_up_no_other() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let receiver = Receiver::start().await;
    let (_, key) = manager.make_policy("web").await;
    let (id, _) = make(&manager, &receiver, json!({"kinds": ["agent-enrolled"]})).await;
    receiver.set(Mode::Answer(400));
    Agent::enrol(&way, &key, "web-1").await;
    await_delivery(&manager, &id, "given up", |state| state["given_up"] == 1).await;
    receiver.set(Mode::Answer(200));
    let agent = Agent::enrol(&way, &key, "web-2").await;
    let is_second = |delivery: &Delivery| delivery.json()["data"]["agent_id"] == agent.id;
    receiver.wait("the second", |all| all.iter().any(is_second)).await;
}

#[tokio::test]
async fn a_killed_keeper_neither_loses_nor_repeats_events() {
    let etcd = Etcd::start();
    let settings = [
        "store.type=etcd".to_owned(),
        format!("store.etcd.endpoints={}", etcd.endpoint()),
        "store.etcd.request_timeout=1s".to_owned(),
    ];
    let mut first = Server::start(&settings);
    let second = first.start_beside();
    let receiver = Receiver::start().await;
    let manager = Manager::of(&second);
    let (_, key) = manager.make_policy("web").await;
    make(&manager, &receiver, json!({"kinds": ["agent-enrolled"]})).await;
    let way = Way::to(&second);
    let mut agents = BTreeSet::new();
    for number in 0..10 {
        agents.insert(Agent::enrol(&way, &key, &format!("web-{number}")).await.id);
    }
    receiver.wait("the first deliveries", |all| !all.is_empty()).await;
    for number in 10..20 {
        agents.insert(Agent::enrol(&way, &key, &format!("web-{number}")).await.id);
    }
    // It was the first that had the lease: the second was started later.
    first.kill();
    for number in 20..30 {
        agents.insert(Agent::enrol(&way, &key, &format!("web-{number}")).await.id);
    }
    let told = |all: &[Delivery]| -> BTreeSet<String> {
        let of = |delivery: &Delivery| delivery.json()["data"]["agent_id"].as_str().unwrap().to_owned();
        all.iter().map(of).collect()
    };
    let received = receiver.wait("every enrolment", |all| told(all) == agents).await;
    // Deliveries may be repeated, events are not.
    let ids: BTreeSet<&str> = received.iter().map(Delivery::id).collect();
    assert_eq!(ids.len(), agents.len());
    let listed = manager.get("/api/fleet/events/list?kinds=agent-enrolled&perPage=1000").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), agents.len(), "{listed}");
}

#[tokio::test]
async fn mistakes_name_the_field_and_only_administrators_set_webhooks() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let good = json!({"name": "pager", "url": "https://example.com/hook"});
    for (field, value) in [
        ("name", json!("")),
        ("url", json!("ftp://example.com")),
        ("url", json!("https://")),
        ("url", json!("https://user:password@example.com/")),
        ("url", json!("/relative")),
        ("kinds", json!(["explosion"])),
        ("secret", json!("short")),
        ("headers", json!({"Host": "elsewhere"})),
        ("headers", json!({"webhook-id": "1"})),
        ("headers", json!({"a b": "1"})),
        ("headers", json!({"x-one": "two\r\nthree"})),
        ("headers", json!({"x-one": null})),
        ("ca", json!("none")),
        ("colour", json!("red")),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let message = admin.post(WEBHOOKS, &body).await.refusal(400);
        assert!(message.starts_with(&format!("[request body.{field}")), "{field} = {value}: {message}");
    }
    let editor = somebody(&server, "editor", json!(["editor"]), json!([])).await;
    editor.post(WEBHOOKS, &good).await.refusal(403);
    assert_eq!(editor.get(WEBHOOKS).await.ok()["total"], 0);
    let id = admin.post(WEBHOOKS, &good).await.ok()["item"]["id"].as_str().unwrap().to_owned();
    let unreachable = json!({"name": "pager", "url": "http://127.0.0.1:1/", "enabled": false});
    admin.put(&format!("{WEBHOOKS}/{id}"), &unreachable).await.ok();
    let tried = admin.post(&format!("{WEBHOOKS}/{id}/test"), &json!({})).await.ok();
    assert_eq!(tried["item"]["delivered"], false);
    assert!(tried["item"]["error"].as_str().unwrap().contains("cannot connect"), "{tried}");
    let trail = admin.get("/api/fleet/audit?kind=webhook").await.ok();
    assert!(trail["total"].as_u64() >= Some(2) && !trail.to_string().contains("whsec_"), "{trail}");
}
