//! Calls over gRPC: one message in, one out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;

use super::intake::Unread;
use super::reply::{Answer, Code, Problem, Reply};
use super::server::Desk;
use super::signal::Signal;
use super::wire::Encoding;

/// What `grpc-message` has to escape beside what is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Longer messages would be too much for the header that they are in.
const LONGEST: usize = 500;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Answers a call.
pub(super) async fn answer(request: Request<Incoming>, desk: &Desk) -> Response<Reply> {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let own = kind
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest, b"" | b"+proto") || rest.starts_with(b";"));
    if !own || request.method() != Method::POST {
        let mut refused = Response::new(Reply {
            bytes: Some(Bytes::from_static(b"this address takes gRPC: use the one of protocols.http\n")),
            trailers: None,
        });
        *refused.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refused;
    }
    let mut response = match call(request, desk).await {
        Ok(answer) => success(&answer),
        Err(problem) => failure(&problem),
    };
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    response
}

async fn call(request: Request<Incoming>, desk: &Desk) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    let signal = Signal::ALL.into_iter().find(|signal| signal.method() == head.uri.path());
    let signal = signal.ok_or_else(|| {
        Problem::new(Code::Unimplemented, "there is no such method: this is a receiver of OTLP 1")
    })?;
    let route = desk.routes.get(signal).ok_or_else(|| Problem::unwanted(signal))?;
    let gzip = match head.headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => {
            return Err(Problem::new(Code::Unimplemented, "grpc-encoding: only gzip and identity are known"));
        }
    };
    let held = desk.room.message(body, gzip).await.inspect_err(|unread| {
        if matches!(unread, Unread::Busy) {
            route.sent_away();
        }
    })?;
    Ok(route.export(&desk.turns, Encoding::Protobuf, &held.bytes).await?.into())
}

fn success(answer: &Answer) -> Response<Reply> {
    let message = answer.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Response::new(Reply { bytes: Some(bytes.into()), trailers: Some(trailers) })
}

fn failure(problem: &Problem) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(problem.code as u16));
    let short: String = problem.message.chars().take(LONGEST).collect();
    let message = utf8_percent_encode(&short, ESCAPED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert("grpc-message", message);
    }
    if problem.retry.is_some()
        && let Ok(details) = HeaderValue::try_from(STANDARD_NO_PAD.encode(problem.status().encode_to_vec()))
    {
        headers.insert("grpc-status-details-bin", details);
    }
    response
}
