//! Files: those that agents have uploaded, and those that are to be delivered to them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use fleet_policy::documents::{FileDocument, FileStatus, FileTargets};
use fleet_policy::files::{Begin, CHUNK, File, FileError, WINDOW_SECONDS, chunk_count, hex, transit_hash};
use fleet_policy::timestamp::Timestamp;
use futures_util::StreamExt;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::input::Params;
use super::routes::{self, Routes, get, post};
use super::{Answer, Management};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ControlAgents, ReadAgents};
    let (one, named) = ("/api/fleet/agents/files/{file_id}", "/api/fleet/agents/files/{file_id}/{name}");
    routes
        .add(get("/api/fleet/agents/{id}/uploads", ReadAgents, "Lists what an agent uploaded"), uploads)
        .add(post("/api/fleet/agents/files", ControlAgents, "Keeps a file for agents").bounds_body(), put)
        .add(get(one, ReadAgents, "Reads a file").media("application/octet-stream"), show)
        .add(get(named, ReadAgents, "Reads a file").media("application/octet-stream"), show)
        .add(routes::delete(one, ControlAgents, "Removes a file"), delete)
        .add(routes::delete(named, ControlAgents, "Removes a file"), delete)
}

/// The most agents that one file is for.
const MOST_TARGETS: usize = 1000;

/// A file that is to be delivered.
#[derive(Debug, Deserialize)]
pub(super) struct Put {
    name: String,
    #[serde(default)]
    mime_type: Option<String>,
    /// Ids of agents, with commas between them.
    target_agents: String,
}

/// How a file is, in the words of those who ask.
fn status(document: &FileDocument, now: Timestamp) -> &'static str {
    match document.file.status {
        FileStatus::Ready => "READY",
        FileStatus::Deleted => "DELETED",
        FileStatus::UploadError => "FAILED",
        _ if Timestamp::from_unix(document.upload_start / 1000).until(now).as_secs() > WINDOW_SECONDS => {
            "EXPIRED"
        }
        FileStatus::AwaitingUpload => "AWAITING_UPLOAD",
        FileStatus::Uploading => "IN_PROGRESS",
    }
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

fn shown(file: &File, now: Timestamp) -> Value {
    let document = &file.value;
    let name = &document.file.name;
    json!({
        "id": file.id,
        "name": name,
        "filePath": format!("/api/fleet/agents/files/{}/{}", file.id, encoded(name)),
        "createTime": Timestamp::from_unix(document.upload_start / 1000),
        "status": status(document, now),
        "actionId": document.action_id,
        "size": document.file.size,
    })
}

/// What an agent has uploaded, newest first.
pub(super) async fn uploads(State(management): State<Management>, Path(id): Path<String>) -> Answer {
    management.find_agent(&id)?;
    let files = management.fleet.files.of_agent(&id).await?;
    let now = management.fleet.clock.now();
    let items: Vec<Value> = files.iter().map(|file| shown(file, now)).collect();
    Ok(Json(json!({"items": items})))
}

async fn find(management: &Management, id: &str) -> Result<File, ApiError> {
    let found = management.fleet.files.find(id).await?;
    found.ok_or_else(|| ApiError::not_found("File", id))
}

/// The bytes of a file, by its id alone or with its name behind it.
pub(super) async fn show(
    State(management): State<Management>,
    Path(path): Path<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let id = path.first().map(|(_, id)| id.as_str()).unwrap_or_default();
    let file = find(&management, id).await?;
    let details = &file.value.file;
    let bytes = management.fleet.files.read(&file, 0..details.size).await?;
    let mut response = Response::new(Body::from_stream(bytes));
    // Whatever an agent says that its file is: a browser saves it, and runs none of it.
    let name = format!("attachment; filename*=UTF-8''{}", encoded(&details.name));
    let headers = response.headers_mut();
    for (header, value) in [(CONTENT_DISPOSITION, name), (CONTENT_TYPE, details.mime_type.clone())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(header, value);
        }
    }
    headers.insert(CONTENT_LENGTH, details.size.into());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Removes the bytes of a file.
pub(super) async fn delete(
    State(management): State<Management>,
    Path(path): Path<Vec<(String, String)>>,
) -> Answer {
    let id = path.first().map(|(_, id)| id.as_str()).unwrap_or_default();
    let file = find(&management, id).await?;
    management.fleet.files.delete(file, management.fleet.clock.now()).await?;
    Ok(Json(json!({"id": id, "deleted": true})))
}

/// Keeps a file for agents, who fetch it by the id that is answered. The body is the file.
pub(super) async fn put(
    State(management): State<Management>,
    Params(put): Params<Put>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let size = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let size = size.ok_or_else(|| ApiError::BadRequest("the header Content-Length is needed".to_owned()))?;
    let targets: Vec<String> =
        put.target_agents.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if targets.is_empty() || targets.len() > MOST_TARGETS {
        let text = format!("[request query.target_agents]: 1 to {MOST_TARGETS} ids of agents are needed");
        return Err(ApiError::BadRequest(text));
    }
    let begin = Begin {
        name: &put.name,
        size,
        mime_type: put.mime_type.as_deref().unwrap_or("application/octet-stream"),
        src: "fleet",
        targets: Some(FileTargets { target_agents: targets }),
        ..Begin::default()
    };
    let files = &management.fleet.files;
    let file = files.begin(begin, management.fleet.clock.now()).await?;
    if let Err(error) = fill(&management, &file, body).await {
        // Whoever sent it is told why; what came of it is of no use.
        files.delete(file, management.fleet.clock.now()).await?;
        return Err(error);
    }
    let file = find(&management, &file.id).await?;
    Ok(Json(json!({"item": shown(&file, management.fleet.clock.now())})))
}

/// Takes the bytes of a file, a chunk at a time.
async fn fill(management: &Management, file: &File, body: Body) -> Result<(), ApiError> {
    let files = &management.fleet.files;
    let now = || management.fleet.clock.now();
    let mut pieces = body.into_data_stream();
    let mut rest = Bytes::new();
    let mut digests = Vec::new();
    let mut whole = Context::new(&SHA256);
    for number in 0..chunk_count(file.value.file.size) {
        let left = file.value.file.size - u64::from(number) * CHUNK;
        let wanted = usize::try_from(left.min(CHUNK)).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::with_capacity(wanted);
        while chunk.len() < wanted {
            if rest.is_empty() {
                let Some(piece) = pieces.next().await else { break };
                rest = piece.map_err(|error| ApiError::BadRequest(format!("the body broke off: {error}")))?;
            }
            chunk.extend_from_slice(&rest.split_to(rest.len().min(wanted - chunk.len())));
        }
        whole.update(&chunk);
        digests.push(files.take_chunk(file, number, &chunk, now()).await?);
    }
    let mut file = files.find(&file.id).await?.ok_or(FileError::NotFound)?;
    file.value.file.hash.sha256 = Some(hex(whole.finish().as_ref()));
    Ok(files.finish(file, &transit_hash(digests), now()).await?)
}
