use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

use super::document::metrics::{Groups, Point};
use super::document::{logs, traces};
use super::reply::{Answer, Status};
use super::wire::types::{
    Any, AnyValue, ExponentialHistogramDataPoint, HistogramDataPoint, KeyValue, LogRecord, NumberDataPoint,
    Span, SummaryDataPoint,
};
use super::*;
use crate::input::testing::{Rig, Running};
use crate::state::UnitState;

const ROOM: u32 = 4 << 20;

fn settings(signal: &str) -> Value {
    json!({"signal": signal, "protocols.grpc": {"endpoint": "127.0.0.1:0"}, "protocols.http": {"endpoint": "127.0.0.1:0"}})
}

/// Starts a stream, and waits until it takes its signal.
async fn start(rig: &Rig, settings: &Value) -> (Running, String, String) {
    let running = rig.start(&DEFINITION, "otlp", settings).unwrap();
    let starts = format!("takes {} at ", settings["signal"].as_str().unwrap());
    let status =
        rig.state(|status| status.state == UnitState::Healthy && status.message.starts_with(&starts)).await;
    let at = |name: &str| status.payload.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    (running, at("grpc"), at("http"))
}

async fn post(address: &str, path: &str, kind: &str, body: Vec<u8>) -> reqwest::Response {
    let request = reqwest::Client::builder().tls_backend_preconfigured(nothing()).build().unwrap();
    let request = request.post(format!("http://{address}{path}")).header("content-type", kind);
    let request =
        if body.starts_with(&[0x1f, 0x8b]) { request.header("content-encoding", "gzip") } else { request };
    request.body(body).send().await.unwrap()
}

/// A configuration for clients that speak no TLS.
fn nothing() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

async fn post_json(address: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = post(address, path, "application/json", body.to_string().into_bytes()).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// A call over gRPC; `grpc-status`, `grpc-message`, the details, and the message of the answer.
async fn call(address: &str, signal: Signal, message: &[u8], gzip: bool) -> (u16, String, Status, Vec<u8>) {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let message = if gzip { packed(message) } else { message.to_vec() };
    let head = [vec![u8::from(gzip)], u32::try_from(message.len()).unwrap().to_be_bytes().to_vec()].concat();
    let mut request = hyper::Request::post(format!("http://{address}{}", signal.method()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if gzip {
        request = request.header("grpc-encoding", "gzip");
    }
    let body = Full::new(bytes::Bytes::from([head, message].concat()));
    let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    assert_eq!(
        (head.status, &head.headers["content-type"]),
        (StatusCode::OK, &"application/grpc".parse().unwrap())
    );
    let body = body.collect().await.unwrap();
    let all = body.trailers().cloned().unwrap_or(head.headers);
    let text = |name: &str| all.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let details =
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, text("grpc-status-details-bin"));
    let bytes = body.to_bytes();
    (
        text("grpc-status").parse().unwrap(),
        text("grpc-message"),
        Status::decode(details.unwrap().as_slice()).unwrap(),
        bytes.get(5..).unwrap_or_default().to_vec(),
    )
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    writer.finish().unwrap()
}

/// A field of a message.
fn field(tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(tag, &bytes.to_vec(), &mut out);
    out
}

fn log(message: &str) -> LogRecord {
    let body = Some(AnyValue { value: Some(Any::Text(message.to_owned())) });
    LogRecord { time_unix_nano: 1_544_712_660_300_000_007, body, ..LogRecord::default() }
}

/// A request of these records of one scope.
fn request(records: &[Vec<u8>]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|record| field(2, record)).collect();
    field(1, &field(2, &records))
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({"key": key, "value": value})
}

fn resource() -> Value {
    json!({"attributes": [
        attribute("service.name", &json!({"stringValue": "my.service"})),
        attribute("host.name", &json!({"stringValue": "web-1"})),
        attribute("k8s.pod.name", &json!({"stringValue": "pod"})),
    ]})
}

fn scope() -> Value {
    json!({"name": "my.library", "version": "1.0.0", "attributes": [attribute("a.b", &json!({"boolValue": true}))]})
}

fn shared(event: &Value) {
    assert_eq!(
        (&event["service"], &event["host"]),
        (&json!({"name": "my.service"}), &json!({"name": "web-1"}))
    );
    assert_eq!(event["resource"], json!({"attributes": {"k8s.pod.name": "pod"}}));
    assert_eq!(
        event["scope"],
        json!({"name": "my.library", "version": "1.0.0", "attributes": {"a.b": true}})
    );
}

#[tokio::test]
async fn logs_in_json_become_events() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("logs")).await;
    let record = json!({
        "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": 1_544_712_660_300_000_001_u64,
        "severityNumber": 10, "severityText": "Information", "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174", "body": {"stringValue": "Example log record"}, "eventName": "happened",
        "unknown": [1],
        "attributes": [
            attribute("string.attribute", &json!({"stringValue": "some string"})),
            attribute("int.attribute", &json!({"intValue": "10"})),
            attribute("double.attribute", &json!({"doubleValue": 637.704})),
            attribute("array.attribute", &json!({"arrayValue": {"values": [{"stringValue": "many"}, {"intValue": 1}]}})),
            attribute("map.attribute", &json!({"kvlistValue": {"values": [attribute("k", &json!({"bytesValue": "AQI="}))]}})),
        ],
    });
    let other = json!({"severityNumber": 17, "body": {"kvlistValue": {"values": [attribute("k", &json!({"intValue": "1"}))]}}});
    let body = json!({"resourceLogs": [{"resource": resource(), "scopeLogs": [{"scope": scope(), "logRecords": [record, other]}]}]});
    assert_eq!(post_json(&http, "/v1/logs", &body).await, (StatusCode::OK, json!({})));
    let events = rig.events(2).await;
    let event = &events[0];
    shared(event);
    assert_eq!(
        (&event["@timestamp"], &event["message"]),
        (&json!("2018-12-13T14:51:00.300Z"), &json!("Example log record"))
    );
    assert_eq!(event["observed_timestamp"], "2018-12-13T14:51:00.300000001Z");
    assert_eq!((&event["log"]["level"], &event["severity_number"]), (&json!("Information"), &json!(10)));
    assert_eq!(event["trace"]["id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(
        (&event["span"]["id"], &event["event"]["name"]),
        (&json!("eee19b7ec3c1b174"), &json!("happened"))
    );
    assert_eq!(
        event["attributes"],
        json!({"string.attribute": "some string", "int.attribute": 10, "double.attribute": 637.704,
            "array.attribute": ["many", 1], "map.attribute": {"k": "AQI="}})
    );
    assert_eq!((&events[1]["message"], &events[1]["log"]["level"]), (&json!("{\"k\":1}"), &json!("ERROR")));
    assert_eq!(events[1]["data_stream"]["type"], "logs");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn spans_in_json_become_events() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("traces")).await;
    let span = json!({
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173", "name": "I'm a server span", "kind": 2,
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
        "attributes": [attribute("my.span.attr", &json!({"stringValue": "some value"}))],
        "status": {"code": 2, "message": "no"},
        "links": [{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B175"}],
        "events": [{"timeUnixNano": "1544712660500000000", "name": "exception",
            "attributes": [attribute("exception.type", &json!({"stringValue": "E"}))]}],
    });
    let body = json!({"resourceSpans": [{"resource": resource(), "scopeSpans": [{"scope": scope(), "spans": [span]}]}]});
    for _ in 0..2 {
        assert_eq!(post_json(&http, "/v1/traces", &body).await, (StatusCode::OK, json!({})));
    }
    let mut batches = rig.batches().await;
    while batches.len() < 2 {
        batches.extend(rig.batches().await);
    }
    // The same span again has the same id, so the engine has it once.
    assert_eq!(batches[0].id(0), batches[1].id(0));
    let event = crate::input::testing::documents(&batches[0]).remove(0);
    shared(&event);
    assert_eq!(
        (&event["@timestamp"], &event["duration"]),
        (&json!("2018-12-13T14:51:00.000Z"), &json!(1_000_000_000))
    );
    assert_eq!(event["span"], json!({"id": "eee19b7ec3c1b174", "name": "I'm a server span"}));
    assert_eq!((&event["parent"]["id"], &event["kind"]), (&json!("eee19b7ec3c1b173"), &json!("server")));
    assert_eq!(
        (&event["status"], &event["event"]["outcome"]),
        (&json!({"code": "error", "message": "no"}), &json!("failure"))
    );
    assert_eq!(
        event["links"],
        json!([{"trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b175"}])
    );
    let happened = json!({"timestamp": "2018-12-13T14:51:00.500Z", "name": "exception", "attributes": {"exception.type": "E"}});
    assert_eq!(event["events"], json!([happened]));
    input.stop().await.unwrap();
}

#[tokio::test]
async fn points_with_the_same_attributes_become_one_event() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("metrics")).await;
    let point = |extra: Value| {
        let mut point = json!({"startTimeUnixNano": "1544712660000000000", "timeUnixNano": "1544712661000000000",
            "attributes": [attribute("my.attr", &json!({"stringValue": "some value"}))]});
        point.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "dataPoints": [point] })
    };
    let metrics = json!([
        {"name": "my.counter", "unit": "1", "sum": point(json!({"asDouble": 5}))},
        {"name": "my.gauge", "unit": "1", "gauge": point(json!({"asInt": "10"}))},
        {"name": "my.histogram", "unit": "1", "histogram": point(json!({"count": 2, "sum": 2,
            "bucketCounts": ["1", 1, 0, 3], "explicitBounds": [1, 2, 4]}))},
        {"name": "my.exponential", "unit": "1", "exponentialHistogram": point(json!({"count": "3", "scale": 0,
            "zeroCount": 1, "positive": {"offset": 1, "bucketCounts": [0, "2"]}, "negative": {"bucketCounts": [4]}}))},
        {"name": "my.summary", "unit": "1", "summary": point(json!({"count": 2, "sum": 3.5}))},
        {"name": "my.gauge", "unit": "s", "gauge": point(json!({"asDouble": 0.5}))},
        {"name": "my.stale", "unit": "1", "gauge": point(json!({"asInt": 1, "flags": 1}))},
        {"name": "my.nothing", "unit": "1", "gauge": point(json!({"asDouble": "NaN"}))},
    ]);
    let body = json!({"resourceMetrics": [{"resource": resource(), "scopeMetrics": [{"scope": scope(), "metrics": metrics}]}]});
    assert_eq!(post_json(&http, "/v1/metrics", &body).await, (StatusCode::OK, json!({})));
    let events = rig.events(2).await;
    shared(&events[0]);
    assert_eq!(events[0]["attributes"], json!({"my.attr": "some value"}));
    assert_eq!(
        (&events[0]["start_timestamp"], &events[0]["unit"]),
        (&json!("2018-12-13T14:51:00.000Z"), &json!("1"))
    );
    assert_eq!(
        events[0]["metrics"],
        json!({
            "my.counter": 5.0, "my.gauge": 10,
            "my.histogram": {"values": [0.5, 1.5, 4.0], "counts": [1, 1, 3]},
            "my.exponential": {"values": [-1.5, 0.0, 6.0], "counts": [4, 1, 2]},
            "my.summary": {"value_count": 2, "sum": 3.5},
        })
    );
    assert_eq!((&events[1]["metrics"], &events[1]["unit"]), (&json!({"my.gauge": 0.5}), &json!("s")));
    input.stop().await.unwrap();
}

#[tokio::test]
async fn protobuf_comes_over_grpc_and_http_packed_or_not() {
    let rig = Rig::new(ROOM);
    let (input, grpc, http) = start(&rig, &settings("logs")).await;
    let body = request(&[log("a").encode_to_vec()]);
    for gzip in [false, true] {
        let (code, message, _, answer) = call(&grpc, Signal::Logs, &body, gzip).await;
        assert_eq!((code, message.as_str(), answer.len()), (0, "", 0));
        let sent = if gzip { packed(&body) } else { body.clone() };
        let answer = post(&http, "/v1/logs", "application/x-protobuf", sent).await;
        assert_eq!(
            (answer.status(), &answer.headers()["content-type"]),
            (StatusCode::OK, &"application/x-protobuf".parse().unwrap())
        );
        assert_eq!(answer.bytes().await.unwrap().len(), 0);
    }
    for event in rig.events(4).await {
        assert_eq!(
            (&event["message"], &event["@timestamp"]),
            (&json!("a"), &json!("2018-12-13T14:51:00.300000007Z"))
        );
    }
    input.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_counted_and_the_rest_is_taken() {
    let rig = Rig::new(ROOM);
    let (input, grpc, http) = start(&rig, &settings("logs")).await;
    let bad = field(3, b"\xff");
    let (code, _, _, answer) =
        call(&grpc, Signal::Logs, &request(&[bad, log("a").encode_to_vec()]), false).await;
    let partial = Answer::decode(answer.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((code, partial.rejected), (0, 1));
    assert!(partial.error_message.contains("UTF-8"), "{partial:?}");

    let records = json!([{"traceId": "x"}, {"body": {"stringValue": "b"}}, {"timeUnixNano": true}]);
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
    let (status, answer) = post_json(&http, "/v1/logs", &body).await;
    assert_eq!((status, &answer["partialSuccess"]["rejectedLogRecords"]), (StatusCode::OK, &json!("2")));
    assert!(
        answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("no identifier in hexadecimal")
    );
    assert_eq!(rig.events(2).await[1]["message"], "b");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_broken_or_too_large_is_refused_with_its_reason() {
    let rig = Rig::new(ROOM);
    let mut small = settings("logs");
    small["protocols.http"]["max_request_body_size"] = json!(10_000);
    small["protocols.grpc"]["max_recv_msg_size_mib"] = json!(1);
    let (input, grpc, http) = start(&rig, &small).await;
    let (status, answer) = post_json(&http, "/v1/logs", &json!([])).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!(3)));
    let bomb = packed(&vec![0; 8 << 20]);
    assert!(bomb.len() < 10_000);
    let answer = post(&http, "/v1/logs", "application/x-protobuf", bomb.clone()).await;
    assert_eq!((answer.status(), answer.headers().get("retry-after")), (StatusCode::PAYLOAD_TOO_LARGE, None));
    let status = Status::decode(answer.bytes().await.unwrap()).unwrap();
    assert!(status.message.starts_with("the request is larger than 10000 bytes"), "{status:?}");
    let torn = packed(&request(&[log("a").encode_to_vec()]));
    let answer = post(&http, "/v1/logs", "application/x-protobuf", torn[..torn.len() - 9].to_vec()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    for (path, kind, status) in [
        ("/v1/logs", "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("/v1/nothing", "application/json", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(post(&http, path, kind, Vec::new()).await.status(), status);
    }

    let (code, message, status, _) = call(&grpc, Signal::Logs, b"\x0a\x05", false).await;
    assert_eq!(
        (code, message.starts_with("the request cannot be read: "), status.details.len()),
        (3, true, 0)
    );
    for gzip in [true, false] {
        let (code, message, ..) = call(&grpc, Signal::Logs, &vec![0; 8 << 20], gzip).await;
        assert_eq!(code, 8, "{message}");
    }
    input.stop().await.unwrap();
}

#[tokio::test]
async fn streams_share_an_address_and_what_nobody_takes_is_told() {
    let rig = Rig::new(ROOM);
    let (logs, grpc, http) = start(&rig, &settings("logs")).await;
    let (code, message, ..) = call(&grpc, Signal::Metrics, b"", false).await;
    assert_eq!((code, message.starts_with("no stream of the agent's policy takes metrics here")), (12, true));
    let (status, answer) = post_json(&http, "/v1/metrics", &json!({})).await;
    assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!(12)));

    let (metrics, same, _) = start(&rig, &settings("metrics")).await;
    assert_eq!(same, grpc);
    assert_eq!(call(&grpc, Signal::Metrics, b"", false).await.0, 0);
    let problem = rig.start(&DEFINITION, "otlp", &settings("metrics")).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("metrics at 127.0.0.1:0 go to stream stream already"), "{problem}");
    let mut other = settings("traces");
    other["protocols.grpc"]["max_recv_msg_size_mib"] = json!(9);
    let problem = rig.start(&DEFINITION, "otlp", &other).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("used by another input with other settings"), "{problem}");

    logs.stop().await.unwrap();
    assert_eq!(call(&grpc, Signal::Logs, b"", false).await.0, 12);
    metrics.stop().await.unwrap();
    assert!(tokio::net::TcpStream::connect(&grpc).await.is_err());
}

#[tokio::test]
async fn while_the_queue_is_full_senders_are_told_to_come_again() {
    let rig = Rig::new(64 * 1024);
    let (input, grpc, http) = start(&rig, &settings("logs")).await;
    let body = request(&[log(&"x".repeat(200_000)).encode_to_vec()]);
    let mut taken = 0;
    let refused = loop {
        let answer = post(&http, "/v1/logs", "application/x-protobuf", body.clone()).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        taken += 1;
        assert!(taken < 100, "nothing held the sender up");
    };
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"2".parse().unwrap())
    );
    let (code, _, status, _) = call(&grpc, Signal::Logs, &body, false).await;
    assert_eq!((code, status.code, status.details.len()), (14, 14, 1));
    let status = rig.state(|status| status.state == UnitState::Degraded).await;
    assert!(status.message.contains("no room"), "{}", status.message);

    // What was sent away may be in the queue all the same; what was answered with success is.
    let mut events = rig.events(taken).await;
    let answer =
        post(&http, "/v1/logs", "application/x-protobuf", request(&[log("later").encode_to_vec()])).await;
    assert_eq!(answer.status(), StatusCode::OK);
    rig.state(|status| status.state == UnitState::Healthy).await;
    while events.last().unwrap()["message"] != "later" {
        events.extend(rig.events(1).await);
    }
    assert!(events.len() <= taken + 3);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn connections_may_be_encrypted() {
    let rig = Rig::new(ROOM);
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = json!({"cert_pem": certificate.cert.pem(), "key_pem": certificate.signing_key.serialize_pem(), "min_version": "1.3"});
    let settings = json!({"signal": "logs", "protocols": {"http": {"endpoint": "127.0.0.1:0", "tls": tls}}});
    let (input, _, http) = start(&rig, &settings).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(client).build().unwrap();
    let port = http.rsplit_once(':').unwrap().1;
    let body = request(&[log("secret").encode_to_vec()]);
    let sent = client
        .post(format!("https://localhost:{port}/v1/logs"))
        .header("content-type", "application/x-protobuf");
    assert_eq!(sent.body(body).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(rig.events(1).await[0]["message"], "secret");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send_and_idle_connections_are_closed() {
    let rig = Rig::new(ROOM);
    let http = json!({"endpoint": "127.0.0.1:0", "idle_timeout": "1s", "cors": {"allowed_origins": ["https://*.example.com"]}});
    let (input, _, http) = start(&rig, &json!({"signal": "logs", "protocols": {"http": http}})).await;
    let client = reqwest::Client::builder().tls_backend_preconfigured(nothing()).build().unwrap();
    let ask = |origin: &'static str| {
        let ask =
            client.request(http::Method::OPTIONS, format!("http://{http}/v1/logs")).header("origin", origin);
        ask.header("access-control-request-headers", "content-type, x-other").send()
    };
    let answer = ask("https://a.example.com").await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example.com");
    assert_eq!(answer.headers()["access-control-allow-headers"], "content-type");
    assert_eq!(ask("https://example.org").await.unwrap().headers().get("access-control-allow-origin"), None);

    let mut socket = tokio::net::TcpStream::connect(&http).await.unwrap();
    let mut buffer = [0; 16];
    let closed = tokio::io::AsyncReadExt::read(&mut socket, &mut buffer);
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("it is closed").unwrap(),
        0
    );
    input.stop().await.unwrap();
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<i64>().prop_map(Any::Int),
        any::<f64>().prop_map(Any::Double),
        ".*".prop_map(Any::Text)
    ];
    let attributes = prop::collection::vec((".{0,5}", value), 0..4).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, value)| KeyValue { key, value: Some(AnyValue { value: Some(value) }) })
            .collect::<Vec<_>>()
    });
    let encoded =
        (attributes, any::<u64>(), any::<i32>(), 0..5_u8).prop_map(|(attributes, time, number, kind)| {
            match kind {
                0 => LogRecord { attributes, time_unix_nano: time, severity_number: number, ..log("x") }
                    .encode_to_vec(),
                1 => Span { attributes, start_time_unix_nano: time, kind: number, ..Span::default() }
                    .encode_to_vec(),
                2 => {
                    let counts = vec![time, 1, 0, 5];
                    let bounds = vec![f64::from_bits(time), f64::from(number)];
                    let point = HistogramDataPoint {
                        attributes,
                        bucket_counts: counts,
                        explicit_bounds: bounds,
                        ..Default::default()
                    };
                    point.encode_to_vec()
                }
                3 => {
                    let buckets =
                        super::wire::types::Buckets { offset: number, bucket_counts: vec![1, time] };
                    let (positive, negative) = (Some(buckets.clone()), Some(buckets));
                    ExponentialHistogramDataPoint {
                        attributes,
                        scale: number,
                        positive,
                        negative,
                        ..Default::default()
                    }
                    .encode_to_vec()
                }
                _ => SummaryDataPoint {
                    attributes,
                    time_unix_nano: time,
                    sum: f64::from_bits(time),
                    ..Default::default()
                }
                .encode_to_vec(),
            }
        });
    (encoded, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |(mut bytes, changes)| {
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn documents_are_made_of_anything_that_can_be_read(bytes in bytes()) {
        let mut groups = Groups::default();
        let mut documents: Vec<Value> = Vec::new();
        documents.extend(LogRecord::decode(bytes.as_slice()).ok().map(|log| Value::Object(logs::document(log))));
        if let Ok(span) = Span::decode(bytes.as_slice()) {
            traces::id(&span, &bytes);
            documents.push(Value::Object(traces::document(span)));
        }
        let points: [Option<Point>; 4] = [
            NumberDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
            HistogramDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
            ExponentialHistogramDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
            SummaryDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
        ];
        points.into_iter().flatten().for_each(|point| groups.add("m", "", point));
        documents.extend(groups.take().map(Value::Object));
        for document in documents {
            prop_assert!(document["@timestamp"].is_string());
            prop_assert_eq!(serde_json::from_str::<Value>(&document.to_string()).unwrap().is_object(), true);
        }
    }
}
