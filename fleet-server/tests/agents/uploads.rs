//! Files that agents upload.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::agent::{Agent, Way, raw, request, with};
use crate::etcd::Etcd;
use crate::files::{Upload, announcement, content, sha256};
use crate::manager::Manager;
use crate::refusals::{Case, WRONG, case, check, of_each_route, without};
use crate::server::Server;
use crate::stores::Store;

/// Where uploads begin.
const BEGIN: &str = "/api/fleet/uploads";

#[tokio::test]
async fn a_file_comes_in_parallel_chunks_in_any_order() {
    let content = content(20_000_003);
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (_, key) = manager.make_policy("web").await;
        let agent = Agent::enrol(&way, &key, "web-1").await;
        let upload = Upload::begin(&way, &agent, &content).await;
        let uploads = format!("/api/fleet/agents/{}/uploads", agent.id);
        let waiting = manager.get(&uploads).await;
        assert_eq!(waiting["items"][0]["status"], "AWAITING_UPLOAD");
        let sent = join_all((0..upload.chunks.len()).rev().map(|number| upload.send(&way, &agent, number)));
        for answer in sent.await {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        // An agent that did not hear the answer sends again.
        assert_eq!(upload.send(&way, &agent, 2).await.status, StatusCode::OK);
        assert_eq!(manager.get(&uploads).await["items"][0]["status"], "IN_PROGRESS");
        for _ in 0..2 {
            let finished = upload.finish(&way, &agent).await;
            assert_eq!(finished.status, StatusCode::OK, "{}", finished.body);
        }
        let item = manager.get(&uploads).await["items"][0].clone();
        assert_eq!((item["status"].as_str(), item["actionId"].as_str()), (Some("READY"), Some("action-1")));
        let path = item["filePath"].as_str().unwrap();
        let file = manager.fetch("GET", path, "").await;
        assert_eq!(file.headers()["content-type"], "application/zip");
        assert!(file.body() == &content);
        assert_eq!(manager.ask("DELETE", path, None).await.0, StatusCode::OK);
        assert_eq!(manager.fetch("GET", path, "").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(manager.get(&uploads).await["items"][0]["status"], "DELETED");
    }
}

/// Sends the head of a chunk alone.
async fn begin_chunk(way: &Way, agent: &Agent, upload: &Upload, number: usize) -> TlsStream<TcpStream> {
    let mut stream = way.stream().await;
    let chunk = &upload.chunks[number];
    let head = format!(
        "PUT {}/{number} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ApiKey {}\r\nX-Chunk-SHA2: {}\r\n\
         Content-Length: {}\r\n\r\n",
        upload.path(),
        agent.key,
        sha256(chunk),
        chunk.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_upload_goes_on_after_the_server_was_killed() {
    let content = content(9_000_000);
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let (_, key) = manager.make_policy("web").await;
    let way = Way::to(&server);
    let agent = Agent::enrol(&way, &key, "web-1").await;
    let upload = Upload::begin(&way, &agent, &content).await;
    assert_eq!(upload.send(&way, &agent, 0).await.status, StatusCode::OK);
    // In the middle of a chunk, of which parts may be stored.
    let mut broken = begin_chunk(&way, &agent, &upload, 1).await;
    broken.write_all(&upload.chunks[1][..3_000_000]).await.unwrap();
    let server = server.restart();
    drop(broken);
    let way = Way::to(&server);
    for number in [2, 1] {
        assert_eq!(upload.send(&way, &agent, number).await.status, StatusCode::OK);
    }
    let finished = upload.finish(&way, &agent).await;
    assert_eq!(finished.status, StatusCode::OK, "{}", finished.body);
    let path = format!("/api/fleet/agents/files/{}", upload.id);
    assert!(Manager::of(&server).fetch("GET", &path, "").await.body() == &content);
}

/// What is wrong with announcements.
fn of_begin(agent: &Agent) -> Vec<Case> {
    let announced = |field: &str, value: serde_json::Value| {
        let mut body = announcement(agent, 1000);
        *body.pointer_mut(field).unwrap() = value;
        request("POST", BEGIN, &agent.key, &body)
    };
    // Larger than any announcement may be.
    let large = raw("POST", BEGIN, &agent.key, vec![b' '; 6 << 20]);
    vec![
        case("no agent", announced("/agent_id", json!("")), 400, "BadRequest"),
        case("no file", announced("/file", json!(null)), 400, "BadRequest"),
        case("no name", announced("/file/name", json!("")), 400, "BadRequest"),
        case("no size", announced("/file/size", json!(0)), 400, "BadRequest"),
        case("size below nothing", announced("/file/size", json!(-1)), 400, "BadRequest"),
        case("no type", announced("/file/mime_type", json!("")), 400, "BadRequest"),
        case("no action", announced("/action_id", json!("")), 400, "BadRequest"),
        case("unknown source", announced("/src", json!("x")), 400, "BadRequest"),
        case("huge", announced("/file/size", json!(1_u64 << 40)), 413, "ErrPayloadSizeTooLarge"),
        case("no room", announced("/file/size", json!(999_001)), 507, "InsufficientStorage"),
        case("large", large, 413, "ErrPayloadSizeTooLarge"),
    ]
}

#[tokio::test]
async fn each_mistake_of_an_upload_is_refused() {
    let server = Server::start(&["inputs.0.server.limits.max_file_storage_size=1000000".to_owned()]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let one = Agent::enrol(&way, &key, "one").await;
    let other = Agent::enrol(&way, &key, "other").await;
    let upload = Upload::begin(&way, &one, &content(1000)).await;
    let good = announcement(&one, 1000);
    let (hash, finish) = (sha256(&upload.chunks[0]), json!({"transithash": {"sha256": upload.transit()}}));
    let chunk = |number: &str, key: &str, body: Vec<u8>| {
        let request = raw("PUT", &format!("{}/{number}", upload.path()), key, body);
        with(request, "x-chunk-sha2", &hash)
    };
    let bytes = || upload.chunks[0].to_vec();
    let ended =
        |hash: &str| request("POST", &upload.path(), &one.key, &json!({"transithash": {"sha256": hash}}));
    let unknown = format!("{BEGIN}/00000000-0000-4000-8000-000000000000");
    let mut cases = vec![
        case("stolen begin", request("POST", BEGIN, &other.key, &good), 403, "ErrAgentIdentity"),
        case("stolen chunk", chunk("0", &other.key, bytes()), 403, "ErrAgentIdentity"),
        case("stolen end", request("POST", &upload.path(), &other.key, &finish), 403, "ErrAgentIdentity"),
        case("unknown upload", request("POST", &unknown, &one.key, &finish), 400, "ErrAPIKeyNotFound"),
        case(
            "no id",
            request("POST", &format!("{BEGIN}/x%2fy"), &one.key, &finish),
            400,
            "ErrAPIKeyNotFound",
        ),
        case("unknown upload, wrong key", request("POST", &unknown, WRONG, &finish), 401, "ErrUnauthorized"),
        case(
            "chunk without key",
            without(chunk("0", &one.key, bytes()), "authorization"),
            401,
            "ErrNoAuthHeader",
        ),
        case("chunk, wrong key", chunk("0", WRONG, bytes()), 401, "ErrUnauthorized"),
        case("chunk, no number", chunk("x", &one.key, bytes()), 400, "BadRequest"),
        case("chunk too high", chunk("1", &one.key, bytes()), 400, "BadRequest"),
        case("chunk too short", chunk("0", &one.key, vec![0; 999]), 400, "BadRequest"),
        case("chunk too long", chunk("0", &one.key, vec![0; 1001]), 400, "BadRequest"),
        case("chunk too large", chunk("0", &one.key, vec![0; 5 << 20]), 413, "ErrPayloadSizeTooLarge"),
        case("chunk without hash", without(chunk("0", &one.key, bytes()), "x-chunk-sha2"), 400, "BadRequest"),
        case("chunk, bad hash", with(chunk("0", &one.key, bytes()), "x-chunk-sha2", "x"), 400, "BadRequest"),
        case("chunk, other bytes", chunk("0", &one.key, vec![0; 1000]), 400, "ErrHashMismatch"),
        case(
            "chunk packed",
            with(chunk("0", &one.key, bytes()), "content-encoding", "gzip"),
            400,
            "BadRequest",
        ),
        case("end, bad hash", ended("x"), 400, "BadRequest"),
    ];
    cases.extend(of_begin(&one));
    let common = of_each_route(BEGIN, &one.key, &good).into_iter().filter(|case| case.name != "too large");
    cases.extend(common.chain(of_each_route(&upload.path(), &one.key, &finish)));
    check(&way, cases).await;
    // What was refused has done no harm; an end without all chunks gives the upload up.
    let missing = way.send(request("POST", &upload.path(), &one.key, &finish)).await;
    assert_eq!((missing.status.as_u16(), missing.body["error"].as_str()), (400, Some("ErrMissingChunks")));
    let late = way.send(chunk("0", &one.key, bytes())).await;
    assert_eq!((late.status.as_u16(), late.body["error"].as_str()), (400, Some("ErrUploadStopped")));
    let uploads = manager.get(&format!("/api/fleet/agents/{}/uploads", one.id)).await;
    assert_eq!(uploads["items"][0]["status"], "FAILED");
}

#[tokio::test]
async fn a_chunk_that_stops_coming_gives_its_place_back() {
    let settings = ["timeouts.read=1s", "limits.upload_chunk_limit.max=1"];
    let server = Server::start(&settings.map(|setting| format!("inputs.0.server.{setting}")));
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let agent = Agent::enrol(&way, &key, "web-1").await;
    let upload = Upload::begin(&way, &agent, &content(1000)).await;
    let mut slow = begin_chunk(&way, &agent, &upload, 0).await;
    slow.write_all(b"half").await.unwrap();
    // The one place is taken.
    let mut refused = StatusCode::OK;
    for _ in 0..100 {
        refused = upload.send(&way, &agent, 0).await.status;
        if refused == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
    }
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(upload.send(&way, &agent, 0).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_is_away_ends_no_upload() {
    let store = Store::Etcd(Etcd::start());
    let server = store.start_server();
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let agent = Agent::enrol(&way, &key, "web-1").await;
    let upload = Upload::begin(&way, &agent, &content(1_500_000)).await;
    let Store::Etcd(etcd) = &store else { unreachable!() };
    etcd.pause(true);
    for answer in [upload.send(&way, &agent, 0).await, upload.finish(&way, &agent).await] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
        assert!(answer.headers.contains_key("retry-after"));
    }
    etcd.pause(false);
    let mut sent = StatusCode::SERVICE_UNAVAILABLE;
    for _ in 0..50 {
        sent = upload.send(&way, &agent, 0).await.status;
        if sent == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(sent, StatusCode::OK);
    assert_eq!(upload.finish(&way, &agent).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_room_for_files_there_are_none() {
    let server = Server::start(&["inputs.0.server.limits.max_file_storage_size=0".to_owned()]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let agent = Agent::enrol(&way, &key, "one").await;
    let begun = way.send(request("POST", BEGIN, &agent.key, &announcement(&agent, 5))).await;
    assert_eq!((begun.status.as_u16(), begun.body["error"].as_str()), (403, Some("ErrFileFeatureDisable")));
}
