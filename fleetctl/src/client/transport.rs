//! HTTP/1.1 over a small pool of connections.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use super::dial::{Dial, DialError};
use super::exchange::{Answer, Exchange};
use super::stream::Pieces;

/// The largest answer that is read. A page of a list has at most 100 units of at most 1 MiB; real ones
/// are a few KiB.
const MAX_ANSWER: usize = 128 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no answer from {endpoint} within {seconds} s; --request-timeout allows more")]
    Timeout { endpoint: String, seconds: f64 },
    #[error("the server closed the connection")]
    Closed,
    #[error("HTTP")]
    Http {
        #[source]
        source: hyper::Error,
    },
    #[error("the answer cannot be read")]
    Body {
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the request cannot be made")]
    Request {
        #[source]
        source: hyper::http::Error,
    },
}

impl TransportError {
    /// Whether TLS itself failed, not merely the connection below it. A client's certificate may be refused
    /// as late as in place of the first answer.
    pub(crate) fn is_of_tls(&self) -> bool {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            // An I/O error does not show what it wraps as its source, only what is below that.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if wrapped.is_some_and(|wrapped| wrapped.is::<rustls::Error>()) {
                return true;
            }
            next = error.source();
        }
        matches!(self, TransportError::Dial(DialError::ServerName { .. }))
    }
}

type Connection = SendRequest<Full<Bytes>>;

/// What is asked of a server. `headers` go before those that every request has.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

/// An answer with its headers.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends requests to one server.
pub(crate) struct Transport {
    dial: Box<dyn Dial>,
    endpoint: String,
    authority: String,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transport")
            .field("dial", &self.dial)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// A transport over `dial`, which leads to `endpoint`. `timeout` bounds each request: connecting, TLS and
    /// the answer.
    pub(crate) fn new(
        dial: Box<dyn Dial>,
        endpoint: &str,
        authority: String,
        timeout: Duration,
    ) -> Transport {
        let permits = Semaphore::new(dial.limit());
        let endpoint = endpoint.to_owned();
        Transport { dial, endpoint, authority, timeout, permits, idle: Mutex::new(Vec::new()) }
    }

    /// Sends one request and reads its answer.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Reply, TransportError> {
        // The semaphore is never closed; if it were, there would be no limit, not an error. The time starts
        // when it is our turn: those before us have a limit of their own.
        let _permit = self.permits.acquire().await.ok();
        tokio::time::timeout(self.timeout, self.exchange(ask)).await.map_err(|_| TransportError::Timeout {
            endpoint: self.endpoint.clone(),
            seconds: self.timeout.as_secs_f64(),
        })?
    }

    /// How many requests may be under way at the same time.
    pub(crate) fn limit(&self) -> usize {
        self.dial.limit()
    }

    /// Sends one request whose answer is read as it comes, over a connection of its own. The timeout is for its
    /// beginning.
    pub(crate) async fn stream(&self, ask: Ask<'_>) -> Result<Pieces, TransportError> {
        let _permit = self.permits.acquire().await.ok();
        let begin = async {
            let request = self.request(ask)?;
            let mut connection = self.connect().await?;
            connection.send_request(request).await.map_err(failure)
        };
        let response = tokio::time::timeout(self.timeout, begin).await;
        let response = response.map_err(|_| TransportError::Timeout {
            endpoint: self.endpoint.clone(),
            seconds: self.timeout.as_secs_f64(),
        })??;
        let (status, endpoint) = (response.status(), self.endpoint.clone());
        Ok(Pieces { status, body: response.into_body(), endpoint })
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<Reply, TransportError> {
        let mut request = self.request(ask)?;
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return self.read(connection, response).await,
                // The server closed the idle connection as we wrote: nothing was sent, so send it again.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failure(failed.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(failure)?;
        self.read(connection, response).await
    }

    fn request(&self, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, TransportError> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("fleetctl/", env!("CARGO_PKG_VERSION")));
        if ask.body.is_some() && !ask.headers.contains_key(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if !ask.headers.contains_key(ACCEPT) {
            request = request.header(ACCEPT, "application/json");
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let body = Full::new(ask.body.unwrap_or_default());
        request.body(body).map_err(|source| TransportError::Request { source })
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let stream = self.dial.dial().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failure)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection ended");
            }
        });
        Ok(sender)
    }

    async fn read(
        &self,
        connection: Connection,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<Reply, TransportError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|source| TransportError::Body { source })?
            .to_bytes();
        if !connection.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(Reply { status, headers, body })
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }
}

#[async_trait::async_trait]
impl Exchange for Transport {
    async fn send(&self, method: &Method, path: &str, body: Option<Bytes>) -> Result<Answer, TransportError> {
        let ask = Ask { method, path, headers: HeaderMap::new(), body };
        let reply = self.ask(ask).await?;
        Ok(Answer { status: reply.status, body: reply.body })
    }

    fn concurrency(&self) -> usize {
        self.dial.limit()
    }
}

fn failure(error: hyper::Error) -> TransportError {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        TransportError::Closed
    } else {
        TransportError::Http { source: error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_tls(source: io::Error) -> bool {
        TransportError::Dial(DialError::Tls { host: "a".to_owned(), source }).is_of_tls()
    }

    #[test]
    fn a_refused_certificate_is_of_tls_and_a_lost_connection_is_not() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert!(of_tls(io::Error::new(io::ErrorKind::InvalidData, refused)));
        assert!(!of_tls(io::ErrorKind::UnexpectedEof.into()));
        assert!(!TransportError::Closed.is_of_tls());
    }
}
