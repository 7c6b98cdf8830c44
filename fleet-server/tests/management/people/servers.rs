//! Servers that share a store, a real etcd.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{AUDIT, KEYS, POLICIES, SESSION, SOME_PASSWORD, USERS, somebody};
use crate::client::{Answer, Client};
use crate::etcd::Etcd;
use crate::server::Server;

/// The longest time for something to come true.
const COME_TRUE_MAX: Duration = Duration::from_secs(30);

fn servers(etcd: &Etcd) -> (Server, Server) {
    let here = Server::start(&["store=etcd".to_owned(), format!("store.etcd.endpoints={}", etcd.endpoint())]);
    let there = here.start_beside();
    (here, there)
}

/// Asks until the answer has this status.
async fn await_status(client: &Client, path: &str, status: u16) -> Answer {
    let began = Instant::now();
    loop {
        let answer = client.get(path).await;
        if answer.status.as_u16() == status {
            return answer;
        }
        assert!(began.elapsed() < COME_TRUE_MAX, "{path} is not {status}: {answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_one_knows_of_people_the_other_knows() {
    let etcd = Etcd::start();
    let (here, there) = servers(&etcd);
    somebody(&here, "ann", json!(["editor"]), json!([])).await;
    let body = json!({"username": "ann", "password": SOME_PASSWORD});
    let begun = Client::anonymous(&here).post(SESSION, &body).await;
    let cookie = begun.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let token = begun.ok()["item"]["csrf_token"].as_str().expect("a token").to_owned();
    let page =
        |server: &Server| Client::anonymous(server).with("cookie", &*cookie).with("x-csrf-token", &*token);
    page(&there).post(POLICIES, &json!({"name": "web", "namespace": "default"})).await.ok();
    page(&there).delete(SESSION).await.ok();
    page(&here).get(SESSION).await.refusal(401);

    let ann = Client::by_password(&here, "ann", SOME_PASSWORD);
    let made = ann.post(KEYS, &json!({"name": "k"})).await.ok();
    let (id, key) = (made["item"]["id"].as_str().expect("an id"), made["api_key"].as_str().expect("a key"));
    Client::by_key(&there, key).get(SESSION).await.ok();
    ann.delete(&format!("{KEYS}/{id}")).await.ok();
    Client::by_key(&here, key).get(SESSION).await.refusal(401);
    await_status(&Client::by_key(&there, key), SESSION, 401).await;

    let change = json!({"enabled": false});
    Client::admin(&there).put(&format!("{USERS}/ann"), &change).await.ok();
    Client::by_password(&there, "ann", SOME_PASSWORD).get(SESSION).await.refusal(401);
    await_status(&ann, SESSION, 401).await;

    // One trail, whoever wrote it.
    let entries = Client::admin(&here).get(&format!("{AUDIT}?perPage=100")).await.ok();
    let kinds: Vec<&str> = entries["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect();
    for kind in ["user", "session", "agent-policy", "api-key"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
}

#[tokio::test]
async fn two_servers_do_not_take_the_last_two_administrators_at_once() {
    let etcd = Etcd::start();
    let (here, there) = servers(&etcd);
    somebody(&here, "ann", json!(["admin"]), json!([])).await;
    let (one, other) = (Client::admin(&here), Client::by_password(&there, "ann", SOME_PASSWORD));
    // Both are known where they ask before it begins.
    one.get(SESSION).await.ok();
    other.get(SESSION).await.ok();
    let (of_one, of_other) = (format!("{USERS}/admin"), format!("{USERS}/ann"));
    let (a, b) = tokio::join!(one.delete(&of_one), other.delete(&of_other));
    assert_ne!(a.status == 200, b.status == 200, "{a:?} {b:?}");
}

#[tokio::test]
async fn what_was_tried_while_the_store_was_away_is_in_the_trail_when_it_is_back() {
    let etcd = Etcd::start();
    let (here, _there) = servers(&etcd);
    let admin = Client::admin(&here);
    admin.get(SESSION).await.ok();
    etcd.pause(true);
    let body = json!({"username": "ann", "password": SOME_PASSWORD});
    admin.post(USERS, &body).await.refusal(503);
    etcd.pause(false);
    let began = Instant::now();
    loop {
        let answer = admin.get(&format!("{AUDIT}?kind=request&object={USERS}")).await;
        if let Some(entry) = answer.json()["items"].get(0) {
            assert_eq!((&entry["status"], &entry["user"]), (&json!(503), &json!("admin")));
            return;
        }
        assert!(began.elapsed() < COME_TRUE_MAX, "{answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
