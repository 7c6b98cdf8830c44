//! Answers and failures, as the original writes them.

use bytes::Bytes;
use fleet_protocol::fleet_v1::{CONTENT_TYPE, ErrorBody, encode};
use fleet_store::ErrorKind;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;
use tracing::{error, warn};

/// A whole answer.
#[derive(Debug)]
pub struct Answer(Response<Bytes>);

/// A request that was not done.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
    /// The methods that the resource knows.
    allow: Option<&'static str>,
}

impl Answer {
    /// An object.
    pub(super) fn json<T: Serialize>(object: &T) -> Answer {
        match encode(object) {
            Ok(body) => Answer::with_body(StatusCode::OK, body.into()),
            Err(error) => {
                error!(%error, "an answer cannot be encoded");
                Answer::from(Failure::internal())
            }
        }
    }

    /// A JSON text.
    pub(super) fn raw_json(text: &'static str) -> Answer {
        Answer::with_body(StatusCode::OK, Bytes::from_static(text.as_bytes()))
    }

    /// No body.
    pub(super) fn empty(status: StatusCode) -> Answer {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Answer(response)
    }

    /// A failure, with a text for the client.
    pub fn failure(status: StatusCode, message: impl Into<String>) -> Answer {
        Answer::from(Failure::new(status, message))
    }

    /// 204 that names a content type all the same, as the original does for machines.
    pub(super) fn no_content_json() -> Answer {
        Answer::with_body(StatusCode::NO_CONTENT, Bytes::new())
    }

    /// 301 as Go's `http.Redirect` writes it.
    pub(super) fn redirect(method: &Method, location: &str) -> Answer {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        if let Ok(value) = HeaderValue::from_str(location) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        if matches!(*method, Method::GET | Method::HEAD) {
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
        }
        if *method == Method::GET {
            let escaped = location
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;")
                .replace('\'', "&#39;");
            *response.body_mut() = format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n").into();
        }
        Answer(response)
    }

    fn with_body(status: StatusCode, body: Bytes) -> Answer {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        Answer(response)
    }

    /// The response to send.
    pub fn into_response(self) -> Response<Bytes> {
        self.0
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        let body = ErrorBody::new(failure.status.as_u16(), failure.message);
        let mut answer = Answer::with_body(failure.status, encode(&body).unwrap_or_default().into());
        if let Some(allow) = failure.allow {
            answer.0.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

impl Failure {
    /// A failure with a text for the client.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), allow: None }
    }

    /// The request is wrong.
    pub(super) fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such path.
    pub(super) fn not_found() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "")
    }

    /// The unit named in the path is not there.
    pub(super) fn no_such_unit() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "unit does not exist")
    }

    /// The path does not know this method, only those of `allow`, which `supported` puts into words.
    pub(super) fn method(supported: &str, allow: &'static str) -> Failure {
        let message = match supported {
            "" => String::new(),
            supported => format!("only {supported} supported against this resource"),
        };
        Failure { allow: Some(allow), ..Failure::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// A mistake of ours.
    pub(super) fn internal() -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "")
    }

    /// The cluster cannot be asked now.
    pub(super) fn unavailable(detail: &str) -> Failure {
        let message = format!("fleet server unable to communicate with etcd{detail}");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl From<fleet_store::Error> for Failure {
    fn from(error: fleet_store::Error) -> Failure {
        let detail = format!(": {error}");
        if error.kind != ErrorKind::Invalid {
            warn!(error = &error as &dyn std::error::Error, "the store did not answer a request");
        }
        match error.kind {
            ErrorKind::Unavailable | ErrorKind::Compacted => Failure::unavailable(""),
            ErrorKind::Denied | ErrorKind::Unsuitable => Failure::unavailable(&detail),
            ErrorKind::Invalid => Failure::bad_request(error.to_string()),
            ErrorKind::Corrupt => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}
