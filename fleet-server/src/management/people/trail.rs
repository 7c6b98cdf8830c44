//! `/api/fleet/audit`

use std::fmt::Write as _;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fleet_access::audit::{AuditEntry, AuditQuery, Cursor, Export};
use fleet_access::rights::Right;
use fleet_access::timestamp::Timestamp;
use fleet_store::Error as StoreError;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use crate::management::error::ApiError;
use crate::management::input::{AtLeast, Params};
use crate::management::routes::{Routes, get};
use crate::management::{Answer, Management};

/// Lines of JSON.
const NDJSON: &str = "application/x-ndjson";
/// The most entries of a page.
const LARGEST_PAGE: usize = 1000;

/// The routes of this group.
pub(in super::super) fn routes(routes: Routes) -> Routes {
    use Right::ReadAudit;
    routes
        .add(get("/api/fleet/audit", ReadAudit, "Who changed what, newest first").query::<Wanted>(), list)
        .add(
            get("/api/fleet/audit/export", ReadAudit, "All of that, as lines of JSON")
                .query::<Wanted>()
                .media(NDJSON),
            export,
        )
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Wanted {
    /// RFC 3339: of this second and later.
    #[schemars(with = "Option<String>")]
    from: Option<Timestamp>,
    /// RFC 3339: of this second and earlier.
    #[schemars(with = "Option<String>")]
    to: Option<Timestamp>,
    user: Option<String>,
    /// `agent-policy`, `user`, `session`, `request` …
    kind: Option<String>,
    /// The object's id.
    object: Option<String>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many entries; 20, and at most 1000.
    per_page: Option<AtLeast<1>>,
}

impl Wanted {
    fn query(self) -> AuditQuery {
        let Wanted { from, to, user, kind, object, .. } = self;
        AuditQuery { from, to, user, kind, object }
    }
}

async fn list(State(management): State<Management>, Params(wanted): Params<Wanted>) -> Answer {
    let cursor = wanted.cursor.as_deref().map(str::parse::<Cursor>).transpose();
    let cursor = cursor.map_err(|error| ApiError::BadRequest(format!("[request query.cursor]: {error}")))?;
    let limit = wanted.per_page.map_or(20, AtLeast::get).min(LARGEST_PAGE);
    let page = management.people.audit.page(&wanted.query(), cursor.as_ref(), limit).await?;
    let next = page.next.map(|next| next.to_string());
    Ok(Json(json!({"items": page.entries, "total": page.total, "perPage": limit, "nextCursor": next})))
}

/// Sends them as they are read: the trail need not fit into memory.
async fn export(
    State(management): State<Management>,
    Params(wanted): Params<Wanted>,
) -> Result<Response, ApiError> {
    let mut export = management.people.audit.export(&wanted.query());
    // A store that is away is told as such, not in the middle of a file.
    let first = export.next().await?;
    let parts = stream::unfold((first, export), |(part, mut export): (_, Export)| async move {
        let text = lines(part?);
        let next = match export.next().await {
            Ok(next) => next,
            Err(error) => return Some((Err(broken(error)), (None, export))),
        };
        Some((Ok(text), (next, export)))
    });
    let headers = [(CONTENT_TYPE, NDJSON), (CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\"")];
    Ok((headers, Body::from_stream(parts)).into_response())
}

fn lines(entries: Vec<AuditEntry>) -> String {
    let mut text = String::new();
    for entry in entries {
        // Writing into a text does not fail.
        let _ = writeln!(text, "{}", json!(entry));
    }
    text
}

/// The connection is cut: a file that ends early looks whole otherwise.
fn broken(error: StoreError) -> StoreError {
    warn!(error = &error as &dyn std::error::Error, "an export of the audit trail breaks off");
    error
}
