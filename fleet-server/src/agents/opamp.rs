//! `/v1/opamp`: collectors, which speak OpAMP over plain HTTP (`POST`) or WebSocket (`GET`).
//!
//! A collector has no key of its own: it comes with an enrolment key each time. One that is not known enrols by
//! its first message, into the policy of the key.
//!
//! | module | what |
//! |---|---|
//! | `exchange` | a message, what it changes, and its answer |
//! | `who` | which collector says it, or that it is a new one |
//! | `conversations` | what is remembered from one message to the next |
//! | `handshake` | the way from HTTP to WebSocket |
//! | `socket` | a connection of WebSocket |

mod conversations;
mod exchange;
mod handshake;
mod socket;
mod who;

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_protocol::opamp::{
    AgentToServer, CONTENT_TYPE, Message, RetryInfo, ServerErrorResponse, ServerErrorResponseType,
    ServerToAgent,
};
use http::StatusCode;
use http::header::{self, HeaderValue};

pub(super) use conversations::Conversations;

use super::error::{ApiError, RETRY_AFTER_SECONDS};
use super::{AgentsApi, auth};
use crate::http::{Body, Request, Response};

impl AgentsApi {
    /// A message over plain HTTP.
    pub(super) async fn opamp(&self, request: &Request, body: &mut Body<'_>) -> Result<Response, ApiError> {
        let kind = request.header(&header::CONTENT_TYPE).unwrap_or_default();
        if kind.split(';').next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case(CONTENT_TYPE)) {
            return Err(ApiError::BadRequest(format!("Content-Type must be {CONTENT_TYPE}")));
        }
        let key = auth::key(request)?;
        // Before a body is read: who has no key sends none.
        self.collector_key(&key).await?;
        let body = self.read_body(&self.limits.opamp, request, body).await?;
        let message = match AgentToServer::decode(body) {
            Ok(message) => message,
            Err(error) => {
                let text = format!("the message is not the protobuf that it should be: {error}");
                let reply = refusal(&[], &ApiError::BadRequest(text));
                return Ok(self.protobuf(StatusCode::BAD_REQUEST, request, &reply));
            }
        };
        match self.exchange(&key, &message).await {
            Ok(heard) => Ok(self.protobuf(StatusCode::OK, request, &heard.reply)),
            Err(error @ ApiError::BadRequest(_)) => {
                let reply = refusal(&message.instance_uid, &error);
                Ok(self.protobuf(StatusCode::BAD_REQUEST, request, &reply))
            }
            Err(error) => Err(error),
        }
    }

    fn protobuf(&self, status: StatusCode, request: &Request, reply: &ServerToAgent) -> Response {
        let body = Bytes::from(reply.encode_to_vec());
        if request.accepts_gzip() && body.len() >= self.settings.compression_threshold {
            let level = Compression::new(self.settings.compression_level.min(9));
            let mut encoder = GzEncoder::new(Vec::new(), level);
            // Nothing fails that writes into memory; if it did, the plain body is as good.
            if let Ok(packed) = encoder.write_all(&body).and_then(|()| encoder.finish()) {
                return Response::empty(status)
                    .with_body(CONTENT_TYPE, packed.into())
                    .with_header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        Response::empty(status).with_body(CONTENT_TYPE, body)
    }
}

/// An error as a message tells it. It stands alone in its message.
fn refusal(instance_uid: &[u8], error: &ApiError) -> ServerToAgent {
    let (status, _) = error.kind();
    let (kind, retry_info) = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds: u64 = RETRY_AFTER_SECONDS.parse().unwrap_or(1);
            let retry_after_nanoseconds = seconds * 1_000_000_000;
            (ServerErrorResponseType::Unavailable, Some(RetryInfo { retry_after_nanoseconds }))
        }
        status if status.is_client_error() => (ServerErrorResponseType::BadRequest, None),
        _ => (ServerErrorResponseType::Unknown, None),
    };
    let response = ServerErrorResponse { r#type: kind.into(), error_message: error.to_string(), retry_info };
    ServerToAgent {
        instance_uid: instance_uid.to_vec(),
        error_response: Some(response),
        ..ServerToAgent::default()
    }
}
