//! What is told when a request to a fleet-server fails: the field, the reason, and what to do.

use hyper::Method;
use serde::Deserialize;
use thiserror::Error;

use crate::client::TransportError;
use crate::output::printable;

/// The longest text of an answer that is no error of the API, in characters.
const LONGEST_TEXT: usize = 300;
/// What the server says of a path that it does not know, and of nothing else.
const NO_ROUTE: &str = "Not Found";

/// A request that failed.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error("{method} {url}")]
    Request {
        method: String,
        url: String,
        #[source]
        source: TransportError,
    },
    /// The server said no.
    #[error("{message}")]
    Refused { status: u16, message: String },
    /// The server answered with something else than was asked for.
    #[error("{method} {url}: the answer cannot be read: is this the management API of a fleet-server?")]
    Answer {
        method: String,
        url: String,
        #[source]
        source: serde_json::Error,
    },
    /// The answer lacks what it must have.
    #[error("{method} {url}: the answer has no {what}: is this the management API of a fleet-server?")]
    Shape { method: String, url: String, what: &'static str },
}

/// An error as the API tells it.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    message: String,
}

impl ApiError {
    /// Reads an answer that is no success.
    pub(super) fn refused(status: u16, body: &[u8]) -> ApiError {
        let message = match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) if !body.message.is_empty() => printable_lines(&in_words(&body.message)),
            _ => {
                let text: String = String::from_utf8_lossy(body).trim().chars().take(LONGEST_TEXT).collect();
                format!("the server answered with status {status}: {}", printable(&text))
            }
        };
        ApiError::Refused { status, message }
    }

    /// The same error, which says which request it is about where the server does not know it at all.
    pub(super) fn of_request(self, method: &Method, url: &str) -> ApiError {
        match self {
            ApiError::Refused { status: 404, message } if message == NO_ROUTE => ApiError::Refused {
                status: 404,
                message: format!(
                    "{method} {url}: the server knows no such request. Is it older than fleetctl?"
                ),
            },
            other => other,
        }
    }

    /// What to do about the error, if that can be told.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            ApiError::Request { source, .. } if source.is_of_tls() => {
                "\nA server that made its certificate itself keeps its authority as ca.pem in its data directory: \
                 give it with --ca-file, or `fleetctl login URL --ca-file FILE`"
            }
            ApiError::Refused { status: 401, .. } => {
                "\nThe server does not know who asks: `fleetctl login URL` keeps a name and password in a profile; \
                 FLEET_API_KEY, or --user with --password-file, name them for one run"
            }
            ApiError::Refused { status: 403, .. } => {
                "\nAn administrator can give the role that this needs: `fleetctl user edit NAME`"
            }
            _ => "",
        }
    }

    /// The status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            ApiError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether somebody else changed the object meanwhile, or it is there already.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether asking again may help: the server is busy or cannot be reached now.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            ApiError::Request { source, .. } => !source.is_of_tls(),
            ApiError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502..=504),
            ApiError::Answer { .. } | ApiError::Shape { .. } => false,
        }
    }
}

/// A text with its lines, but with nothing else in it that could steer the terminal: it may tell names that anybody
/// chose.
fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// `[request body.a.b]: reason` as `a.b: reason`.
fn in_words(message: &str) -> String {
    let Some((place, reason)) = message.strip_prefix("[request ").and_then(|rest| rest.split_once(']'))
    else {
        return message.to_owned();
    };
    let reason = reason.trim_start_matches(':').trim_start();
    let field = match place.split_once('.') {
        Some(("body" | "query" | "params", field)) => field,
        _ => place,
    };
    format!("{field}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> String {
        ApiError::refused(status, body.as_bytes()).to_string()
    }

    #[test]
    fn fields_come_first() {
        for (message, text) in [
            ("[request body.name]: a text is needed", "name: a text is needed"),
            ("[request body.inputs.0.vars]: unknown", "inputs.0.vars: unknown"),
            ("[request query.kuery]: \\\"x\\\" is no field", "kuery: \"x\" is no field"),
            ("[request body]: not JSON", "body: not JSON"),
            ("Agent policy x not found", "Agent policy x not found"),
            ("[request odd", "[request odd"),
        ] {
            let body = format!(r#"{{"statusCode":400,"error":"Bad Request","message":"{message}"}}"#);
            assert_eq!(told(400, &body), text);
        }
    }

    #[test]
    fn other_answers_are_shown_as_they_are() {
        assert_eq!(told(502, "<html>bad gateway"), "the server answered with status 502: <html>bad gateway");
        assert!(told(500, &"x".repeat(10_000)).len() < 400);
        assert_eq!(told(400, "{\"message\":\"a\\u001b[2J\\nb\"}"), "a [2J\nb");
        assert!(ApiError::refused(401, b"").hint().contains("fleetctl login"));
        let unknown =
            ApiError::refused(404, br#"{"message":"Not Found"}"#).of_request(&Method::GET, "http://a/x");
        assert!(
            unknown.to_string().starts_with("GET http://a/x: the server knows no such request"),
            "{unknown}"
        );
    }
}
