//! The answer to a request.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::Transport;

/// Leave to be answered now; given back when the answer is written.
pub type Turn = OwnedSemaphorePermit;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, but for those of the body's length and the connection.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, in pieces: several answers may share one.
    pub body: Vec<Bytes>,
    /// Whether the connection ends after it.
    pub close: bool,
    /// Given back when it is written.
    pub turn: Option<Turn>,
}

/// What becomes of a request.
pub enum Outcome {
    /// It is answered.
    Answer(Response),
    /// It is answered later. Nothing else of the request is needed until then.
    Hold(BoxFuture<'static, Response>),
    /// The connection speaks another protocol from now on. Only one of HTTP/1.1 can.
    Upgrade(Upgrade),
}

/// Takes over a connection, with what has been read of it beyond the request.
pub type TakeOver = Box<dyn FnOnce(Transport, Bytes) -> BoxFuture<'static, ()> + Send>;

/// Another protocol for a connection.
pub struct Upgrade {
    /// The answer, of status 101.
    pub response: Response,
    /// What happens with the connection then.
    pub then: TakeOver,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new(), close: false, turn: None }
    }

    /// An answer of JSON text.
    #[must_use]
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
        Response::empty(status).with_body("application/json", body.into())
    }

    /// With a body of this type.
    #[must_use]
    pub fn with_body(mut self, kind: &'static str, body: Bytes) -> Response {
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static(kind)));
        self.body = vec![body];
        self
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Response {
        self.headers.push((name, value));
        self
    }

    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }
}
