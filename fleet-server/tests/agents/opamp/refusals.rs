//! What is refused, and how.

use fleet_protocol::opamp::{AgentToServer, Message, ServerToAgent};
use http::StatusCode;
use serde_json::json;

use super::collector::{Collector, Socket, handshake, post};
use crate::agent::{Agent, Way, request};
use crate::manager::Manager;
use crate::server::Server;

/// A key that nobody has.
const WRONG: &str = "d3Jvbmc6d3Jvbmc=";

#[tokio::test]
async fn each_refusal_has_its_status() {
    let settings = ["inputs.0.server.limits.opamp_limit.max_body_byte_size=20000".to_owned()];
    let server = Server::start(&settings);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let agent = Agent::enrol(&way, &key, "one").await;
    let good = Collector::new(&key, 0x1).message().encode_to_vec();
    let with = |header: &'static str, value: &'static str| {
        let mut request = post(&key, &good);
        request.headers_mut().insert(header, value.parse().unwrap());
        request
    };
    let mut without = post(&key, &good);
    without.headers_mut().remove("authorization");
    let mut put = post(&key, &good);
    *put.method_mut() = http::Method::PUT;
    let mut get = post(&key, &[]);
    *get.method_mut() = http::Method::GET;
    for (name, request, status) in [
        ("no key", without, 401),
        ("wrong key", post(WRONG, &good), 401),
        ("an agent's key", post(&agent.key, &good), 401),
        ("another scheme", with("authorization", "Bearer x"), 400),
        ("another type", with("content-type", "application/json"), 400),
        ("unknown encoding", with("content-encoding", "br"), 400),
        ("no gzip", with("content-encoding", "identity"), 400),
        ("no protobuf", post(&key, &[0xff]), 400),
        ("no id", post(&key, &[]), 400),
        ("too large", post(&key, &[0; 30_000]), 413),
        ("another method", put, 405),
        ("a GET that is no handshake", get, 400),
    ] {
        let (head, body) = way.send_for_bytes(request).await;
        assert_eq!(head.status.as_u16(), status, "{name}: {}", String::from_utf8_lossy(&body));
    }
    let (head, body) = way.send_for_bytes(post(&key, &[0xff])).await;
    assert_eq!(head.headers["content-type"], "application/x-protobuf");
    let told = ServerToAgent::decode(body.as_slice()).unwrap().error_response.expect("an error");
    assert_eq!(told.r#type, 1, "{told:?}");
    assert_eq!(Socket::open(&way, handshake(WRONG)).await.err(), Some(StatusCode::UNAUTHORIZED));
    assert_eq!(manager.get("/api/fleet/agents").await["total"], 1, "nobody else has enrolled");
}

#[tokio::test]
async fn a_key_of_a_collector_is_no_key_of_an_agent() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut collector = Collector::new(&key, 0x1);
    let full = collector.full("");
    collector.post(&way, &full).await;
    let path = format!("/api/fleet/agents/{}/checkin", collector.id());
    let body = json!({"status": "online", "message": ""});
    let refused = way.send(request("POST", &path, &key, &body)).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_id_that_is_somebody_elses_is_not_taken() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, key) = manager.make_policy("web").await;
    let (_, other_key) = manager.make_policy("other").await;
    let agent = Agent::enrol(&way, &key, "one").await;
    let mut collector = Collector::new(&key, 0x1);
    collector.uid = uuid::Uuid::parse_str(&agent.id).unwrap().into_bytes().to_vec();
    let full = collector.full("");
    assert!(collector.post(&way, &full).await.agent_identification.is_some());
    assert_eq!(manager.agent(&agent.id).await["type"], "PERMANENT");

    let mut collector = Collector::new(&key, 0x1);
    let full = collector.full("");
    collector.post(&way, &full).await;
    let mut thief = Collector { key: other_key, ..collector.clone() };
    let full = thief.full("a: 2");
    assert!(thief.post(&way, &full).await.agent_identification.is_some());
    assert!(manager.agent(&collector.id()).await["effective_config"].get("a").is_none());
    // Another key of the same policy is as good.
    let made = json!({"policy_id": policy, "name": "another"});
    let made = manager.post("/api/fleet/enrollment_api_keys", &made).await;
    collector.key = made["item"]["api_key"].as_str().unwrap().to_owned();
    let message = collector.message();
    assert!(collector.post(&way, &message).await.agent_identification.is_none());
}

#[tokio::test]
async fn a_key_that_is_used_up_is_good_for_those_who_came_with_it() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, _) = manager.make_policy("web").await;
    let made = json!({"policy_id": policy, "name": "once", "max_uses": 1});
    let made = manager.post("/api/fleet/enrollment_api_keys", &made).await;
    let key = made["item"]["api_key"].as_str().unwrap();
    let (mut one, mut other) = (Collector::new(key, 0x1), Collector::new(key, 0x1));
    let mut socket = one.connect(&way).await;
    assert!(socket.exchange(&one.full("")).await.error_response.is_none());
    let (head, _) = way.send_for_bytes(post(key, &other.full("").encode_to_vec())).await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED);
    assert!(socket.exchange(&one.message()).await.error_response.is_none());
    // A key that is revoked is good for nobody.
    let id = made["item"]["id"].as_str().unwrap();
    let path = format!("/api/fleet/enrollment_api_keys/{id}");
    assert_eq!(manager.ask("DELETE", &path, None).await.0, StatusCode::OK);
    assert!(socket.exchange(&one.message()).await.error_response.is_some());
    assert_eq!(Socket::open(&way, handshake(key)).await.err(), Some(StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn who_has_left_is_refused() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let mut collector = Collector::new(&key, 0x1);
    let full = collector.full("");
    collector.post(&way, &full).await;
    manager.post(&format!("/api/fleet/agents/{}/unenroll", collector.id()), &json!({})).await;
    let message: AgentToServer = collector.message();
    collector.post(&way, &message).await;
    assert_eq!(manager.agent(&collector.id()).await["status"], "unenrolled");
    let (head, _) = way.send_for_bytes(post(&key, &collector.message().encode_to_vec())).await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_server_may_leave_it_out() {
    let server = Server::start(&["inputs.0.server.feature_flags.enable_opamp=false".to_owned()]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let (head, _) = way.send_for_bytes(post(&key, &[])).await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    assert_eq!(Socket::open(&way, handshake(&key)).await.err(), Some(StatusCode::NOT_FOUND));
}
