//! Requests to the management API.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleet_service::config::value::Secret;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;

use super::error::ApiError;
use crate::client::{Ask, Pieces, Reply, Transport};

/// How often a request is sent that the server is too busy for.
const TRIES: u32 = 5;
/// The longest that is waited before a request is sent again, whatever the server says.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So much is read of why a stream is refused, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;
/// The version of the API that is spoken.
const VERSION: &str = "2023-10-31";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nobody in particular.
    Nobody,
    /// A person.
    Password { username: String, password: Secret },
    /// A key, as the server told it: base64 of its id and secret.
    ApiKey(Secret),
}

/// What a request carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    Nothing,
    Json(&'a Value),
    Bytes { content_type: &'static str, bytes: &'a Bytes },
}

/// A client of one server.
pub(crate) struct Client {
    transport: Transport,
    base_path: String,
    base_url: String,
    authorization: Option<HeaderValue>,
    credentials: Credentials,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Client {
    /// A client over `transport`. `base_url` and its path `base_path` end in `/`.
    pub(crate) fn new(
        transport: Transport,
        base_url: String,
        base_path: String,
        credentials: Credentials,
    ) -> Client {
        let authorization = authorization(&credentials);
        Client { transport, base_path, base_url, authorization, credentials }
    }

    /// The password of a user, if it is they who ask.
    pub(crate) fn password_of(&self, user: &str) -> Option<&Secret> {
        match &self.credentials {
            Credentials::Password { username, password } if username == user => Some(password),
            _ => None,
        }
    }

    /// The server's URL.
    pub(crate) fn url(&self) -> &str {
        self.base_url.trim_end_matches('/')
    }

    /// How many requests may be under way at the same time.
    pub(crate) fn concurrency(&self) -> usize {
        self.transport.limit()
    }

    /// `GET`, below `/api/fleet/`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send(Method::GET, path, Body::Nothing).await
    }

    /// `GET` of something that may not be there.
    pub(crate) async fn get_if_there(&self, path: &str) -> Result<Option<Value>, ApiError> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `POST`, below `/api/fleet/`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send(Method::POST, path, Body::Json(body)).await
    }

    /// `PUT`, below `/api/fleet/`.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send(Method::PUT, path, Body::Json(body)).await
    }

    /// `DELETE`, below `/api/fleet/`.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.send(Method::DELETE, path, Body::Nothing).await
    }

    /// A request below `/api/fleet/` whose answer is JSON. An empty answer is `null`.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Body<'_>) -> Result<Value, ApiError> {
        let reply = self.raw(method.clone(), &format!("api/fleet/{path}"), body).await?;
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&reply.body).map_err(|source| ApiError::Answer {
            method: method.to_string(),
            url: format!("{}api/fleet/{path}", self.base_url),
            source,
        })
    }

    /// A request to any path of the server, sent again while the server says that it is too busy.
    ///
    /// Busy (429) means that nothing was done. Unavailable (503) may mean that it was, so that only what may be
    /// done twice is sent again then.
    pub(crate) async fn raw(&self, method: Method, path: &str, body: Body<'_>) -> Result<Reply, ApiError> {
        let url = format!("{}{path}", self.base_url);
        let path = format!("{}{path}", self.base_path);
        for attempt in 1.. {
            tracing::debug!("HTTP {method} {url}");
            let ask = Ask { method: &method, path: &path, headers: self.headers(body), body: bytes(body) };
            let reply = self.transport.ask(ask).await.map_err(|source| ApiError::Request {
                method: method.to_string(),
                url: url.clone(),
                source,
            })?;
            tracing::debug!("HTTP {method} {url} {}", reply.status);
            if reply.status.is_success() {
                return Ok(reply);
            }
            let status = reply.status.as_u16();
            let may_repeat = status == 429 || (status == 503 && method != Method::POST);
            if !may_repeat || attempt >= TRIES {
                return Err(ApiError::refused(status, &reply.body).of_request(&method, &url));
            }
            tokio::time::sleep(pause(attempt, &reply.headers)).await;
        }
        // The loop has no other end; this is what a server that is busy for ever is told as.
        Err(ApiError::refused(503, b""))
    }

    /// A `GET` of any path of the server, whose answer comes in pieces; `last`: the last event that is known.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Result<Pieces, ApiError> {
        let url = format!("{}{path}", self.base_url);
        let path = format!("{}{path}", self.base_path);
        let mut headers = self.headers(Body::Nothing);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(last) = last.and_then(|last| HeaderValue::from_str(last).ok()) {
            headers.insert(HeaderName::from_static("last-event-id"), last);
        }
        tracing::debug!("HTTP GET {url}");
        let failed = |source| ApiError::Request { method: "GET".to_owned(), url: url.clone(), source };
        let ask = Ask { method: &Method::GET, path: &path, headers, body: None };
        let mut pieces = self.transport.stream(ask).await.map_err(failed)?;
        if pieces.status().is_success() {
            return Ok(pieces);
        }
        let (status, mut body) = (pieces.status().as_u16(), Vec::new());
        while let Some(piece) = pieces.next().await.map_err(failed)?.filter(|_| body.len() < MAX_REFUSAL) {
            body.extend_from_slice(&piece);
        }
        Err(ApiError::refused(status, &body).of_request(&Method::GET, &url))
    }

    fn headers(&self, body: Body<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // The original asks for it from everyone but browsers, which cannot add it to a forged request.
        headers.insert(HeaderName::from_static("kbn-xsrf"), HeaderValue::from_static("fleetctl"));
        headers.insert(HeaderName::from_static("elastic-api-version"), HeaderValue::from_static(VERSION));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Body::Bytes { content_type, .. } = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        headers
    }
}

fn bytes(body: Body<'_>) -> Option<Bytes> {
    match body {
        Body::Nothing => None,
        Body::Json(value) => Some(Bytes::from(value.to_string())),
        Body::Bytes { bytes, .. } => Some(bytes.clone()),
    }
}

fn authorization(credentials: &Credentials) -> Option<HeaderValue> {
    let text = match credentials {
        Credentials::Nobody => return None,
        Credentials::Password { username, password } => {
            format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())))
        }
        Credentials::ApiKey(key) => format!("ApiKey {}", key.reveal()),
    };
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How long to wait: what the server says in seconds (RFC 9110, 10.2.3), else one second, doubled each time.
fn pause(attempt: u32, headers: &HeaderMap) -> Duration {
    let told = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let own = Duration::from_secs(1 << (attempt - 1).min(5));
    told.map_or(own, Duration::from_secs).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_the_servers_within_reason() {
        let mut headers = HeaderMap::new();
        assert_eq!(pause(1, &headers), Duration::from_secs(1));
        assert_eq!(pause(4, &headers), Duration::from_secs(8));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        assert_eq!(pause(1, &headers), Duration::from_secs(7));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("86400"));
        assert_eq!(pause(1, &headers), LONGEST_PAUSE);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Sun, 22 Nov 2026 08:00:00 GMT"));
        assert_eq!(pause(2, &headers), Duration::from_secs(2));
    }

    #[test]
    fn who_asks_is_said_in_the_header() {
        let password = Credentials::Password { username: "admin".to_owned(), password: Secret::new("a:b") };
        assert_eq!(authorization(&password).unwrap(), "Basic YWRtaW46YTpi");
        let key = Credentials::ApiKey(Secret::new("aWQ6a2V5"));
        assert_eq!(authorization(&key).unwrap(), "ApiKey aWQ6a2V5");
        assert_eq!(authorization(&Credentials::Nobody), None);
    }
}
