//! What happens, as a stream and as a list.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::agent::{Agent, Way, request};
use crate::client::Client;
use crate::manager::Manager;
use crate::people::somebody;
use crate::server::Server;

const EVENTS: &str = "/api/fleet/events";
/// The longest time for an event to come.
const COME_MAX: Duration = Duration::from_secs(30);

/// One server-sent event.
#[derive(Clone, Debug, Default)]
struct Sent {
    id: String,
    event: String,
    data: Value,
}

/// A stream that is read.
struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    async fn open(client: &Client, query: &str) -> Stream {
        let response = client.open("GET", &format!("{EVENTS}{query}"), Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream { body: response.into_body(), text: String::new() };
        // From now on nothing is missed.
        stream.until("retry: ").await;
        stream
    }

    async fn part(&mut self) -> Option<Bytes> {
        let frame = timeout(COME_MAX, self.body.frame()).await.expect("something comes in time")?;
        frame.ok()?.into_data().ok()
    }

    async fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let part = self.part().await.expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&part).expect("text"));
        }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let mut sent = Sent::default();
                for (name, value) in block.lines().filter_map(|line| line.split_once(": ")) {
                    match name {
                        "id" => sent.id = value.to_owned(),
                        "event" => sent.event = value.to_owned(),
                        "data" => sent.data = serde_json::from_str(value).expect("JSON"),
                        _ => {}
                    }
                }
                if !sent.event.is_empty() {
                    return Some(sent);
                }
                continue;
            }
            let part = self.part().await?;
            self.text.push_str(std::str::from_utf8(&part).expect("text"));
        }
    }

    /// The first event of this kind about this agent.
    async fn of(&mut self, kind: &str, agent: &Agent) -> Sent {
        loop {
            let sent = self.next().await.expect("the stream goes on");
            if sent.event == kind && sent.data["agent_id"] == agent.id {
                return sent;
            }
        }
    }
}

/// Checks in with this status, and does not wait for what is answered.
fn say(agent: &Agent, way: &Way, status: &str, message: &str) {
    let (agent, way) = (agent.clone(), way.clone());
    let mut body = agent.checkin_body();
    (body["status"], body["message"]) = (status.into(), message.into());
    tokio::spawn(async move {
        way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    });
}

#[tokio::test]
async fn what_happens_is_streamed_and_listed() {
    let server = Server::start(&[]);
    let (way, manager, admin) = (Way::to(&server), Manager::of(&server), Client::admin(&server));
    let mut stream = Stream::open(&admin, "").await;
    let (policy, key) = manager.make_policy("web").await;
    let mut out = stream.next().await.unwrap();
    // The policy that every server begins with may be told of first.
    while out.data["policy_id"] != json!(policy) {
        out = stream.next().await.unwrap();
    }
    assert_eq!(out.event, "policy-revision");
    assert_eq!((&out.data["revision"], &out.data["id"]), (&json!(1), &json!(out.id)));

    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let enrolled = stream.of("agent-enrolled", &agent).await;
    assert_eq!((&enrolled.data["hostname"], &enrolled.data["policy_id"]), (&json!("web-1"), &json!(policy)));
    let answer = agent.checkin(&way).await;
    agent.apply(&way, &answer).await;
    let online = stream.of("agent-status-changed", &agent).await;
    assert_eq!((&online.data["from"], &online.data["to"]), (&json!("updating"), &json!("online")));

    say(&agent, &way, "error", "disk full");
    let failing = stream.of("agent-status-changed", &agent).await;
    assert_eq!((&failing.data["to"], &failing.data["reason"]), (&json!("error"), &json!("disk full")));

    let action = manager.action(&agent.id, "SETTINGS", json!({"log_level": "debug"})).await;
    agent.ack(&way, &action, Some("no such level")).await;
    let failed = stream.of("action-failed", &agent).await;
    assert_eq!(
        (&failed.data["action_id"], &failed.data["action_type"]),
        (&json!(action), &json!("SETTINGS"))
    );
    assert_eq!(failed.data["error"], "no such level");

    let revision = manager.save_policy(&policy, "second").await;
    let second = stream.next().await.unwrap();
    assert_eq!((second.event.as_str(), &second.data["revision"]), ("policy-revision", &json!(revision)));
    agent.ack(&way, &format!("policy:{policy}:{revision}"), Some("bad input")).await;
    let refused = stream.of("policy-failed", &agent).await;
    assert_eq!((&refused.data["revision"], &refused.data["error"]), (&json!(revision), &json!("bad input")));

    manager.post(&format!("/api/fleet/agents/{}/unenroll", agent.id), &json!({"revoke": true})).await;
    let left = stream.of("agent-unenrolled", &agent).await;
    assert_eq!(left.data["reason"], "manual");

    // Whoever lost the connection goes on where they were, whatever the way of saying so.
    let ids = [&second.id, &refused.id, &left.id];
    for client in
        [(admin.with("last-event-id", &*failed.id), ""), (admin.clone(), &*format!("?after={}", failed.id))]
    {
        let mut again = Stream::open(&client.0, client.1).await;
        for id in ids {
            assert_eq!(&again.next().await.unwrap().id, id);
        }
    }
    let only = format!("?kinds=action-failed,policy-failed&after={}", out.id);
    let mut only = Stream::open(&admin, &only).await;
    assert_eq!(only.next().await.unwrap().id, failed.id);
    assert_eq!(only.next().await.unwrap().id, refused.id);

    // The list has each of them once, newest first, over its pages.
    let mut listed: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = manager.get(&format!("{EVENTS}/list?perPage=2&agent_id={}{cursor}", agent.id)).await;
        listed.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected = [&left.id, &refused.id, &failed.id, &failing.id, &online.id, &enrolled.id];
    assert_eq!(listed.iter().map(|event| event["id"].as_str().unwrap()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn everybody_hears_of_what_they_may_see() {
    let server = Server::start(&[]);
    let (way, manager, admin) = (Way::to(&server), Manager::of(&server), Client::admin(&server));
    let (web, web_key) = manager.make_policy("web").await;
    let (_, db_key) = manager.make_policy("db").await;
    let grants = json!([{"policy_id": web, "role": "viewer"}]);
    let narrow = somebody(&server, "webber", json!([]), grants).await;
    let mut all = Stream::open(&admin, "").await;
    let mut some = Stream::open(&narrow, "?kinds=agent-enrolled").await;
    let other = Agent::enrol(&way, &db_key, "db-1").await;
    all.of("agent-enrolled", &other).await;
    let own = Agent::enrol(&way, &web_key, "web-1").await;
    assert_eq!(some.next().await.unwrap().data["agent_id"], own.id);
    let listed = narrow.get(&format!("{EVENTS}/list")).await.ok();
    let items = listed["items"].as_array().unwrap();
    assert!(!items.is_empty() && items.iter().all(|event| event["policy_id"] == web), "{listed}");
    let nobody = somebody(&server, "nobody", json!([]), json!([])).await;
    nobody.get(EVENTS).await.refusal(403);
    assert!(admin.get(&format!("{EVENTS}/list?kinds=explosion")).await.refusal(400).contains("kinds"));
    assert!(admin.get(&format!("{EVENTS}?after=yesterday")).await.refusal(400).contains("after"));
}

#[tokio::test]
async fn nothing_is_told_twice_over_restarts_and_streams_end_with_the_server() {
    let mut server = Server::start(&[]);
    let manager = Manager::of(&server);
    let (_, key) = manager.make_policy("web").await;
    let mut agents = Vec::new();
    for number in 0..3 {
        let mut stream = Stream::open(&Client::admin(&server), "?kinds=agent-enrolled").await;
        let agent = Agent::enrol(&Way::to(&server), &key, &format!("web-{number}")).await;
        stream.of("agent-enrolled", &agent).await;
        agents.push(agent);
        if number == 1 {
            server.terminate();
            while stream.next().await.is_some() {}
        }
        server = server.restart();
    }
    // The keeper of the server before may still be written down: then the first look comes later.
    let last = Agent::enrol(&Way::to(&server), &key, "web-last").await;
    let mut stream = Stream::open(
        &Client::admin(&server),
        "?kinds=agent-enrolled&after=00000000-0000-7000-8000-000000000000",
    )
    .await;
    stream.of("agent-enrolled", &last).await;
    let listed = Manager::of(&server).get(&format!("{EVENTS}/list?perPage=1000&kinds=agent-enrolled")).await;
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for event in listed["items"].as_array().unwrap() {
        *told.entry(event["agent_id"].as_str().unwrap()).or_default() += 1;
    }
    assert_eq!(told.len(), agents.len() + 1, "{listed}");
    assert!(told.values().all(|times| *times == 1), "{listed}");
}
