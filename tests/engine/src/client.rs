//! Requests to an engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::EngineError;

/// How long one request may take: under load an engine answers late, and a test that hangs says nothing.
const BOUND: Duration = Duration::from_mins(1);
/// More than any test asks for at once.
const LARGEST_BODY: usize = 256 << 20;
/// As many hits as an engine gives by itself at once.
const HITS: u32 = 10_000;

/// An index that is not there is an empty one.
const LENIENT: &str = "ignore_unavailable=true&allow_no_indices=true";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where an engine is and who asks it.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    authorization: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body; a text when it is no JSON.
    pub body: Value,
}

impl Reply {
    /// The body, if the status says that it went well.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with what the engine said.
    pub fn success(self) -> Result<Value, EngineError> {
        match self.status {
            200..=299 => Ok(self.body),
            status => Err(EngineError::Refused { status, body: self.body.to_string() }),
        }
    }
}

impl Client {
    /// For an engine at this address (`http://host:port` or `https://…`), with the value of the `Authorization`
    /// header if there is one, and TLS settings for `https`.
    pub fn new(
        url: impl Into<String>,
        authorization: Option<String>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Self {
        let url: String = url.into();
        Self { url: url.trim_end_matches('/').to_owned(), authorization, tls }
    }

    /// The address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same engine, asked with another `Authorization` header: an API key that is to be tried, for instance.
    #[must_use]
    pub fn authorized(&self, authorization: impl Into<String>) -> Self {
        Self { authorization: Some(authorization.into()), ..self.clone() }
    }

    /// Sends a request; `path` begins with a slash. A body goes out as `application/json`.
    ///
    /// # Errors
    /// When there is no whole answer within a minute. A refusal is an answer.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, EngineError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, "application/json", body).await
    }

    /// Sends lines to `_bulk` or the like, as `application/x-ndjson`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn lines(&self, path: &str, body: impl Into<Bytes>) -> Result<Reply, EngineError> {
        self.send(Method::POST, path, "application/x-ndjson", body.into()).await
    }

    /// A GET.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn get(&self, path: &str) -> Result<Reply, EngineError> {
        self.request(Method::GET, path, None).await
    }

    /// A PUT.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn put(&self, path: &str, body: &Value) -> Result<Reply, EngineError> {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// A POST.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply, EngineError> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// A DELETE.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn delete(&self, path: &str) -> Result<Reply, EngineError> {
        self.request(Method::DELETE, path, None).await
    }

    /// The hits (`_index`, `_id`, `_source` …; 10 000 at most) of a query in an index, a data stream or a pattern
    /// of such. What was acknowledged before is seen: the index is refreshed first. An index that is not there
    /// has no hits.
    ///
    /// # Errors
    /// As [`request`](Self::request), and when the engine refuses the query.
    pub async fn search(&self, index: &str, query: &Value) -> Result<Vec<Value>, EngineError> {
        self.refresh(index).await?;
        let body = json!({"query": query, "size": HITS, "track_total_hits": true});
        let mut found = self.post(&format!("/{index}/_search?{LENIENT}"), &body).await?.success()?;
        match found["hits"]["hits"].take() {
            Value::Array(hits) => Ok(hits),
            other => Err(EngineError::Refused { status: 200, body: other.to_string() }),
        }
    }

    /// Lets searches see what was acknowledged.
    async fn refresh(&self, index: &str) -> Result<(), EngineError> {
        let path = format!("/{index}/_refresh?{LENIENT}");
        self.request(Method::POST, &path, None).await?.success().map(drop)
    }

    /// How many documents a query finds, without a limit; otherwise as [`search`](Self::search).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn count(&self, index: &str, query: &Value) -> Result<u64, EngineError> {
        self.refresh(index).await?;
        let found =
            self.post(&format!("/{index}/_count?{LENIENT}"), &json!({"query": query})).await?.success()?;
        found["count"].as_u64().ok_or(EngineError::Refused { status: 200, body: found.to_string() })
    }

    /// Searches again and again until a query has at least so many hits, and answers these. An error while looking
    /// is a state like any other: an engine that starts again refuses for a moment.
    ///
    /// # Errors
    /// [`EngineError::TimedOut`] with what was seen last, when that takes longer than `bound`.
    pub async fn wait_for(
        &self,
        index: &str,
        query: &Value,
        at_least: usize,
        bound: Duration,
    ) -> Result<Vec<Value>, EngineError> {
        let started = Instant::now();
        loop {
            let last = match self.search(index, query).await {
                Ok(hits) if hits.len() >= at_least => return Ok(hits),
                Ok(hits) => format!("{} hits", hits.len()),
                Err(error) => error.chain(),
            };
            if started.elapsed() >= bound {
                let what = format!("{at_least} hits of {query} in {index}");
                return Err(EngineError::TimedOut { what, bound, last });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, EngineError> {
        let url = format!("{}{path}", self.url);
        let failed =
            |reason: String| EngineError::Http { method: method.to_string(), url: url.clone(), reason };
        let exchange = self.exchange(method.clone(), &url, media_type, body.into());
        match timeout(BOUND, exchange).await {
            Ok(reply) => reply.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed(format!("nothing within {BOUND:?}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let uri: Uri = url.parse()?;
        let host = uri.host().ok_or("no host in the address")?;
        let is_encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 9200 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().ok_or("no host in the address")?.as_str();
        let mut request = Request::builder().method(method).uri(path).header(HOST, authority);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let request = request.body(Full::new(body))?;
        let tcp = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        if !is_encrypted {
            return over(tcp, request).await;
        }
        let tls = self.tls.clone().ok_or("no TLS settings for an https address")?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        over(TlsConnector::from(tls).connect(name, tcp).await?, request).await
    }
}

/// One request over a connection of its own.
async fn over<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await?.to_bytes();
        let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| text());
        Ok(Reply { status: head.status.as_u16(), body })
    }
    .await;
    connection.abort();
    answer
}
