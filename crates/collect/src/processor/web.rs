//! A question over HTTP to somebody near: the metadata of a cloud, the engine of containers. Without TLS, proxies and
//! connections that are kept: nobody asks often.

use std::fmt;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The question cannot be put.
    #[error("{path:?} cannot be asked for")]
    Question {
        /// What was to be asked for.
        path: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// The connection ended, or what came is no HTTP.
    #[error("the connection failed")]
    Connection(#[source] hyper::Error),
    /// The answer did not come whole, or is larger than it may be.
    #[error("the answer is cut short, or larger than {most} bytes")]
    Body {
        /// So many bytes would have been read.
        most: usize,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The beginning of an answer; the connection lasts as long as this.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answer {
    /// Reads the rest, so many bytes of it at most.
    pub(super) async fn bytes(self, most: usize) -> Result<Bytes, AskError> {
        let body = Limited::new(self.body, most).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|source| AskError::Body { most, source })
    }
}

/// Asks over this connection.
pub(super) async fn ask<S>(
    stream: S,
    method: Method,
    path: &str,
    (host, headers): (&str, HeaderMap),
) -> Result<Answer, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wrong = |source| AskError::Question { path: path.to_owned(), source };
    let mut request =
        Request::builder().method(method).uri(path).body(Empty::<Bytes>::new()).map_err(wrong)?;
    *request.headers_mut() = headers;
    let host = HeaderValue::try_from(host).map_err(|error| wrong(error.into()))?;
    request.headers_mut().insert(HOST, host);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Connection)?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of processors ended");
        }
    });
    let connection = AbortOnDropHandle::new(task);
    let (head, body) = sender.send_request(request).await.map_err(AskError::Connection)?.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body, _connection: connection })
}
