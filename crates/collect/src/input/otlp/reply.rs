//! Answers: their bodies, and the protocol's `google.rpc.Status` for what went wrong.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use prost::Message;

use super::export::{Refused, Taken};
use super::intake::Unread;
use super::signal::Signal;

/// The body of an answer, with what follows it over gRPC.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) bytes: Option<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.bytes.take() {
            Some(bytes) => Some(Frame::data(bytes)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// Codes of gRPC, as far as they are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

/// What went wrong, for a sender.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) message: String,
    /// After this it may be sent again. `None`: sending it again would not help.
    pub(super) retry: Option<Duration>,
}

/// A sender that was sent away comes again after this. The protocol leaves it to the receiver; a queue that is full
/// has room again as soon as the engine answers, so it is short.
const RETRY: Duration = Duration::from_secs(2);

impl Problem {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Problem {
        Problem { code, message: message.into(), retry: None }
    }

    fn later(code: Code, message: String) -> Problem {
        Problem { code, message, retry: Some(RETRY) }
    }

    /// No stream of the policy takes this signal.
    pub(super) fn unwanted(signal: Signal) -> Problem {
        let name = signal.name();
        let message =
            format!("no stream of the agent's policy takes {name} here: do not export {name} to it");
        Problem::new(Code::Unimplemented, message)
    }

    /// As a `google.rpc.Status`.
    pub(super) fn status(&self) -> Status {
        let delay = self.retry.map(|retry| RetryInfo {
            retry_delay: Some(Delay {
                seconds: i64::try_from(retry.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
        });
        let details = delay.map(|info| Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        });
        Status {
            code: self.code as i32,
            message: self.message.clone(),
            details: details.into_iter().collect(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let message = refused.to_string();
        match refused {
            Refused::Malformed(_) => Problem::new(Code::InvalidArgument, message),
            Refused::Busy | Refused::Closed => Problem::later(Code::Unavailable, message),
        }
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Problem {
        let message = unread.to_string();
        match unread {
            Unread::TooLarge(_) => Problem::new(Code::ResourceExhausted, message),
            Unread::Busy => Problem::later(Code::ResourceExhausted, message),
            Unread::Slow => Problem::new(Code::DeadlineExceeded, message),
            Unread::Malformed(_) | Unread::Broken(_) => Problem::new(Code::InvalidArgument, message),
        }
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `Export*ServiceResponse`, which has the same numbers for all signals.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<Partial>,
}

/// How much was not taken.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Partial {
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

impl From<Taken> for Answer {
    fn from(taken: Taken) -> Answer {
        let partial_success = (taken.rejected > 0).then(|| Partial {
            rejected: i64::try_from(taken.rejected).unwrap_or(i64::MAX),
            error_message: taken.reason,
        });
        Answer { partial_success }
    }
}
