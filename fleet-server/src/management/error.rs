//! What people are told when something cannot be done.

use axum::Json;
use axum::response::{IntoResponse, Response};
use fleet_access::password::PasswordError;
use fleet_access::signer::SignerError;
use fleet_access::throttle::Locked;
use fleet_access::users::UserError;
use fleet_policy::files::FileError;
use fleet_service::error::chain;
use fleet_store::{Error, ErrorKind, WriteError};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tracing::warn;

use super::people::oidc::OidcError;

use crate::deployment::DeployError;
use crate::packages::PackagesError;

/// Why a request is not granted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No such route.
    #[error("Not Found")]
    NoRoute,
    /// The route has other methods.
    #[error("Method Not Allowed")]
    Method,
    /// Nobody that may ask.
    #[error("name and password or an API key are needed: send Authorization: Basic or ApiKey, or sign in")]
    Unauthorized,
    /// Nobody, and a browser asks, which shows its user a page for that.
    #[error("you are not signed in, or not any more: sign in")]
    SignedOut,
    /// A sign-in fails.
    #[error("name or password is wrong")]
    WrongPassword,
    /// An API key is not accepted.
    #[error("[request header.authorization]: {0}")]
    BadKey(String),
    /// Too many attempts have failed.
    #[error("{0}")]
    Locked(Locked),
    /// What is done could not be told of.
    #[error("the audit trail cannot be written, so nothing can be changed now: come again")]
    NoTrail,
    /// Somebody that may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{kind} {id} not found")]
    NotFound {
        /// What it would be.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// The request is not what it should be.
    #[error("{0}")]
    BadRequest(String),
    /// The body cannot be had.
    #[error("{1}")]
    Body(StatusCode, String),
    /// It is there already, or has changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else changed it since it was read.
    #[error("{text}")]
    Changed {
        /// What was changed, and by whom.
        text: String,
        /// As it is now, so that both can be compared.
        current: serde_json::Value,
    },
    /// Too much at a time.
    #[error("too many at a time: come again")]
    Busy,
    /// Something of a file is not right.
    #[error("{0}")]
    File(FileError),
    /// The store does not answer.
    #[error("the store does not answer: come again")]
    Store(#[source] WriteError),
    /// The identity provider does not do its part.
    #[error("{0}: try again, or sign in by name and password")]
    Provider(#[source] OidcError),
    /// Another server, which is needed for it, does not answer as it should.
    #[error("{0}")]
    Upstream(String),
    /// The server cannot do its work.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    pub(super) fn not_found(kind: &'static str, id: &str) -> ApiError {
        ApiError::NotFound { kind, id: id.chars().take(256).collect() }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::NoRoute | ApiError::NotFound { .. } => StatusCode::NOT_FOUND,
            ApiError::Method => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Unauthorized | ApiError::SignedOut | ApiError::WrongPassword | ApiError::BadKey(_) => {
                StatusCode::UNAUTHORIZED
            }
            ApiError::Locked(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::NoTrail => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::Body(status, _) => *status,
            ApiError::Conflict(_) | ApiError::Changed { .. } => StatusCode::CONFLICT,
            ApiError::Busy => StatusCode::TOO_MANY_REQUESTS,
            ApiError::File(error) => match error {
                FileError::NotFound => StatusCode::NOT_FOUND,
                FileError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                FileError::NoRoom(_) => StatusCode::INSUFFICIENT_STORAGE,
                FileError::Disabled => StatusCode::FORBIDDEN,
                FileError::Busy => StatusCode::TOO_MANY_REQUESTS,
                FileError::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            },
            ApiError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Provider(_) => StatusCode::BAD_GATEWAY,
            ApiError::Upstream(_) => StatusCode::BAD_GATEWAY,
            ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            warn!(error = &self as &dyn std::error::Error, "a request for management cannot be answered");
        }
        let mut body = json!({
            "statusCode": status.as_u16(),
            "error": status.canonical_reason().unwrap_or_default(),
            "message": self.to_string(),
        });
        if let ApiError::Changed { current, .. } = &self {
            body["attributes"] = json!({"current": current});
        }
        let mut response = (status, Json(body)).into_response();
        match self {
            ApiError::Unauthorized => {
                let value = HeaderValue::from_static("Basic realm=\"fleet\", charset=\"UTF-8\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, value);
            }
            ApiError::Locked(locked) => {
                // Rounded up: who comes too early must wait again.
                let seconds = locked.wait.as_millis().div_ceil(1000).max(1);
                let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            ApiError::Busy | ApiError::Store(_) | ApiError::NoTrail => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        match error.kind {
            // An id that nothing can have, or a document that is too large: asked again, it is so again.
            ErrorKind::Invalid => ApiError::BadRequest(error.to_string()),
            _ => ApiError::Store(WriteError::NotDone(error)),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> ApiError {
        match error {
            WriteError::Conflict { .. } => {
                ApiError::Conflict("it was changed by somebody else meanwhile: try again".to_owned())
            }
            WriteError::NotDone(error) => error.into(),
            error => ApiError::Store(error),
        }
    }
}

impl From<PackagesError> for ApiError {
    fn from(error: PackagesError) -> ApiError {
        match error {
            PackagesError::Archive(_)
            | PackagesError::Package(_)
            | PackagesError::Refused(_)
            | PackagesError::NotInstalled(_)
            | PackagesError::InUse(_) => ApiError::BadRequest(error.to_string()),
            PackagesError::NotFound { name, version } => {
                let version = version.map(|version| format!("-{version}")).unwrap_or_default();
                ApiError::not_found("Package", &format!("{name}{version}"))
            }
            PackagesError::Busy => ApiError::Busy,
            PackagesError::Registry(error) => ApiError::Upstream(chain(&error)),
            PackagesError::Store(error) => error.into(),
            PackagesError::Corrupt(_) => ApiError::Internal(Box::new(error)),
        }
    }
}

impl From<DeployError> for ApiError {
    fn from(error: DeployError) -> ApiError {
        match error {
            DeployError::Read(_, error) => error.into(),
            DeployError::Write(_, error) => error.into(),
            DeployError::NotFound(id) => ApiError::not_found("Agent policy", &id),
            DeployError::Busy(_) => ApiError::Conflict(error.to_string()),
            DeployError::Setting(_, missing) => ApiError::BadRequest(missing.to_string()),
            DeployError::Key(_, SignerError::Store(error)) => error.into(),
            DeployError::Sign(..) | DeployError::Key(..) => ApiError::Internal(Box::new(error)),
        }
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> ApiError {
        match error {
            FileError::Store(error) => error.into(),
            FileError::Busy => ApiError::Busy,
            error => ApiError::File(error),
        }
    }
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> ApiError {
        let text = error.to_string();
        match error {
            UserError::Name(_) => ApiError::BadRequest(format!("[request body.username]: {text}")),
            UserError::FullName => ApiError::BadRequest(format!("[request body.full_name]: {text}")),
            UserError::Password(_) => ApiError::BadRequest(format!("[request body.password]: {text}")),
            UserError::Grants(_) => ApiError::BadRequest(format!("[request body.grants]: {text}")),
            UserError::Exists(_) | UserError::LastAdmin(_) | UserError::Changed(_) => {
                ApiError::Conflict(text)
            }
            UserError::NotFound(name) => ApiError::not_found("User", &name),
            UserError::Hash(PasswordError::Busy(_)) => ApiError::Busy,
            UserError::Read(error) => error.into(),
            UserError::Write(error) => error.into(),
            error @ (UserError::Hash(_) | UserError::Random(_)) => ApiError::Internal(Box::new(error)),
        }
    }
}
