//! A collector, as the specification has it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_protocol::opamp::{
    AgentConfigFile, AgentConfigMap, AgentDescription, AgentToServer, ComponentHealth, EffectiveConfig,
    KeyValue, Message, RemoteConfigStatus, RemoteConfigStatuses, ServerToAgent, read_frame, write_frame,
};
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request as Handshake;

use crate::agent::Way;

pub(super) const ACCEPTS_CONFIG: u64 = 0x2;
pub(super) const ACCEPTS_RESTART: u64 = 0x400;
pub(super) const REPORTS_CONFIG: u64 = 0x1000;
pub(super) const ALL: u64 = 0x1 | 0x4 | 0x800 | ACCEPTS_CONFIG | ACCEPTS_RESTART | REPORTS_CONFIG;
/// The longest time for a message.
const MESSAGE_MAX: Duration = Duration::from_secs(20);

/// A collector.
#[derive(Clone)]
pub(super) struct Collector {
    pub(super) uid: Vec<u8>,
    pub(super) key: String,
    pub(super) capabilities: u64,
    pub(super) sequence_num: u64,
}

impl Collector {
    pub(super) fn new(key: &str, capabilities: u64) -> Collector {
        let uid = uuid::Uuid::new_v4().into_bytes().to_vec();
        Collector { uid, key: key.to_owned(), capabilities, sequence_num: 0 }
    }

    /// Its id as an agent.
    pub(super) fn id(&self) -> String {
        uuid::Uuid::from_slice(&self.uid).unwrap().to_string()
    }

    /// The next message, which says nothing new.
    pub(super) fn message(&mut self) -> AgentToServer {
        self.sequence_num += 1;
        AgentToServer {
            instance_uid: self.uid.clone(),
            sequence_num: self.sequence_num,
            capabilities: self.capabilities,
            ..AgentToServer::default()
        }
    }

    /// The next message, which says everything.
    pub(super) fn full(&mut self, config: &str) -> AgentToServer {
        let file = AgentConfigFile { body: config.into(), content_type: "text/yaml".to_owned() };
        let config_map = BTreeMap::from([(String::new(), file)]);
        AgentToServer {
            agent_description: Some(AgentDescription {
                identifying_attributes: vec![
                    KeyValue::text("service.name", "otelcol"),
                    KeyValue::text("service.version", "0.140.0"),
                ],
                non_identifying_attributes: vec![
                    KeyValue::text("host.name", "web-1"),
                    KeyValue::text("os.type", "linux"),
                    KeyValue::text("tags", "eu,test"),
                ],
            }),
            health: Some(ComponentHealth {
                healthy: true,
                status: "StatusOK".to_owned(),
                ..Default::default()
            }),
            effective_config: Some(EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) }),
            ..self.message()
        }
    }

    /// The next message, which tells what came of a configuration.
    pub(super) fn tell(&mut self, hash: &[u8], status: RemoteConfigStatuses, error: &str) -> AgentToServer {
        let status = RemoteConfigStatus {
            last_remote_config_hash: hash.to_vec(),
            status: status.into(),
            error_message: error.to_owned(),
        };
        AgentToServer { remote_config_status: Some(status), ..self.message() }
    }

    pub(super) async fn post(&self, way: &Way, message: &AgentToServer) -> ServerToAgent {
        let (head, body) = way.send_for_bytes(post(&self.key, &message.encode_to_vec())).await;
        assert_eq!(head.status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        assert_eq!(head.headers["content-type"], "application/x-protobuf");
        ServerToAgent::decode(body.as_slice()).unwrap()
    }

    pub(super) async fn connect(&self, way: &Way) -> Socket {
        Socket::open(way, handshake(&self.key)).await.expect("WebSocket")
    }
}

/// A message over plain HTTP, compressed.
pub(super) fn post(key: &str, body: &[u8]) -> Request<Full<Bytes>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    Request::builder()
        .method("POST")
        .uri("/v1/opamp")
        .header("host", "localhost")
        .header("authorization", format!("ApiKey {key}"))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "gzip")
        .header("accept-encoding", "gzip")
        .body(Full::new(encoder.finish().unwrap().into()))
        .unwrap()
}

pub(super) fn handshake(key: &str) -> Handshake {
    let mut request = "wss://localhost/v1/opamp".into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("ApiKey {key}").parse().unwrap());
    request
}

/// A connection of WebSocket.
pub(super) struct Socket {
    pub(super) stream: WebSocketStream<TlsStream<TcpStream>>,
}

impl Socket {
    /// `Err`: the status that the server answered instead.
    pub(super) async fn open(way: &Way, handshake: Handshake) -> Result<Socket, StatusCode> {
        use tokio_tungstenite::tungstenite::Error;
        match tokio_tungstenite::client_async(handshake, way.stream().await).await {
            Ok((stream, _)) => Ok(Socket { stream }),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("no HTTP: {error}"),
        }
    }

    pub(super) async fn send(&mut self, message: &AgentToServer) {
        self.stream.send(Frame::Binary(write_frame(message).into())).await.unwrap();
    }

    /// The next message of the server.
    pub(super) async fn receive(&mut self) -> ServerToAgent {
        loop {
            match self.frame().await {
                Frame::Binary(bytes) => return read_frame(bytes).unwrap(),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    pub(super) async fn frame(&mut self) -> Frame {
        timeout(MESSAGE_MAX, self.stream.next()).await.expect("in time").expect("a frame").unwrap()
    }

    pub(super) async fn exchange(&mut self, message: &AgentToServer) -> ServerToAgent {
        self.send(message).await;
        self.receive().await
    }
}
