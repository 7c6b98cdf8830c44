//! Many clients at once, and some that hold on to what they have.

use std::time::Duration;

use http::{Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::time::timeout;

use crate::client::{LIMIT, Server, request};
use crate::world::{World, body};

const JSON: &str = "Content-Type: application/json\r\n";

/// Both ends of each connection are in this process.
fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit }).unwrap();
    }
}

#[tokio::test]
async fn more_connections_than_there_are_places_are_all_served() {
    allow_descriptors(2048);
    let server = Server::start(World::new()).await;
    let sent = body("inactive", 1).to_string();
    let mut connections = Vec::new();
    for _ in 0..600 {
        connections.push(server.connect().await);
    }
    // Each asks, and none closes: who has had its answer must not keep out who has not.
    for (number, connection) in connections.iter_mut().enumerate() {
        let path = format!("/fleet/v1/units/a{number}.service");
        connection.send(request(&Method::PUT, &path, JSON, &sent)).await;
    }
    for connection in &mut connections {
        assert_eq!(connection.receive().await.status, StatusCode::CREATED);
    }
    assert_eq!(server.world.pages("units").await.0.len(), 600);
}

#[tokio::test]
async fn a_busy_connection_is_not_closed_for_a_new_one() {
    allow_descriptors(2048);
    let server = Server::start(World::new()).await;
    let sent = request(&Method::PUT, "/fleet/v1/units/a.service", JSON, &body("inactive", 1).to_string());
    let mut connections = Vec::new();
    for number in 0..513 {
        let mut connection = server.connect().await;
        // All but one are in the middle of a request.
        let sent = if number == 99 { "" } else { &sent[..sent.len() - 1] };
        connection.send(sent).await;
        connections.push(connection);
    }
    assert!(connections[99].is_closed().await, "it has said nothing, and gives its place to the last one");
    connections.remove(99);
    for connection in &mut connections {
        connection.send("}").await;
        assert!(connection.receive().await.status.is_success());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::start(World::new()).await;
    let connection = server.connect().await;
    let asked = request(&Method::GET, "/fleet/v1/discovery", "", "").repeat(100);
    // Asks until neither side can send, because nothing is read here.
    while timeout(Duration::from_secs(5), connection.stream.writable()).await.is_ok() {
        let _ = connection.stream.try_write(asked.as_bytes());
    }
    tokio::time::sleep(Duration::from_secs(40)).await;
    let refused = connection.stream.try_write(b"more").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
    server.finish().await;
}

#[tokio::test]
async fn many_writers_of_one_unit_are_all_answered() {
    let server = Server::start(World::new()).await;
    server.world.put("a.service", body("launched", 1)).await;
    server.world.restart("a.service").await;
    let first = server.world.unit("a.service").await.unwrap().restarts;
    let writers = (0..100).map(|_| async {
        let reply = server.ask(request(&Method::POST, "/fleet/v1/units/a.service/restart", "", "")).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
    });
    timeout(LIMIT, futures_util::future::join_all(writers)).await.unwrap();
    assert_eq!(server.world.unit("a.service").await.unwrap().restarts, first + 100);
    let explained = server.world.get("/units/a.service/explain").await.json();
    assert_eq!(explained["restarts"], json!(first + 100));
}
