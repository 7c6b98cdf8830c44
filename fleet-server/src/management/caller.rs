//! Who asks, and what they changed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use fleet_access::rights::{Principal, Right};
use http::request::Parts;
use serde_json::Value;

use super::error::ApiError;

/// The most changes that one request leaves in the audit trail one by one. The last of more says how many.
const MOST_CHANGES: usize = 100;

/// From where a connection came. In the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote(pub(super) IpAddr);

/// Whether that connection is encrypted. In the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted(pub(super) bool);

/// One object that was changed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// What kind of object: `agent-policy`, `output` …
    pub(super) kind: &'static str,
    /// Its id.
    pub(super) object: String,
    /// As it was; nothing if it is new.
    pub(super) before: Option<Value>,
    /// As it is; nothing if it is gone.
    pub(super) after: Option<Value>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    pub(super) remote: Option<IpAddr>,
    changes: Arc<Mutex<Changes>>,
}

/// What was changed.
#[derive(Debug, Default)]
struct Changes {
    kept: Vec<Change>,
    /// How many more there were.
    more: usize,
}

impl Caller {
    pub(super) fn new(principal: Arc<Principal>, remote: Option<IpAddr>) -> Caller {
        Caller { principal, remote, changes: Arc::default() }
    }

    /// The user's name.
    pub(super) fn name(&self) -> &str {
        &self.principal.name
    }

    /// Whether they have a right on a policy and its agents.
    pub(super) fn may_on(&self, right: Right, policy_id: &str) -> bool {
        self.principal.allows_on(right, policy_id)
    }

    /// The policies that they have a right on. `None`: on all of them.
    pub(super) fn policies(&self, right: Right) -> Option<BTreeSet<String>> {
        if self.principal.allows(right) {
            return None;
        }
        let grants = self.principal.grants.iter().filter(|grant| grant.role.allows(right));
        Some(grants.map(|grant| grant.policy_id.clone()).collect())
    }

    /// Asks for a right on a policy and its agents.
    pub(super) fn require_on(&self, right: Right, policy_id: &str) -> Result<(), ApiError> {
        if self.may_on(right, policy_id) {
            return Ok(());
        }
        Err(ApiError::Forbidden(format!("the right {right} is needed on agent policy {policy_id}")))
    }

    /// Tells the audit trail what was changed.
    pub(super) fn changed(
        &self,
        kind: &'static str,
        object: impl Into<String>,
        before: Option<Value>,
        after: Option<Value>,
    ) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.kept.len() < MOST_CHANGES {
            changes.kept.push(Change { kind, object: object.into(), before, after });
        } else {
            changes.more += 1;
        }
    }

    /// What was changed, once.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let Changes { mut kept, more } = std::mem::take(&mut *changes);
        if more > 0 {
            let after = Some(serde_json::json!({"and_more": more}));
            kept.push(Change { kind: "more", object: String::new(), before: None, after });
        }
        kept
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, ApiError> {
        parts.extensions.get::<Caller>().cloned().ok_or(ApiError::Unauthorized)
    }
}
