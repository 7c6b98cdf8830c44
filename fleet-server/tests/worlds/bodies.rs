//! Bodies of any kind, for every route of agents that takes one: any bytes, and good bodies in which anything has
//! been changed. Each is answered, none is a fault of the server, none makes it doubt a key, and nobody else
//! notices.
//!
//! `PROPTEST_CASES` is how many bodies each route is sent in each of the ways.

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_protocol::opamp::{
    AgentConfigFile, AgentConfigMap, AgentDescription, AgentDisconnect, AgentToServer, ComponentHealth,
    EffectiveConfig, KeyValue, Message, RemoteConfigStatus,
};
use http::{Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::world::World;

/// How many bodies there are unless it is told.
const CASES: u32 = 512;

/// What is changed in a body.
#[derive(Clone, Debug)]
enum Change {
    /// A byte becomes another one.
    Set(Index, u8),
    /// Bytes come in between.
    Insert(Index, Vec<u8>),
    /// Bytes go.
    Cut(Index, Index),
    /// Bytes come a second time.
    Double(Index, Index),
    /// A member or an element of JSON becomes something else, or goes.
    Replace(Index, Option<Value>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let spot = || any::<Index>();
    let change = prop_oneof![
        1 => (spot(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (spot(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (spot(), spot()).prop_map(|(from, to)| Change::Cut(from, to)),
        1 => (spot(), spot()).prop_map(|(from, to)| Change::Double(from, to)),
        // Of the others most make no JSON.
        6 => (spot(), prop::option::of(json_value())).prop_map(|(at, value)| Change::Replace(at, value)),
    ];
    prop::collection::vec(change, 1..6)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "(policy:)?[a-z]{0,8}:-?[0-9]{0,22}".prop_map(Value::from),
        "[+-]?[0-9]{1,20}(ns|ms|s|m|h|)".prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})"
            .prop_map(Value::from),
        (0_usize..5000).prop_map(|length| "x".repeat(length).into()),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_@]{0,12}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// All places in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn span(bytes: &[u8], from: &Index, to: &Index) -> std::ops::Range<usize> {
    let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
    from.min(to)..from.max(to)
}

fn changed(good: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for change in changes {
        match change {
            Change::Set(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Set(..) => {}
            Change::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Cut(from, to) => drop(bytes.drain(span(&bytes, from, to))),
            Change::Double(from, to) => {
                let span = span(&bytes, from, to);
                let again = bytes[span.clone()].to_vec();
                bytes.splice(span.end..span.end, again);
            }
            Change::Replace(at, with) => {
                let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else { continue };
                let mut found = Vec::new();
                places(&value, "", &mut found);
                let place = at.get(&found);
                match (with, place.rsplit_once('/')) {
                    (None, Some((parent, key))) => {
                        if let Some(Value::Object(members)) = value.pointer_mut(parent) {
                            members.remove(key);
                        }
                    }
                    (with, _) => {
                        if let Some(place) = value.pointer_mut(place) {
                            *place = with.clone().unwrap_or_default();
                        }
                    }
                }
                bytes = value.to_string().into_bytes();
            }
        }
    }
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A world with an agent that is sent bodies, by nobody else.
struct Bench {
    runtime: Runtime,
    world: World,
    agent: String,
    key: String,
}

impl Bench {
    fn new() -> Bench {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (world, (agent, key)) = runtime.block_on(async {
            let world = World::begin(1).await;
            let enrolled = world.enrol().await;
            (world, enrolled)
        });
        Bench { runtime, world, agent, key }
    }

    fn path(&self, last: &str) -> String {
        format!("/api/fleet/agents/{}/{last}", self.agent)
    }

    fn send(&self, route: &Route, headers: &[(&'static str, &str)], body: Vec<u8>) -> (StatusCode, Bytes) {
        let server = &self.world.servers()[0];
        let sent = server.send_bytes(route.method.clone(), &route.path, &route.key, headers, body.into());
        self.runtime.block_on(sent).unwrap()
    }

    /// Sends a route anything, then what is good.
    fn try_all(&self, route: &Route) {
        let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
        // `PROPTEST_CASES` is taken by the default alone.
        let config = match std::env::var("PROPTEST_CASES") {
            Ok(_) => Config { failure_persistence: None, ..Config::default() },
            Err(_) => config,
        };
        let bodies = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| (bytes, false)),
            changes().prop_map(|changes| (changed(&route.good, &changes), false)),
            changes().prop_map(|changes| (changed(&packed(&route.good), &changes), true)),
            changes().prop_map(|changes| (packed(&changed(&route.good, &changes)), true)),
        ];
        let tried = TestRunner::new(config).run(&bodies, |(body, is_packed)| {
            let hash =
                digest(&SHA256, &body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let mut headers = vec![("content-type", route.content_type), ("x-chunk-sha2", hash.as_str())];
            if is_packed {
                headers.push(("content-encoding", "gzip"));
            }
            let (status, answer) = self.send(route, &headers, body);
            // The room for files may well be used up.
            let is_answered = status == StatusCode::OK || status == StatusCode::INSUFFICIENT_STORAGE;
            prop_assert!(
                is_answered || (status.is_client_error() && status != StatusCode::UNAUTHORIZED),
                "{} was answered {status}: {}",
                route.path,
                String::from_utf8_lossy(&answer)
            );
            Ok(())
        });
        tried.unwrap_or_else(|failure| panic!("{failure}"));
        let good = json!({"status": "online", "message": "still here"}).to_string();
        let checkin = Route::json(Method::POST, self.path("checkin"), &self.key, good);
        assert_eq!(self.send(&checkin, &[], checkin.good.clone()).0, StatusCode::OK);
    }
}

/// A route, and a body that it takes.
struct Route {
    method: Method,
    path: String,
    key: String,
    content_type: &'static str,
    good: Vec<u8>,
}

impl Route {
    fn json(method: Method, path: impl Into<String>, key: &str, good: impl Into<Vec<u8>>) -> Route {
        let (path, key, good) = (path.into(), key.to_owned(), good.into());
        Route { method, path, key, content_type: "application/json", good }
    }
}

#[test]
fn any_enrolment() {
    let bench = Bench::new();
    let good = json!({
        "type": "PERMANENT", "id": "pod-1", "replace_token": "", "enrollment_id": "attempt-1",
        "metadata": {
            "local": {"elastic": {"agent": {"id": "", "version": "9.6.0", "upgradeable": true}},
                "host": {"hostname": "web-1", "architecture": "x86_64"}, "os": {"platform": "debian"}},
            "user_provided": {"rack": 7}, "tags": ["eu", "test"],
        },
    });
    let key = bench.world.enrolment_key().to_owned();
    bench.try_all(&Route::json(Method::POST, "/api/fleet/agents/enroll", &key, good.to_string()));
}

#[test]
fn any_checkin() {
    let bench = Bench::new();
    let good = json!({
        "status": "online", "message": "Running", "ack_token": "action-1", "poll_timeout": "5m",
        "agent_policy_id": "web", "policy_revision_idx": 0,
        "local_metadata": {"elastic": {"agent": {"version": "9.6.0"}}, "host": {"hostname": "web-1"}},
        "components": [{"id": "log-default", "status": "DEGRADED", "message": "",
            "units": [{"id": "log-1", "type": "input", "status": "FAILED", "message": "no file"}]}],
        "upgrade": {"rollbacks": [{"version": "9.5.0", "valid_until": "2026-12-01T00:00:00Z"}]},
        "upgrade_details": {"target_version": "9.7.0", "action_id": "action-2", "state": "UPG_DOWNLOADING",
            "metadata": {"download_percent": 0.5, "download_rate": 1000.0, "failed_state": "", "error_msg": ""}},
    });
    bench.try_all(&Route::json(Method::POST, bench.path("checkin"), &bench.key, good.to_string()));
}

#[test]
fn any_acknowledgement() {
    let bench = Bench::new();
    let event = json!({
        "type": "ACTION_RESULT", "subtype": "ACKNOWLEDGED", "action_id": "policy:web:1", "agent_id": bench.agent,
        "message": "done", "timestamp": "2026-11-22T05:00:00.5Z", "error": "",
        "action_data": {"query": "select 1"}, "action_input_type": "osquery", "action_response": {"rows": []},
        "started_at": "2026-11-22T05:00:00Z", "completed_at": "2026-11-22T05:00:01Z",
        "payload": {"retry": false, "retry_attempt": 1}, "data": {"upload_id": "upload-1"},
    });
    let mut other = event.clone();
    other["action_id"] = "nothing".into();
    let good = json!({"events": [event, other]});
    bench.try_all(&Route::json(Method::POST, bench.path("acks"), &bench.key, good.to_string()));
}

#[test]
fn any_farewell() {
    let bench = Bench::new();
    let good = json!({"reason": "uninstall", "timestamp": "2026-11-22T05:00:00Z"});
    bench.try_all(&Route::json(Method::POST, bench.path("audit/unenroll"), &bench.key, good.to_string()));
}

fn upload(bench: &Bench) -> Value {
    json!({
        "file": {"name": "diagnostics.zip", "size": 1000, "mime_type": "application/zip", "Compression": "",
            "hash": {"sha256": "00", "md5": ""}},
        "action_id": "action-1", "agent_id": bench.agent, "src": "agent", "contents": [{"a": 1}],
    })
}

#[test]
fn any_beginning_of_an_upload() {
    let bench = Bench::new();
    let good = upload(&bench).to_string();
    bench.try_all(&Route::json(Method::POST, "/api/fleet/uploads", &bench.key, good));
}

#[test]
fn any_chunk_and_any_end_of_an_upload() {
    let bench = Bench::new();
    let mut good = upload(&bench);
    good["file"].as_object_mut().unwrap().remove("hash");
    let begin = Route::json(Method::POST, "/api/fleet/uploads", &bench.key, good.to_string());
    let (status, answer) = bench.send(&begin, &[], begin.good.clone());
    assert_eq!(status, StatusCode::OK, "{answer:?}");
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let path = format!("/api/fleet/uploads/{}", answer["upload_id"].as_str().unwrap());
    bench.try_all(&Route::json(Method::PUT, format!("{path}/0"), &bench.key, vec![b'x'; 1000]));
    let end = json!({"transithash": {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}});
    bench.try_all(&Route::json(Method::POST, path, &bench.key, end.to_string()));
}

#[test]
fn any_message_of_a_collector() {
    let bench = Bench::new();
    let health = ComponentHealth { healthy: true, status: "StatusOK".to_owned(), ..Default::default() };
    let file =
        AgentConfigFile { body: b"receivers: {otlp: {}}\n".to_vec(), content_type: "text/yaml".to_owned() };
    let config_map = BTreeMap::from([(String::new(), file)]);
    let message = AgentToServer {
        instance_uid: vec![7; 16],
        sequence_num: 1,
        capabilities: 0x1407,
        agent_description: Some(AgentDescription {
            identifying_attributes: vec![KeyValue::text("service.name", "otelcol")],
            non_identifying_attributes: vec![
                KeyValue::text("host.name", "web-1"),
                KeyValue::text("tags", "a,b"),
            ],
        }),
        health: Some(ComponentHealth {
            component_health_map: BTreeMap::from([("pipeline:logs".to_owned(), health.clone())]),
            ..health
        }),
        effective_config: Some(EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) }),
        remote_config_status: Some(RemoteConfigStatus {
            last_remote_config_hash: vec![1; 32],
            status: 1,
            error_message: "no".to_owned(),
        }),
        agent_disconnect: Some(AgentDisconnect {}),
        ..AgentToServer::default()
    };
    let key = bench.world.enrolment_key().to_owned();
    for message in [AgentToServer { agent_disconnect: None, ..message.clone() }, message] {
        let good = message.encode_to_vec();
        let route = Route::json(Method::POST, "/v1/opamp", &key, good);
        bench.try_all(&Route { content_type: "application/x-protobuf", ..route });
    }
}
