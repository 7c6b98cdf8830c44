//! What every request passes: who asks, whether they may, and what is kept of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fleet_access::audit::{Deed, Place};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tracing::debug;

use super::caller::{Caller, Change, Remote};
use super::error::ApiError;
use super::routes::{Access, Operation};
use super::shape::{Shape, check_depth, refused as refused_body};
use super::{Management, auth};

/// An answer waits so long for its entry in the trail to be written; the entry itself waits longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The longest body in bytes of a request that takes none.
const LONGEST_NOTHING: usize = 64 << 10;
/// The longest text of a refusal, in bytes.
const LONGEST_REFUSAL: usize = 4096;

/// In front of one operation.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) management: Management,
    pub(super) operation: Arc<Operation>,
    /// What its body may be made of. In the extensions of each request.
    pub(super) shape: Option<Arc<Shape>>,
}

/// Lets those pass who may, and keeps what they changed. Nothing is changed that could not be told of.
pub(super) async fn pass(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Gate { management, operation, shape } = &*gate;
    if let Some(shape) = shape {
        request.extensions_mut().insert(Arc::clone(shape));
    }
    let Access::Needs(right) = operation.access else {
        return Ok(in_our_words(next.run(request).await).await);
    };
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let principal = auth::identify(management, request.headers(), operation.changes, remote).await?;
    let may = if operation.is_scoped { principal.allows_somewhere(right) } else { principal.allows(right) };
    let caller = Caller::new(Arc::new(principal), remote);
    let place = match operation.changes {
        true => {
            let place = management.people.audit.admit().await.map_err(|_| ApiError::NoTrail)?;
            Some((place, request.uri().path().to_owned()))
        }
        false => None,
    };
    let response = if may {
        request.extensions_mut().insert(caller.clone());
        let request = match operation.takes_no_body() {
            true => without_body(request, operation).await,
            false => Ok(request),
        };
        match request {
            Ok(request) => in_our_words(next.run(request).await).await,
            Err(refused) => refused.into_response(),
        }
    } else {
        ApiError::Forbidden(format!("the right {right} is needed")).into_response()
    };
    if let Some((place, path)) = place {
        keep(place, &caller, path, response.status()).await;
    }
    Ok(response)
}

/// What is sent to whoever takes nothing is not lost without a word: somebody meant something by it.
async fn without_body(request: Request, operation: &Operation) -> Result<Request, ApiError> {
    let (head, body) = request.into_parts();
    let text = to_bytes(body, LONGEST_NOTHING).await;
    let text = text.map_err(|_| refused_body("", "this request takes none, and none so large"))?;
    if !text.trim_ascii().is_empty() {
        check_depth(&text)?;
        let body = serde_json::from_slice(&text);
        let body: Value = body.map_err(|_| refused_body("", "this request takes none"))?;
        let field = body.as_object().and_then(|fields| fields.keys().next());
        match field {
            Some(field) if Shape::names(&operation.query).contains(field) => {
                let text = format!("there is no such field: write ?{field}=… behind the path");
                return Err(refused_body(field, text));
            }
            Some(field) => {
                return Err(refused_body(field, "there is no such field: this request takes none"));
            }
            None if body.is_object() || body.is_null() => {}
            None => return Err(refused_body("", "this request takes none")),
        }
    }
    Ok(Request::from_parts(head, Body::empty()))
}

/// What an extractor refuses by itself, such as a path that is no text, is told in the form of every other refusal.
async fn in_our_words(response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let status = response.status();
    if !status.is_client_error() || !is_text {
        return response;
    }
    let text = to_bytes(response.into_body(), LONGEST_REFUSAL).await.unwrap_or_default();
    ApiError::Body(status, String::from_utf8_lossy(&text).into_owned()).into_response()
}

/// Says in the trail what was done, also when it failed: an attempt is worth knowing.
pub(super) async fn keep(place: Place, caller: &Caller, path: String, status: StatusCode) {
    let mut changes = caller.take_changes();
    if changes.is_empty() {
        changes.push(Change { kind: "request", object: path, before: None, after: None });
    }
    let deeds = changes.into_iter().map(|change| Deed {
        kind: change.kind.to_owned(),
        object: change.object,
        before: change.before,
        after: change.after,
    });
    let doer = auth::doer(caller.name(), caller.remote, status);
    if !place.keep(&doer, deeds.collect()).written(PATIENCE).await {
        debug!("an answer is given before its entry in the audit trail is written");
    }
}
