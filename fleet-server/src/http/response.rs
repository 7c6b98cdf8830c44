//! The answer to a request.

use std::io;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
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
    /// The body.
    pub body: ResponseBody,
    /// Whether the connection ends after it.
    pub close: bool,
    /// Given back when it is written.
    pub turn: Option<Turn>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// In memory, in pieces: several answers may share one.
    Pieces(Vec<Bytes>),
    /// Fetched while it is written. Boxed: few answers have one.
    Stream(Box<Streamed>),
}

/// A body that is fetched while it is written.
pub struct Streamed {
    /// How many bytes it has in all.
    pub length: u64,
    /// The bytes. An error, and another number of bytes, breaks the connection: the client must not take what
    /// it has for the whole.
    pub pieces: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Streamed").field("length", &self.length).finish_non_exhaustive()
    }
}

impl ResponseBody {
    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            ResponseBody::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            ResponseBody::Stream(streamed) => streamed.length,
        }
    }
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
        Response {
            status,
            headers: Vec::new(),
            body: ResponseBody::Pieces(Vec::new()),
            close: false,
            turn: None,
        }
    }

    /// An answer of JSON text.
    #[must_use]
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
        Response::empty(status).with_body("application/json", body.into())
    }

    /// With a body of this type, which is still to come.
    #[must_use]
    pub fn with_type(self, kind: &'static str) -> Response {
        self.with_header(CONTENT_TYPE, HeaderValue::from_static(kind))
    }

    /// With a body of this type.
    #[must_use]
    pub fn with_body(self, kind: &'static str, body: Bytes) -> Response {
        self.with_type(kind).with_pieces(vec![body])
    }

    /// With a body in pieces.
    #[must_use]
    pub fn with_pieces(mut self, pieces: Vec<Bytes>) -> Response {
        self.body = ResponseBody::Pieces(pieces);
        self
    }

    /// With a body that is fetched while it is written.
    #[must_use]
    pub fn with_stream(mut self, length: u64, pieces: BoxStream<'static, io::Result<Bytes>>) -> Response {
        self.body = ResponseBody::Stream(Box::new(Streamed { length, pieces }));
        self
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Response {
        self.headers.push((name, value));
        self
    }
}
