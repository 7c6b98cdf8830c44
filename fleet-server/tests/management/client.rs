//! Whoever asks, over HTTP.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::server::{PASSWORD, Server};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body, if all went well.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The message of a refusal with this status.
    pub(crate) fn refusal(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["statusCode"], status);
        assert!(body["error"].is_string(), "{body}");
        body["message"].as_str().expect("a message").to_owned()
    }

    /// The value of a header; nothing if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// Somebody, with the headers that they send each time.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    port: u16,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Nobody.
    pub(crate) fn anonymous(server: &Server) -> Client {
        Client { port: server.management_port(), headers: Vec::new() }
    }

    /// The administrator, by name and password, as scripts send them.
    pub(crate) fn admin(server: &Server) -> Client {
        Client::by_password(server, "admin", PASSWORD)
    }

    pub(crate) fn by_password(server: &Server, name: &str, password: &str) -> Client {
        let token = STANDARD.encode(format!("{name}:{password}"));
        Client::anonymous(server).with("authorization", format!("Basic {token}")).with("kbn-xsrf", "true")
    }

    pub(crate) fn by_key(server: &Server, key: &str) -> Client {
        Client::anonymous(server).with("authorization", format!("ApiKey {key}"))
    }

    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Client {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.into()));
        client
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.exchange(method, path, Bytes::from(body)).await
    }

    async fn exchange(&self, method: &str, path: &str, body: Bytes) -> Answer {
        let (head, body) = self.open(method, path, body).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status, headers: head.headers, text }
    }

    /// Asks a server that may end meanwhile. Nothing: it did.
    pub(crate) async fn attempt(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (head, body) = self.try_open(method, path, Bytes::from(body)).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Some(Answer { status: head.status, headers: head.headers, text })
    }

    /// Asks; the body of the answer is still to come.
    pub(crate) async fn open(&self, method: &str, path: &str, body: Bytes) -> Response<Incoming> {
        self.try_open(method, path, body).await.expect("an answer")
    }

    async fn try_open(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Box<dyn std::error::Error>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        Ok(sender.send_request(request).await?)
    }

    /// Sends any bytes, of this kind.
    pub(crate) async fn send(&self, method: &str, path: &str, media: &str, body: impl Into<Bytes>) -> Answer {
        let with_media = self.with("content-type", media);
        with_media.exchange(method, path, body.into()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None).await
    }
}
