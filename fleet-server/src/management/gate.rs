//! What every request passes: who asks, whether they may, and what is kept of it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

use super::caller::{Caller, Change, Remote};
use super::error::ApiError;
use super::routes::{Access, Operation};
use super::{Management, auth};

/// In front of one operation.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) management: Management,
    pub(super) operation: Arc<Operation>,
}

/// Lets those pass who may, and keeps what they changed.
pub(super) async fn pass(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let operation = &gate.operation;
    let Access::Needs(right) = operation.access else { return Ok(next.run(request).await) };
    let principal = auth::identify(&gate.management, request.headers(), operation.changes).await?;
    let may = if operation.is_scoped { principal.allows_somewhere(right) } else { principal.allows(right) };
    if !may {
        return Err(ApiError::Forbidden(format!("the right {right} is needed")));
    }
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let caller = Caller::new(Arc::new(principal), remote);
    request.extensions_mut().insert(caller.clone());
    let path = operation.changes.then(|| request.uri().path().to_owned());
    let response = next.run(request).await;
    if let Some(path) = path {
        keep(operation, &caller, &path, &response);
    }
    Ok(response)
}

/// Says in the trail what was done, also when it failed: an attempt is worth knowing.
fn keep(operation: &Operation, caller: &Caller, path: &str, response: &Response) {
    let status = response.status().as_u16();
    let mut changes = caller.take_changes();
    if changes.is_empty() {
        changes.push(Change { kind: "request", object: path.to_owned(), before: None, after: None });
    }
    for change in changes {
        info!(
            target: "audit",
            user = caller.name(),
            remote = caller.remote.map(tracing::field::display),
            method = %operation.method,
            path,
            status,
            kind = change.kind,
            object = change.object,
            is_new = change.before.is_none(),
            is_gone = change.after.is_none(),
            "changed"
        );
    }
}
