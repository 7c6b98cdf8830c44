//! Requests to an engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use serde_json::Value;

use super::EngineProblem;
use crate::upstream::{FetchError, Proxy, send_through};

/// How long an answer may take: an engine under load, with a thousand templates, takes seconds.
const TIME: Duration = Duration::from_secs(30);
/// The largest answer in bytes: what lists of all templates take is far below.
const LARGEST: usize = 32 << 20;
/// Of what an engine says about a refusal, so much is shown, in bytes.
const SHOWN: usize = 1000;

/// The way to an engine.
pub(crate) struct Connection {
    pub(super) hosts: Vec<String>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) headers: HeaderMap,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) proxy: Option<Proxy>,
}

/// Without what it logs in with.
impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// What an engine answers.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body; null when it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// Whether it did what it was asked for.
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, if it did.
    pub(crate) fn good(self, what: &str) -> Result<Value, EngineProblem> {
        if self.is_good() { Ok(self.body) } else { Err(self.refusal(what)) }
    }

    /// That it did not.
    pub(crate) fn refusal(&self, what: &str) -> EngineProblem {
        let error = &self.body["error"];
        let said = [&error["root_cause"][0]["reason"], &error["reason"], error];
        let said = said.into_iter().find_map(Value::as_str).unwrap_or("no reason is given");
        let inner = error["caused_by"]["reason"].as_str().filter(|inner| !said.contains(inner));
        let reason = [Some(said), inner].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let reason = reason[..reason.floor_char_boundary(SHOWN)].to_owned();
        EngineProblem::Refused { what: what.to_owned(), status: self.status, reason }
    }
}

impl Connection {
    /// The first of its hosts: how it is called when people are told of it.
    pub(crate) fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// Whether anybody logs in.
    pub(super) fn has_login(&self) -> bool {
        self.authorization.is_some()
    }

    /// Sends a request to the first host that can be connected to.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, EngineProblem> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.send(method, path, body).await
    }

    /// The same, with a body that need not be one value: `_msearch` takes lines of them.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, EngineProblem> {
        let mut last = None;
        for host in &self.hosts {
            let unreachable = |error: &dyn std::error::Error| {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                EngineProblem::Unreachable { host: host.clone(), reason: format!("{error}{cause}") }
            };
            let mut request = Request::builder().method(method.clone()).uri(format!("{host}{path}"));
            if let Some(headers) = request.headers_mut() {
                headers.extend(self.headers.clone());
                if let Some(authorization) = &self.authorization {
                    headers.insert(AUTHORIZATION, authorization.clone());
                }
                if !body.is_empty() {
                    // The one type that both kinds of engine take.
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                }
            }
            let request = request.body(body.clone()).map_err(|error| unreachable(&error))?;
            match send_through(self.proxy.as_ref(), request, self.tls.as_ref(), LARGEST, TIME).await {
                Ok(response) => {
                    let body = serde_json::from_slice(response.body()).unwrap_or_default();
                    return Ok(Answer { status: response.status().as_u16(), body });
                }
                // Nothing was sent: another may be asked the same.
                Err(error @ FetchError::Connect { .. }) => last = Some(unreachable(&error)),
                Err(error) => return Err(unreachable(&error)),
            }
        }
        let nobody =
            || EngineProblem::Unreachable { host: String::new(), reason: "it has no hosts".to_owned() };
        Err(last.unwrap_or_else(nobody))
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, EngineProblem> {
        self.request(Method::GET, path, None).await
    }

    /// PUT.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Answer, EngineProblem> {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// POST.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, EngineProblem> {
        self.request(Method::POST, path, Some(body)).await
    }
}

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// A name as a part of a path.
pub(crate) fn in_path(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}
