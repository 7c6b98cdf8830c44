mod answers;
mod hostile;
mod signals;
mod tls;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::reply::Status;
use super::wire::types::{Any, AnyValue, LogRecord};
use super::*;
use crate::input::testing::{Rig, Running};
use crate::state::State;

pub(super) const ROOM: u32 = 4 << 20;

pub(super) fn settings(signal: &str) -> Value {
    json!({"signal": signal, "protocols.grpc": {"endpoint": "127.0.0.1:0"}, "protocols.http": {"endpoint": "127.0.0.1:0"}})
}

/// Starts a stream, and waits until it takes its signal.
pub(super) async fn start(rig: &Rig, settings: &Value) -> (Running, String, String) {
    let running = rig.start(&DEFINITION, "otlp", settings).unwrap();
    let starts = format!("takes {} at ", settings["signal"].as_str().unwrap());
    let status =
        rig.state(|status| status.state == State::Healthy && status.message.starts_with(&starts)).await;
    let at = |name: &str| status.payload.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    (running, at("grpc"), at("http"))
}

pub(super) async fn post(address: &str, path: &str, kind: &str, body: Vec<u8>) -> reqwest::Response {
    let request = reqwest::Client::builder().tls_backend_preconfigured(nothing()).build().unwrap();
    let request = request.post(format!("http://{address}{path}")).header("content-type", kind);
    let request =
        if body.starts_with(&[0x1f, 0x8b]) { request.header("content-encoding", "gzip") } else { request };
    request.body(body).send().await.unwrap()
}

/// A configuration for clients that speak no TLS.
pub(super) fn nothing() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

pub(super) async fn post_json(address: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = post(address, path, "application/json", body.to_string().into_bytes()).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// A call over gRPC; `grpc-status`, `grpc-message`, the details, and the message of the answer.
pub(super) async fn call(
    address: &str,
    signal: Signal,
    message: &[u8],
    gzip: bool,
) -> (u16, String, Status, Vec<u8>) {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    call_over(socket, &format!("http://{address}"), signal, message, gzip).await.unwrap()
}

/// The same over a connection that is there; nothing, if it ends before there is an answer.
pub(super) async fn call_over(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
    signal: Signal,
    message: &[u8],
    gzip: bool,
) -> Option<(u16, String, Status, Vec<u8>)> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.ok()?;
    tokio::spawn(connection);
    let message = if gzip { packed(message) } else { message.to_vec() };
    let head = [vec![u8::from(gzip)], u32::try_from(message.len()).unwrap().to_be_bytes().to_vec()].concat();
    let mut request = hyper::Request::post(format!("{address}{}", signal.method()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if gzip {
        request = request.header("grpc-encoding", "gzip");
    }
    let body = Full::new(bytes::Bytes::from([head, message].concat()));
    let answer = sender.send_request(request.body(body).unwrap()).await.ok()?;
    let (head, body) = answer.into_parts();
    assert_eq!(
        (head.status, &head.headers["content-type"]),
        (StatusCode::OK, &"application/grpc".parse().unwrap())
    );
    let body = body.collect().await.unwrap();
    let all = body.trailers().cloned().unwrap_or(head.headers);
    let text = |name: &str| all.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let details = BASE64_STANDARD_NO_PAD.decode(text("grpc-status-details-bin"));
    let bytes = body.to_bytes();
    Some((
        text("grpc-status").parse().unwrap(),
        text("grpc-message"),
        Status::decode(details.unwrap().as_slice()).unwrap(),
        bytes.get(5..).unwrap_or_default().to_vec(),
    ))
}

pub(super) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    writer.finish().unwrap()
}

/// A field of a message.
pub(super) fn field(tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(tag, &bytes.to_vec(), &mut out);
    out
}

pub(super) fn log(message: &str) -> LogRecord {
    let body = Some(AnyValue { value: Some(Any::Text(message.to_owned())) });
    LogRecord { time_unix_nano: 1_544_712_660_300_000_007, body, ..LogRecord::default() }
}

/// A request of these records of one scope.
pub(super) fn request(records: &[Vec<u8>]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|record| field(2, record)).collect();
    field(1, &field(2, &records))
}
