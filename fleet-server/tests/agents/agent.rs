//! An agent, as the real one speaks.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::Server;

/// The longest time for an answer that is not held.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// An answer of JSON.
    pub(crate) fn read(answer: Response<Bytes>) -> Answer {
        let (head, bytes) = unpacked(answer);
        // An empty body, too, is nothing.
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: head.status, headers: head.headers, body }
    }

    /// The ids of the actions in it.
    pub(crate) fn actions(&self) -> Vec<String> {
        let actions = self.body["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
        actions.iter().map(|action| action["id"].as_str().expect("an id").to_owned()).collect()
    }

    pub(crate) fn token(&self) -> &str {
        self.body["ack_token"].as_str().unwrap_or_default()
    }
}

/// A way to a server.
#[derive(Clone)]
pub(crate) struct Way {
    port: u16,
    tls: TlsConnector,
}

impl Way {
    pub(crate) fn to(server: &Server) -> Way {
        let ca = CertificateDer::from_pem_file(server.ca()).expect("ca.pem");
        let mut roots = RootCertStore::empty();
        roots.add(ca).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Way { port: server.agents_port(), tls: TlsConnector::from(Arc::new(config)) }
    }

    /// The same way, but for its last step: whoever listens on `port` stands in front of the server.
    pub(crate) fn through(&self, port: u16) -> Way {
        Way { port, tls: self.tls.clone() }
    }

    /// A connection, if there is one to be had.
    pub(crate) async fn try_connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = self.tls.connect(name, tcp).await.ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    /// A connection on which nothing has been said yet.
    pub(crate) async fn stream(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        self.tls.connect(name, tcp).await.expect("a TLS connection that can be trusted")
    }

    pub(crate) async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = self.stream().await;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        sender
    }

    /// A connection of HTTP/2.
    pub(crate) async fn connect_2(&self) -> http2::SendRequest<Full<Bytes>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let mut config = (**self.tls.config()).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    /// Sends one request on a connection of its own; the body of its answer is what came.
    pub(crate) async fn fetch(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let mut sender = self.connect().await;
        let response = tokio::time::timeout(ANSWER_MAX * 4, sender.send_request(request)).await;
        let response = response.expect("an answer in time").expect("an answer");
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.expect("a whole body").to_bytes())
    }

    /// The same, with the body unpacked.
    pub(crate) async fn send_for_bytes(
        &self,
        request: Request<Full<Bytes>>,
    ) -> (http::response::Parts, Vec<u8>) {
        unpacked(self.fetch(request).await)
    }

    /// The same, for an answer of JSON.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        Answer::read(self.fetch(request).await)
    }
}

/// An answer with its body unpacked.
fn unpacked(answer: Response<Bytes>) -> (http::response::Parts, Vec<u8>) {
    let (head, body) = answer.into_parts();
    let mut bytes = body.to_vec();
    if head.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut decoded = Vec::new();
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut decoded).expect("gzip");
        bytes = decoded;
    }
    (head, bytes)
}

/// A request as agents send them.
pub(crate) fn request(method: &str, path: &str, key: &str, body: &Value) -> Request<Full<Bytes>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body.to_string().as_bytes()).expect("compressed");
    Request::builder()
        .method(method)
        .uri(format!("{path}?"))
        .header("host", "localhost")
        .header("authorization", format!("ApiKey {key}"))
        .header("user-agent", "Elastic Agent v9.6.0")
        .header("elastic-api-version", "2023-06-01")
        .header("kbn-xsrf", "1")
        .header("x-request-id", "01KAN5J6P5ZVE6QXGZBRYKX3ZJ")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .header("accept-encoding", "gzip")
        .body(Full::new(encoder.finish().expect("compressed").into()))
        .expect("a request")
}

/// A request with a body as it is.
pub(crate) fn raw(method: &str, path: &str, key: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = request(method, path, key, &Value::Null);
    request.headers_mut().remove("content-encoding");
    *request.body_mut() = Full::new(body.into());
    request
}

/// With another value of a header.
pub(crate) fn with(
    mut request: Request<Full<Bytes>>,
    header: &'static str,
    value: &str,
) -> Request<Full<Bytes>> {
    request.headers_mut().insert(header, HeaderValue::from_str(value).expect("a value"));
    request
}

/// The metadata of a machine.
pub(crate) fn metadata(hostname: &str) -> Value {
    json!({
        "elastic": {"agent": {"id": "", "version": "9.6.0", "snapshot": false, "upgradeable": true}},
        "host": {"architecture": "x86_64", "hostname": hostname, "name": hostname, "ip": ["10.0.0.7/24"]},
        "os": {"family": "debian", "platform": "debian", "version": "12", "name": "Debian"},
    })
}

/// The body of an enrolment.
pub(crate) fn enrolment(hostname: &str) -> Value {
    json!({
        "type": "PERMANENT",
        "id": "",
        "replace_token": "",
        "metadata": {"local": metadata(hostname), "user_provided": null, "tags": ["test"]},
    })
}

/// An agent that has enrolled.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) hostname: String,
    /// What it runs.
    pub(crate) running: Option<(String, u64)>,
    pub(crate) token: String,
}

impl Agent {
    pub(crate) async fn enrol(way: &Way, enrolment_key: &str, hostname: &str) -> Agent {
        let body = enrolment(hostname);
        let answer = way.send(request("POST", "/api/fleet/agents/enroll", enrolment_key, &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        Agent::of(&answer, hostname)
    }

    pub(crate) fn of(answer: &Answer, hostname: &str) -> Agent {
        let text = |field: &str| answer.body["item"][field].as_str().expect("a text").to_owned();
        Agent {
            id: text("id"),
            key: text("access_api_key"),
            hostname: hostname.to_owned(),
            running: None,
            token: String::new(),
        }
    }

    pub(crate) fn path(&self, last: &str) -> String {
        format!("/api/fleet/agents/{}/{last}", self.id)
    }

    pub(crate) fn checkin_body(&self) -> Value {
        let mut body = json!({
            "status": "online",
            "message": "Running",
            "local_metadata": metadata(&self.hostname),
            "components": [],
            "upgrade": {},
        });
        if !self.token.is_empty() {
            body["ack_token"] = self.token.as_str().into();
        }
        if let Some((policy, revision)) = &self.running {
            body["agent_policy_id"] = policy.as_str().into();
            body["policy_revision_idx"] = (*revision).into();
        }
        body
    }

    pub(crate) async fn checkin(&mut self, way: &Way) -> Answer {
        let answer = way.send(request("POST", &self.path("checkin"), &self.key, &self.checkin_body())).await;
        if answer.status == StatusCode::OK && !answer.token().is_empty() {
            answer.token().clone_into(&mut self.token);
        }
        answer
    }

    pub(crate) fn ack_body(&self, action_id: &str, error: Option<&str>) -> Value {
        let mut event = json!({
            "type": "ACTION_RESULT",
            "subtype": "ACKNOWLEDGED",
            "action_id": action_id,
            "agent_id": self.id,
            "message": "done",
            "timestamp": "2026-11-22T05:00:00.5Z",
        });
        if let Some(error) = error {
            event["error"] = error.into();
        }
        json!({"events": [event]})
    }

    pub(crate) async fn ack(&self, way: &Way, action_id: &str, error: Option<&str>) -> Answer {
        let body = self.ack_body(action_id, error);
        way.send(request("POST", &self.path("acks"), &self.key, &body)).await
    }

    /// Takes the policy in an answer, and acknowledges it.
    pub(crate) async fn apply(&mut self, way: &Way, answer: &Answer) {
        let actions = answer.body["actions"].as_array().cloned().unwrap_or_default();
        let action = actions.iter().find(|action| action["type"] == "POLICY_CHANGE").expect("a policy");
        let policy = &action["data"]["policy"];
        let revision = policy["revision"].as_u64().expect("a revision");
        self.running = Some((policy["id"].as_str().expect("an id").to_owned(), revision));
        let acked = self.ack(way, action["id"].as_str().expect("an id"), None).await;
        assert_eq!(acked.status, StatusCode::OK, "{:?}", acked.body);
    }
}
