//! Over WebSocket.

use std::time::{Duration, Instant};

use fleet_protocol::opamp::{AgentDisconnect, AgentToServer, ComponentHealth, RemoteConfigStatuses};
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::collector::{ALL, Collector, Socket};
use super::{action_status, save_receiver};
use crate::agent::Way;
use crate::manager::Manager;
use crate::server::Server;
use crate::stores::Store;

async fn ready(server: &Server) -> (Way, Manager, String, Collector, Socket) {
    let (way, manager) = (Way::to(server), Manager::of(server));
    let (policy, key) = manager.make_policy("web").await;
    let mut collector = Collector::new(&key, ALL);
    let mut socket = collector.connect(&way).await;
    let reply = socket.exchange(&collector.full("a: 1")).await;
    assert_eq!((reply.instance_uid.as_slice(), reply.capabilities), (collector.uid.as_slice(), 0x7));
    (way, manager, policy, collector, socket)
}

#[tokio::test]
async fn a_revision_is_pushed_and_its_way_is_shown() {
    for store in Store::both() {
        let server = store.start_server();
        let (_, manager, policy, mut collector, mut socket) = ready(&server).await;
        assert_eq!(manager.agent(&collector.id()).await["status"], "online");
        for receiver in ["otlp", "hostmetrics"] {
            let revision = save_receiver(&manager, &policy, receiver).await;
            let saved = Instant::now();
            let pushed = socket.receive().await;
            assert!(saved.elapsed() < Duration::from_secs(5));
            let config = pushed.remote_config.expect("a configuration");
            socket.exchange(&collector.tell(&config.config_hash, RemoteConfigStatuses::Applying, "")).await;
            socket.exchange(&collector.tell(&config.config_hash, RemoteConfigStatuses::Applied, "")).await;
            let shown = manager.agent(&collector.id()).await;
            assert_eq!(shown["policy_revision"], json!(revision));
            assert_eq!(shown["remote_config_status"]["status"], "APPLIED");
        }
    }
}

#[tokio::test]
async fn a_restart_is_pushed_alone() {
    let server = Server::start(&[]);
    let (_, manager, _, mut collector, mut socket) = ready(&server).await;
    let restart = manager.action(&collector.id(), "RESTART", json!({})).await;
    let pushed = socket.receive().await;
    assert!(pushed.command.is_some() && pushed.remote_config.is_none() && pushed.flags == 0);
    assert_eq!(pushed.instance_uid, collector.uid);
    assert_eq!(action_status(&manager, &restart).await, "IN_PROGRESS");
    // Its supervisor stays connected, and tells of a new start.
    let start_time_unix_nano = u64::MAX / 4;
    let health = ComponentHealth { healthy: true, start_time_unix_nano, ..ComponentHealth::default() };
    socket.exchange(&AgentToServer { health: Some(health), ..collector.message() }).await;
    assert_eq!(action_status(&manager, &restart).await, "COMPLETE");
}

#[tokio::test]
async fn who_says_goodbye_is_offline_and_may_come_back() {
    let server = Server::start(&[]);
    let (way, manager, policy, mut collector, mut socket) = ready(&server).await;
    socket
        .exchange(&AgentToServer { agent_disconnect: Some(AgentDisconnect {}), ..collector.message() })
        .await;
    assert_eq!(manager.agent(&collector.id()).await["status"], "offline");
    socket.stream.close(None).await.unwrap();
    save_receiver(&manager, &policy, "otlp").await;
    let mut socket = collector.connect(&way).await;
    let reply = socket.exchange(&collector.full("a: 1")).await;
    assert!(reply.remote_config.is_some(), "{reply:?}");
    let shown = manager.agent(&collector.id()).await;
    assert_eq!(shown["last_checkin_status"], "online");
    // It waits again.
    save_receiver(&manager, &policy, "hostmetrics").await;
    assert!(socket.receive().await.remote_config.is_some());
}

#[tokio::test]
async fn who_moves_to_another_policy_gets_its_configuration() {
    let server = Server::start(&[]);
    let (_, manager, _, collector, mut socket) = ready(&server).await;
    let (other, _) = manager.make_policy("other").await;
    save_receiver(&manager, &other, "otlp").await;
    manager
        .post(&format!("/api/fleet/agents/{}/reassign", collector.id()), &json!({"policy_id": other}))
        .await;
    assert!(socket.receive().await.remote_config.is_some());
    save_receiver(&manager, &other, "hostmetrics").await;
    assert!(socket.receive().await.remote_config.is_some());
}

#[tokio::test]
async fn two_with_one_id_become_two() {
    let server = Server::start(&[]);
    let (way, manager, _, mut collector, mut first) = ready(&server).await;
    let mut clone = collector.clone();
    let mut second = clone.connect(&way).await;
    assert!(second.exchange(&clone.full("a: 2")).await.agent_identification.is_none());
    let reply = first.exchange(&collector.message()).await;
    collector.uid = reply.agent_identification.expect("another id").new_instance_uid;
    assert_eq!(reply.flags, 0x1, "to be said again");
    assert!(first.exchange(&collector.full("a: 1")).await.agent_identification.is_none());
    assert_eq!(manager.get("/api/fleet/agents").await["total"], 2);
    // Each is reached by itself.
    for (collector, socket) in [(&collector, &mut first), (&clone, &mut second)] {
        manager.action(&collector.id(), "RESTART", json!({})).await;
        assert!(socket.receive().await.command.is_some());
    }
}

#[tokio::test]
async fn who_is_made_to_leave_is_told_and_heard_no_more() {
    let server = Server::start(&[]);
    let (_, manager, _, mut collector, mut socket) = ready(&server).await;
    manager.post(&format!("/api/fleet/agents/{}/unenroll", collector.id()), &json!({"revoke": true})).await;
    let told = socket.receive().await.error_response.expect("an error");
    assert!(told.error_message.contains("unenrolled"), "{told:?}");
    assert!(socket.exchange(&collector.message()).await.error_response.is_some());
    assert_eq!(manager.agent(&collector.id()).await["status"], "unenrolled");
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_the_connection_goes_on() {
    let server = Server::start(&[]);
    let (_, _, _, mut collector, mut socket) = ready(&server).await;
    for frame in
        [Frame::Text("hello".into()), Frame::Binary(vec![1].into()), Frame::Binary(vec![0, 0xff].into())]
    {
        socket.stream.send(frame).await.unwrap();
        let error = socket.receive().await.error_response.expect("an error");
        assert_eq!(error.r#type, 1, "{error:?}");
    }
    let short = AgentToServer { instance_uid: vec![1], ..collector.message() };
    assert_eq!(socket.exchange(&short).await.error_response.expect("an error").r#type, 1);
    collector.sequence_num -= 1;
    assert_eq!(socket.exchange(&collector.message()).await.flags, 0);
    socket.stream.send(Frame::Ping("x".into())).await.unwrap();
    assert!(matches!(socket.frame().await, Frame::Pong(_)));
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection() {
    let server = Server::start(&["inputs.0.server.limits.opamp_limit.max_body_byte_size=20000".to_owned()]);
    let (_, _, _, mut collector, mut socket) = ready(&server).await;
    let large = collector.full(&format!("a: {}", "x".repeat(30_000)));
    // The server may close before all of it is sent.
    let _ = socket.stream.send(Frame::Binary(fleet_protocol::opamp::write_frame(&large).into())).await;
    match socket.frame().await {
        Frame::Close(Some(close)) => assert_eq!(close.code, CloseCode::Size),
        other => panic!("not closed: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_stops_says_goodbye() {
    let mut server = Server::start(&["inputs.0.server.timeouts.drain=1s".to_owned()]);
    let (way, _, _, collector, mut socket) = ready(&server).await;
    server.terminate();
    match socket.frame().await {
        Frame::Close(Some(close)) => assert_eq!(close.code, CloseCode::Away),
        other => panic!("not closed: {other:?}"),
    }
    let late = Socket::open(&way, super::collector::handshake(&collector.key)).await;
    assert_eq!(late.err(), Some(http::StatusCode::SERVICE_UNAVAILABLE));
    assert!(server.wait());
}
