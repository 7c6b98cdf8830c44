//! A client of the API over one connection that is kept, as a program that does much would have it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_protocol::fleet_v1::{Unit, UnitPage, UnitState, UnitStatePage};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::error::BenchError;

const BOUND: Duration = Duration::from_secs(30);
/// A page of the longest list is far below it.
const LARGEST_BODY: usize = 64 << 20;

// Not derived: a password must not reach a log.
impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("authority", &self.authority).finish_non_exhaustive()
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// HTTP to one address, over one connection that is made again when it is lost.
pub(crate) struct Client {
    authority: String,
    authorization: Option<String>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of `http://host:port`; it connects when it is used.
    pub(crate) fn new(endpoint: &str) -> Client {
        let authority = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Client { authority, authorization: None, sender: None }
    }

    /// Says who asks with each request, by name and password.
    #[must_use]
    pub(crate) fn with_basic(mut self, user: &str, password: &str) -> Client {
        self.authorization = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        self
    }

    /// Sends a request; a body goes out as JSON. An error status is an answer.
    pub(crate) async fn send(
        &mut self,
        method: &'static str,
        path: &str,
        body: Option<String>,
    ) -> Result<Reply, BenchError> {
        let outcome = match tokio::time::timeout(BOUND, self.exchange(method, path, body)).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(elapsed.into()),
        };
        outcome.map_err(|source| {
            self.sender = None;
            BenchError::Http { method, url: self.url(path), source }
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    async fn exchange(
        &mut self,
        method: &'static str,
        path: &str,
        body: Option<String>,
    ) -> Result<Reply, Cause> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(&self.authority).await?,
        };
        let mut request = hyper::Request::builder().method(method).uri(path).header(HOST, &self.authority);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        sender.ready().await?;
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let (head, body) = sender.send_request(request.body(body)?).await?.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok(Reply { status: head.status.as_u16(), body })
    }

    /// Demands a status of 200 to 299 and returns the body.
    pub(crate) async fn ask(
        &mut self,
        method: &'static str,
        path: &str,
        body: Option<String>,
    ) -> Result<Bytes, BenchError> {
        let Reply { status, body } = self.send(method, path, body).await?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(BenchError::Refused { method, url: self.url(path), status, body })
    }

    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, BenchError> {
        let body = self.ask("GET", path, None).await?;
        self.read(path, &body)
    }

    /// Sends JSON and asks for JSON.
    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: String,
    ) -> Result<T, BenchError> {
        let body = self.ask("POST", path, Some(body)).await?;
        self.read(path, &body)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &Bytes) -> Result<T, BenchError> {
        serde_json::from_slice(body).map_err(|source| BenchError::Answer { url: self.url(path), source })
    }

    /// Creates a unit.
    pub(crate) async fn put_unit(&mut self, name: &str, body: &str) -> Result<(), BenchError> {
        self.ask("PUT", &format!("/fleet/v1/units/{name}"), Some(body.to_owned())).await.map(drop)
    }

    /// Destroys a unit.
    pub(crate) async fn delete_unit(&mut self, name: &str) -> Result<(), BenchError> {
        self.ask("DELETE", &format!("/fleet/v1/units/{name}"), None).await.map(drop)
    }

    /// The states of one unit.
    pub(crate) async fn states_of(&mut self, name: &str) -> Result<Vec<UnitState>, BenchError> {
        let page: UnitStatePage = self.get(&format!("/fleet/v1/state?unitName={name}")).await?;
        Ok(page.states)
    }

    /// All states, page by page.
    pub(crate) async fn states(&mut self) -> Result<Vec<UnitState>, BenchError> {
        self.pages("state", |page: UnitStatePage| (page.states, page.next_page_token)).await
    }

    /// All units, page by page.
    pub(crate) async fn units(&mut self) -> Result<Vec<Unit>, BenchError> {
        self.pages("units", |page: UnitPage| (page.units, page.next_page_token)).await
    }

    async fn pages<P, T>(
        &mut self,
        list: &str,
        open: impl Fn(P) -> (Vec<T>, String),
    ) -> Result<Vec<T>, BenchError>
    where
        P: for<'de> Deserialize<'de>,
    {
        let mut path = format!("/fleet/v1/{list}");
        let mut all = Vec::new();
        loop {
            let (mut entries, token) = open(self.get(&path).await?);
            all.append(&mut entries);
            if token.is_empty() {
                return Ok(all);
            }
            // The token is URL-safe base64: only its padding needs an escape.
            path = format!("/fleet/v1/{list}?nextPageToken={}", token.replace('=', "%3D"));
        }
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Cause> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}
