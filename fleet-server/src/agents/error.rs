//! What agents are told when something cannot be done.

use fleet_access::documents::EnrollmentKeyRefusal;
use fleet_access::replace_token::ReplaceTokenError;
use fleet_policy::files::FileError;
use fleet_protocol::agent::{ErrorBody, UserAgentError};
use fleet_store::{Error, ErrorKind, WriteError};
use http::{HeaderValue, StatusCode, header::CONTENT_RANGE, header::RETRY_AFTER};
use tracing::warn;

use crate::http::{BodyError, Response};

/// Seconds after which an agent that came at a bad moment may come again.
pub(super) const RETRY_AFTER_SECONDS: &str = "5";

/// Why a request is not granted. Each has a status and a name of its own, which clients know.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No such route.
    #[error("not found")]
    NoRoute,
    /// The route has other methods.
    #[error("method not allowed")]
    Method,
    /// `Elastic-Api-Version` is not a date.
    #[error("invalid Elastic-Api-Version header: it is a date such as 2023-06-01")]
    ApiVersionFormat,
    /// `Elastic-Api-Version` is not one that is spoken.
    #[error("the Elastic-Api-Version {0} is not supported: send 2023-06-01")]
    ApiVersion(String),
    /// No `Authorization`.
    #[error("no authorization header: send Authorization: ApiKey <key>")]
    NoAuthorization,
    /// `Authorization` of another form.
    #[error("malformed authorization header: send one, Authorization: ApiKey <key>")]
    MalformedHeader,
    /// A key of another form.
    #[error("malformed key: {0}")]
    MalformedToken(String),
    /// The key is not known, or no longer good.
    #[error("unauthorized: the key is not known, or no longer good")]
    Unauthorized,
    /// The key lets nobody enrol any more.
    #[error("inactive enrollment key: {0}")]
    EnrollmentKey(EnrollmentKeyRefusal),
    /// The agent has been unenrolled.
    #[error("agent inactive: it has been unenrolled; enrol it again")]
    AgentInactive,
    /// Another agent's key.
    #[error("agent identity: the key is another agent's")]
    AgentIdentity,
    /// No such agent.
    #[error("agent not found")]
    AgentNotFound,
    /// What is stored of the agent cannot be read.
    #[error("agent corrupted: what is stored of it cannot be read; enrol it again")]
    AgentCorrupted,
    /// The agent may not be replaced.
    #[error("agent not replaceable: {0}")]
    NotReplaceable(&'static str),
    /// The agent says that it is gone for good already.
    #[error("audit reason conflict: the agent is orphaned")]
    AuditConflict,
    /// Not an agent, or one that is too old.
    #[error("{0}")]
    UserAgent(#[from] UserAgentError),
    /// The body is not what it should be.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The body cannot be had.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// No such upload of this agent.
    #[error("invalid upload id: there is no such upload")]
    NoUpload,
    /// Something of a file is not right.
    #[error("{0}")]
    File(FileError),
    /// Files of libraries are for others.
    #[error("client file forbidden: files of libraries are for endpoint-security alone")]
    FileForbidden,
    /// The file has no such bytes.
    #[error("range not satisfiable: ask for one range within the {0} bytes of the file")]
    Range(u64),
    /// The agent's policy does not name the artifact.
    #[error("forbidden: the agent's policy does not name this artifact")]
    ArtifactForbidden,
    /// There is no such artifact.
    #[error("not found: there is no such artifact")]
    NoArtifact,
    /// Too many artifacts are loaded.
    #[error("too many requests: come again in {RETRY_AFTER_SECONDS} s")]
    TooMany,
    /// What is asked for may not be changed on its way.
    #[error("TLS is required: ask over https")]
    TlsRequired,
    /// What is asked for must come from elsewhere, and does not.
    #[error("it cannot be fetched at the moment: the server's log tells why")]
    Upstream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too much at a time.
    #[error("exceeded the max limit: come again in {RETRY_AFTER_SECONDS} s")]
    Busy,
    /// Too often.
    #[error("exceeded the rate limit: come again in {RETRY_AFTER_SECONDS} s")]
    Rate,
    /// The store does not answer. Never a reason to doubt a key.
    #[error("the store does not answer: come again")]
    Store(#[source] WriteError),
    /// The server takes no connections that stay.
    #[error("the server stops: come again")]
    Stopping,
    /// The server cannot do its work.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// Status and name.
    pub(super) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::NoRoute => (StatusCode::NOT_FOUND, "NotFound"),
            ApiError::Method => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            ApiError::ApiVersionFormat => (StatusCode::BAD_REQUEST, "ErrInvalidAPIVersionFormat"),
            ApiError::ApiVersion(_) => (StatusCode::BAD_REQUEST, "ErrUnsupportedAPIVersion"),
            ApiError::NoAuthorization => (StatusCode::UNAUTHORIZED, "ErrNoAuthHeader"),
            ApiError::MalformedHeader => (StatusCode::BAD_REQUEST, "ErrMalformedHeader"),
            ApiError::MalformedToken(_) => (StatusCode::BAD_REQUEST, "ErrMalformedToken"),
            ApiError::Unauthorized | ApiError::EnrollmentKey(_) => {
                (StatusCode::UNAUTHORIZED, "ErrUnauthorized")
            }
            ApiError::AgentInactive => (StatusCode::UNAUTHORIZED, "ErrAgentInactive"),
            ApiError::AgentIdentity => (StatusCode::FORBIDDEN, "ErrAgentIdentity"),
            ApiError::AgentNotFound => (StatusCode::NOT_FOUND, "AgentNotFound"),
            ApiError::AgentCorrupted => (StatusCode::BAD_REQUEST, "ErrAgentCorrupted"),
            ApiError::NotReplaceable(_) => (StatusCode::FORBIDDEN, "AgentNotReplaceable"),
            ApiError::AuditConflict => (StatusCode::CONFLICT, "ErrAuditReasonConflict"),
            ApiError::UserAgent(UserAgentError::Invalid(_)) => (StatusCode::BAD_REQUEST, "InvalidUserAgent"),
            ApiError::UserAgent(UserAgentError::TooOld(_)) => (StatusCode::BAD_REQUEST, "UnsupportedVersion"),
            ApiError::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            ApiError::Body(BodyError::TooLarge(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "ErrPayloadSizeTooLarge")
            }
            ApiError::Body(BodyError::Slow(_)) => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
            ApiError::Body(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            // The name that clients know.
            ApiError::NoUpload => (StatusCode::BAD_REQUEST, "ErrAPIKeyNotFound"),
            ApiError::File(error) => file_kind(error),
            ApiError::ArtifactForbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            ApiError::NoArtifact => (StatusCode::NOT_FOUND, "NotFound"),
            ApiError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            ApiError::TlsRequired => (StatusCode::NOT_IMPLEMENTED, "ErrTLSRequired"),
            ApiError::Upstream(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            ApiError::FileForbidden => (StatusCode::FORBIDDEN, "ErrClientFileForbidden"),
            ApiError::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable"),
            ApiError::Busy => (StatusCode::TOO_MANY_REQUESTS, "MaxLimit"),
            ApiError::Rate => (StatusCode::TOO_MANY_REQUESTS, "RateLimit"),
            ApiError::Store(_) | ApiError::Stopping => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
            }
            ApiError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        }
    }

    /// As it is told.
    pub(super) fn response(&self) -> Response {
        let (status, name) = self.kind();
        if status.is_server_error() {
            warn!(error = self as &dyn std::error::Error, "a request of an agent cannot be answered");
        }
        let message = self.to_string();
        let body = ErrorBody { status_code: status.as_u16(), error: name, message: &message };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let response = Response::json(status, body);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return response.with_header(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        match self {
            ApiError::Range(size) => match HeaderValue::try_from(format!("bytes */{size}")) {
                Ok(range) => response.with_header(CONTENT_RANGE, range),
                Err(_) => response,
            },
            _ => response,
        }
    }
}

fn file_kind(error: &FileError) -> (StatusCode, &'static str) {
    match error {
        FileError::Disabled => (StatusCode::FORBIDDEN, "ErrFileFeatureDisable"),
        FileError::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
        FileError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "ErrPayloadSizeTooLarge"),
        FileError::NoRoom(_) => (StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage"),
        FileError::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        FileError::Expired => (StatusCode::BAD_REQUEST, "ErrUploadExpired"),
        FileError::Closed => (StatusCode::BAD_REQUEST, "ErrUploadStopped"),
        FileError::HashMismatch => (StatusCode::BAD_REQUEST, "ErrHashMismatch"),
        FileError::MissingChunks { .. } => (StatusCode::BAD_REQUEST, "ErrMissingChunks"),
        FileError::Invalid(_) | FileError::NoSuchChunk { .. } | FileError::ChunkSize { .. } => {
            (StatusCode::BAD_REQUEST, "BadRequest")
        }
        FileError::Busy => (StatusCode::TOO_MANY_REQUESTS, "MaxLimit"),
        FileError::Corrupt(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        FileError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> ApiError {
        match error {
            FileError::Store(error) => ApiError::Store(error),
            FileError::Busy => ApiError::Busy,
            error => ApiError::File(error),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> ApiError {
        ApiError::Store(error)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        match error.kind {
            ErrorKind::Corrupt => ApiError::AgentCorrupted,
            _ => ApiError::Store(WriteError::NotDone(error)),
        }
    }
}

impl From<ReplaceTokenError> for ApiError {
    fn from(error: ReplaceTokenError) -> ApiError {
        match error {
            ReplaceTokenError::Busy(_) => ApiError::Busy,
            error => ApiError::Internal(Box::new(error)),
        }
    }
}
