//! Requests over HTTP: protobuf or JSON.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use prost::Message;
use serde_json::{Map, Value, json};

use super::intake::Unread;
use super::reply::{Answer, Code, Problem, Reply};
use super::server::Desk;
use super::signal::Signal;
use super::wire::Encoding;

/// Answers a request.
pub(super) async fn answer(request: Request<Incoming>, desk: &Desk) -> Response<Reply> {
    let (head, body) = request.into_parts();
    let mut extra = HeaderMap::new();
    let cors = &desk.endpoint.cors;
    let mut response = if head.method == Method::OPTIONS {
        cors.preflight(&head.headers, &mut extra);
        let mut response = Response::new(Reply::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        cors.answer(&head.headers, &mut extra);
        let signal =
            Signal::ALL.into_iter().find(|signal| desk.endpoint.paths[*signal as usize] == head.uri.path());
        match signal {
            None => plain(
                StatusCode::NOT_FOUND,
                "there is nothing here: send to /v1/logs, /v1/metrics or /v1/traces\n",
            ),
            Some(_) if head.method != Method::POST => {
                extra.insert(ALLOW, HeaderValue::from_static("POST"));
                plain(StatusCode::METHOD_NOT_ALLOWED, "send with POST\n")
            }
            Some(signal) => match encoding(&head.headers) {
                None => plain(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "content-type must be application/x-protobuf or application/json\n",
                ),
                Some(encoding) => match take(&head.headers, body, desk, signal, encoding).await {
                    Ok(answer) => success(encoding, signal, &answer),
                    Err((status, problem)) => failure(encoding, status, &problem),
                },
            },
        }
    };
    response.headers_mut().extend(extra);
    response
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

async fn take(
    headers: &HeaderMap,
    body: Incoming,
    desk: &Desk,
    signal: Signal,
    encoding: Encoding,
) -> Result<Answer, (StatusCode, Problem)> {
    let route = desk.routes.get(signal).ok_or_else(|| (StatusCode::NOT_FOUND, Problem::unwanted(signal)))?;
    let packed = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => {
            let problem =
                Problem::new(Code::InvalidArgument, "content-encoding: only gzip and identity are known");
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
        }
    };
    let held = desk.room.whole(body, packed).await.map_err(|unread| {
        let status = match unread {
            Unread::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Unread::Busy => StatusCode::TOO_MANY_REQUESTS,
            Unread::Slow => StatusCode::REQUEST_TIMEOUT,
            Unread::Malformed(_) | Unread::Broken(_) => StatusCode::BAD_REQUEST,
        };
        if status == StatusCode::TOO_MANY_REQUESTS {
            route.sent_away();
        }
        (status, unread.into())
    })?;
    match route.export(&desk.turns, encoding, &held.bytes).await {
        Ok(taken) => Ok(taken.into()),
        Err(refused) => {
            let problem = Problem::from(refused);
            let status = if problem.retry.is_some() {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::BAD_REQUEST
            };
            Err((status, problem))
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Reply> {
    let mut response =
        Response::new(Reply { bytes: Some(Bytes::from_static(text.as_bytes())), trailers: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn encoded(encoding: Encoding, message: &impl Message, text: &Value) -> Response<Reply> {
    let (kind, bytes) = match encoding {
        Encoding::Protobuf => ("application/x-protobuf", message.encode_to_vec()),
        Encoding::Json => ("application/json", text.to_string().into_bytes()),
    };
    let mut response = Response::new(Reply { bytes: Some(bytes.into()), trailers: None });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn success(encoding: Encoding, signal: Signal, answer: &Answer) -> Response<Reply> {
    let mut text = Map::new();
    if let Some(partial) = &answer.partial_success {
        // Numbers of 64 bits are texts in the protocol's JSON.
        let partial = json!({
            signal.rejected(): partial.rejected.to_string(),
            "errorMessage": partial.error_message,
        });
        text.insert("partialSuccess".to_owned(), partial);
    }
    encoded(encoding, answer, &Value::Object(text))
}

fn failure(encoding: Encoding, status: StatusCode, problem: &Problem) -> Response<Reply> {
    let text = json!({"code": problem.code as i32, "message": problem.message});
    let mut response = encoded(encoding, &problem.status(), &text);
    *response.status_mut() = status;
    if let Some(retry) = problem.retry {
        response.headers_mut().insert(RETRY_AFTER, retry.as_secs().into());
    }
    response
}
