//! One request to a receiver.
//!
//! Whoever may set a webhook decides where this server connects to: only administrators may. What comes back is not
//! shown but for its status, redirections are not followed, and nothing of the environment (proxies, credentials)
//! takes part.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_service::config::value::Secret;
use fleet_service::tls::{Pem, TlsError, client};
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::signature::SigningKey;
use super::webhook::{Sensitive, Webhook};

/// The time for one attempt, from the look-up of the name to the end of the answer.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// So much of an answer is read, so that the connection can be used again. It is not kept.
const ANSWER_MAX: usize = 64 * 1024;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The address is none.
    #[error("{0:?} is not a URL with http:// or https:// and a host")]
    Url(String),
    /// Nobody listens there, or it cannot be reached.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to trust it by.
    #[error("TLS cannot be used: {0}")]
    Tls(#[source] Box<TlsError>),
    /// What is there does not speak HTTP, or breaks off.
    #[error("the answer cannot be read")]
    Http(#[source] hyper::Error),
    /// The request cannot be written down.
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    /// It says no.
    #[error("the answer is {status}{}", if status.is_redirection() { ": redirections are not followed" } else { "" })]
    Status {
        /// What it says.
        status: StatusCode,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It takes too long.
    #[error("no answer within {} s", ATTEMPT_MAX.as_secs())]
    Slow,
}

impl PostError {
    /// Whether the receiver is there and does not want this event: another attempt will hardly end in another way.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        matches!(self, PostError::Status { status, .. } if status.is_client_error() && !again.contains(status))
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event's id: the same in every attempt.
    pub id: String,
    /// Seconds since 1970, of the attempt.
    pub timestamp: i64,
    /// JSON.
    pub body: Bytes,
}

/// Sends to one receiver, over one connection as long as that lasts.
#[derive(Debug)]
pub struct Poster {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    headers: HeaderMap,
    key: SigningKey,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Scheme, host and port of a URL.
///
/// # Errors
/// [`PostError::Url`].
pub fn target(url: &str) -> Result<(Uri, bool, String, u16), PostError> {
    let not_a_url = || PostError::Url(url.chars().take(256).collect());
    let uri: Uri = url.parse().map_err(|_| not_a_url())?;
    let authority =
        uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(not_a_url)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(not_a_url()),
    };
    if host.is_empty() || (is_encrypted && ServerName::try_from(host.clone()).is_err()) {
        return Err(not_a_url());
    }
    let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    Ok((uri, is_encrypted, host, port))
}

impl Poster {
    /// One for this webhook. Reads the system's authorities where it names none.
    ///
    /// # Errors
    /// The URL is none, or there is nothing to trust the receiver by.
    pub async fn new(webhook: &Webhook, sensitive: &Sensitive, key: SigningKey) -> Result<Poster, PostError> {
        let (uri, is_encrypted, host, port) = target(&webhook.url)?;
        let tls = match (is_encrypted, webhook.ca.clone()) {
            (false, _) => None,
            (true, Some(ca)) => Some(client::trusting(&[Pem::Inline(Secret::new(ca))])),
            (true, None) => {
                let loaded = tokio::task::spawn_blocking(client::system).await;
                let fault = |error: tokio::task::JoinError| PostError::Connect {
                    address: host.clone(),
                    source: error.into(),
                };
                Some(loaded.map_err(fault)?)
            }
        };
        let tls = tls.transpose().map_err(|error| PostError::Tls(Box::new(error)))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &sensitive.headers {
            // They were checked when they were set.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.insert(name, value);
            }
        }
        Ok(Poster { uri, host, port, tls, headers, key, connection: None })
    }

    /// Makes one attempt.
    ///
    /// # Errors
    /// It was not taken, or nobody knows whether it was.
    pub async fn post(&mut self, message: &Message) -> Result<StatusCode, PostError> {
        let sent = timeout(ATTEMPT_MAX, self.send(message)).await.unwrap_or(Err(PostError::Slow));
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    async fn send(&mut self, message: &Message) -> Result<StatusCode, PostError> {
        if let Some(mut connection) = self.connection.take()
            && connection.sender.ready().await.is_ok()
            && let Ok(response) = connection.sender.send_request(self.request(message)?).await
        {
            return self.finish(connection, response).await;
        }
        // There was none, or the receiver has closed it in the meantime.
        let mut connection = self.connect().await?;
        let response =
            connection.sender.send_request(self.request(message)?).await.map_err(PostError::Http)?;
        self.finish(connection, response).await
    }

    async fn finish(
        &mut self,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Result<StatusCode, PostError> {
        let (head, mut body) = response.into_parts();
        let mut left = ANSWER_MAX;
        let mut is_whole = true;
        while let Some(frame) = body.frame().await {
            let length = frame.map_err(PostError::Http)?.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else {
                is_whole = false;
                break;
            };
            left = rest;
        }
        if is_whole {
            self.connection = Some(connection);
        }
        if head.status.is_success() {
            return Ok(head.status);
        }
        let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(PostError::Status { status: head.status, retry_after: seconds.map(Duration::from_secs) })
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, PostError> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let signature = self.key.sign(&message.id, message.timestamp, &message.body);
        let mut request = Request::post(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("fleet-server/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(message.body.clone()))
            .map_err(PostError::Request)?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, PostError> {
        let connect = |source| PostError::Connect { address: format!("{}:{}", self.host, self.port), source };
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(connect)?;
        tcp.set_nodelay(true).map_err(connect)?;
        let Some(tls) = &self.tls else { return open(tcp).await };
        let not_a_name = |_| PostError::Url(self.uri.to_string());
        let name = ServerName::try_from(self.host.clone()).map_err(not_a_name)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(connect)?;
        open(stream).await
    }
}

async fn open<S>(stream: S) -> Result<Connection, PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(PostError::Http)?;
    let task = tokio::spawn(async move {
        // What breaks it is told to who waits for the answer.
        let _ = connection.await;
    });
    Ok(Connection { sender, task: task.abort_handle() })
}
