//! Requests to a server.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_service::tls::TlsError;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use reqwest::{Client, Proxy};

use super::settings::{ConnectionSettings, SettingsError};
use super::wire::ErrorAnswer;
use crate::clock::Reading;

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// An idle connection is not kept longer: a firewall on the way forgets it too.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The largest answer that is read: a policy of 10 MB and what belongs to it.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Smaller bodies are sent as they are.
const COMPRESS_FROM: usize = 1024;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A setting is wrong.
    #[error("the settings of the connection cannot be used")]
    Settings(#[source] SettingsError),
    /// No server is named.
    #[error("no server is named: give --url, or fleet.hosts in the policy")]
    NoHost,
    /// The TLS settings are wrong.
    #[error("the TLS settings of the connection cannot be used")]
    Tls(#[source] TlsError),
    /// The proxy or a header is wrong.
    #[error("{field} cannot be used: {given:?}")]
    Field {
        /// The setting.
        field: &'static str,
        /// What was given.
        given: String,
    },
    /// The client cannot be made.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// Why a request had no use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No host gave an answer; this is of the last one.
    #[error("{host} gives no answer")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is an error.
    #[error("{host} answers {status}: {message}")]
    Refused {
        /// The host.
        host: String,
        /// The status.
        status: StatusCode,
        /// What it says.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is too large, or not what it should be; or nobody can be asked.
    #[error("{host} cannot be used: {problem}")]
    Unusable {
        /// The host.
        host: String,
        /// What is wrong.
        problem: String,
    },
}

impl CallError {
    /// The status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            CallError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// An answer that is no error.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who gave it.
    pub host: String,
    /// The body.
    pub body: Bytes,
    /// When the server gave it, by its own clock.
    pub time: Reading,
}

impl Answer {
    /// The body, read.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| CallError::Unusable { host: self.host.clone(), problem: error.to_string() })
    }
}

/// Requests to the servers of one connection. Clones share the connections.
#[derive(Clone, Debug)]
pub struct FleetClient {
    /// Or why there is none.
    http: Result<Client, Arc<str>>,
    hosts: Arc<[String]>,
    /// The host that answered last.
    turn: Arc<AtomicUsize>,
    headers: HeaderMap,
}

/// What a request is, besides whom it goes to.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'a str,
    /// The key.
    pub key: Option<&'a str>,
    /// The body.
    pub body: Bytes,
    /// More headers.
    pub headers: HeaderMap,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl<'a> Call<'a> {
    /// A POST of JSON.
    #[must_use]
    pub fn post(path: &'a str, key: &'a str, body: Vec<u8>, timeout: Duration) -> Call<'a> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Call { method: Method::POST, path, key: Some(key), body: body.into(), headers, timeout }
    }

    /// A GET.
    #[must_use]
    pub fn get(path: &'a str, key: &'a str, timeout: Duration) -> Call<'a> {
        let headers = HeaderMap::new();
        Call { method: Method::GET, path, key: Some(key), body: Bytes::new(), headers, timeout }
    }

    /// The same, compressed if it is worth it.
    #[must_use]
    pub fn compressed(mut self) -> Call<'a> {
        if self.body.len() >= COMPRESS_FROM {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            if encoder.write_all(&self.body).is_ok()
                && let Ok(packed) = encoder.finish()
            {
                self.body = packed.into();
                self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        self
    }
}

impl FleetClient {
    /// A client for these settings. Reads files: not for a thread that others wait for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(settings: &ConnectionSettings) -> Result<FleetClient, ClientError> {
        if settings.hosts.is_empty() {
            return Err(ClientError::NoHost);
        }
        let tls = settings.ssl.client().map_err(ClientError::Settings)?.load().map_err(ClientError::Tls)?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&tls))
            .http1_only()
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(2)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_keepalive(Duration::from_secs(30));
        if settings.proxy_disable {
            builder = builder.no_proxy();
        } else if !settings.proxy_url.is_empty() {
            let wrong =
                |_| ClientError::Field { field: "proxy_url", given: without_user(&settings.proxy_url) };
            let proxy = Proxy::all(&settings.proxy_url).map_err(wrong)?;
            builder = builder.proxy(proxy.headers(headers("proxy_headers", &settings.proxy_headers)?));
        }
        let http = builder.build().map_err(ClientError::Client)?;
        let mut own = headers("headers", &settings.headers)?;
        for (name, value) in [
            ("user-agent", format!("Elastic Agent v{}", crate::version::current())),
            ("elastic-api-version", fleet_protocol::agent::API_VERSION.to_owned()),
            ("kbn-xsrf", "1".to_owned()),
        ] {
            let value = HeaderValue::try_from(value.as_str());
            own.insert(
                name,
                value.map_err(|_| ClientError::Field { field: "version", given: name.to_owned() })?,
            );
        }
        Ok(FleetClient {
            http: Ok(http),
            hosts: settings.hosts.clone().into(),
            turn: Arc::default(),
            headers: own,
        })
    }

    /// Stands in for a client that cannot be made for now: each request fails for this reason.
    #[must_use]
    pub fn unusable(reason: &str) -> FleetClient {
        FleetClient {
            http: Err(reason.into()),
            hosts: Arc::default(),
            turn: Arc::default(),
            headers: HeaderMap::new(),
        }
    }

    /// Whether it is none.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        self.http.is_err()
    }

    /// The hosts, the one that answered last first.
    pub fn hosts(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = self.turn.load(Ordering::Relaxed);
        (0..self.hosts.len()).map(move |step| {
            let index = (first + step) % self.hosts.len();
            (index, self.hosts[index].as_str())
        })
    }

    /// Asks each host in turn until one answers.
    ///
    /// # Errors
    /// None answers, or the answer is an error.
    pub async fn send(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        if let Err(reason) = &self.http {
            return Err(CallError::Unusable { host: "the server".to_owned(), problem: reason.to_string() });
        }
        let mut last = None;
        for (index, host) in self.hosts() {
            match self.send_to(host, call).await {
                Err(error @ CallError::Unreachable { .. }) => {
                    tracing::debug!(
                        host,
                        path = call.path,
                        error = &error as &dyn std::error::Error,
                        "no answer"
                    );
                    last = Some(error);
                }
                outcome => {
                    self.turn.store(index, Ordering::Relaxed);
                    return outcome;
                }
            }
        }
        // The next attempt begins with another one.
        self.turn.fetch_add(1, Ordering::Relaxed);
        Err(last
            .unwrap_or_else(|| CallError::Unusable { host: String::new(), problem: "no host".to_owned() }))
    }

    async fn send_to(&self, host: &str, call: &Call<'_>) -> Result<Answer, CallError> {
        let unreachable = |source: reqwest::Error| CallError::Unreachable {
            host: without_user(host),
            source: source.without_url(),
        };
        let url = format!("{host}{}", call.path);
        let http = self.http.as_ref().map_err(|reason| CallError::Unusable {
            host: without_user(host),
            problem: reason.to_string(),
        })?;
        let mut request = http
            .request(call.method.clone(), url)
            .headers(self.headers.clone())
            .headers(call.headers.clone())
            .header("x-request-id", uuid::Uuid::now_v7().to_string())
            .timeout(call.timeout)
            .body(call.body.clone());
        if let Some(key) = call.key {
            request = request.header(AUTHORIZATION, format!("ApiKey {key}"));
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let retry_after =
            answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let time = Reading::of(answer.headers().get(DATE).and_then(|date| date.to_str().ok()));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                let problem = format!("it is larger than {ANSWER_MAX} bytes");
                return Err(CallError::Unusable { host: without_user(host), problem });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Answer { host: without_user(host), body: body.into(), time });
        }
        let retry_after = retry_after.map(Duration::from_secs);
        Err(CallError::Refused {
            host: without_user(host),
            status,
            message: error_message(&body),
            retry_after,
        })
    }
}

/// What a server says of an error, bounded: it may be a page of HTML from somewhere on the way.
fn error_message(body: &[u8]) -> String {
    let told: ErrorAnswer = serde_json::from_slice(body).unwrap_or_default();
    let text = match (told.message.as_str(), told.error.as_str()) {
        ("", "") => String::from_utf8_lossy(body.get(..300).unwrap_or(body)).into_owned(),
        ("", error) => error.to_owned(),
        (message, _) => message.to_owned(),
    };
    text.chars().filter(|char| !char.is_control()).take(500).collect()
}

/// A URL may carry a password.
fn without_user(url: &str) -> String {
    match url.parse::<reqwest::Url>() {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            let hidden = url.set_username("xxxxx").and_then(|()| url.set_password(Some("xxxxx")));
            hidden.map_or_else(|()| String::from("(a URL with a password)"), |()| url.to_string())
        }
        _ => url.to_owned(),
    }
}

fn headers(
    field: &'static str,
    given: &std::collections::BTreeMap<String, String>,
) -> Result<HeaderMap, ClientError> {
    let entries = given.iter().map(|(name, value)| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        Some((name, HeaderValue::try_from(value.as_str()).ok()?))
    });
    let entries: Option<HeaderMap> = entries.collect();
    entries.ok_or_else(|| ClientError::Field {
        field,
        given: given.keys().cloned().collect::<Vec<_>>().join(", "),
    })
}
