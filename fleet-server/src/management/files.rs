//! Files: those that agents have uploaded, and those that are to be delivered to them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use fleet_policy::documents::{FileDocument, FileStatus, FileTargets};
use fleet_policy::files::{Begin, CHUNK, File, FileError, WINDOW_SECONDS, chunk_count, transit_hash};
use fleet_policy::timestamp::Timestamp;
use futures_util::StreamExt;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{Context, SHA256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::input::Params;
use super::routes::{self, Routes, get, post};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ControlAgents, ReadAgents};
    let (one, named) = ("/api/fleet/agents/files/{file_id}", "/api/fleet/agents/files/{file_id}/{name}");
    routes
        .add(
            get("/api/fleet/agents/{id}/uploads", ReadAgents, "Lists what an agent uploaded")
                .answers::<Uploads>()
                .scoped(),
            uploads,
        )
        .add(
            post("/api/fleet/agents/files", ControlAgents, "Keeps a file for agents")
                .query::<Put>()
                .answers::<FileAnswer>()
                .scoped()
                .bounds_body(),
            put,
        )
        .add(get(one, ReadAgents, "Reads a file").media("application/octet-stream").scoped(), show)
        .add(get(named, ReadAgents, "Reads a file").media("application/octet-stream").scoped(), show)
        .add(routes::delete(one, ControlAgents, "Removes a file").answers::<Deleted>().scoped(), delete)
        .add(routes::delete(named, ControlAgents, "Removes a file").answers::<Deleted>().scoped(), delete)
}

/// The most agents that one file is for.
const MOST_TARGETS: usize = 1000;

/// What agents have uploaded.
#[derive(Debug, Serialize, JsonSchema)]
struct Uploads {
    items: Vec<ShownFile>,
}

/// A file.
#[derive(Debug, Serialize, JsonSchema)]
struct FileAnswer {
    item: ShownFile,
}

/// A file as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShownFile {
    id: String,
    name: String,
    /// Where its bytes are.
    file_path: String,
    #[schemars(with = "String")]
    create_time: Timestamp,
    /// `AWAITING_UPLOAD`, `IN_PROGRESS`, `READY`, `FAILED`, `EXPIRED`, `DELETED`
    status: &'static str,
    /// The action that asked for it.
    action_id: String,
    /// Bytes.
    size: u64,
}

/// What was removed.
#[derive(Debug, Serialize, JsonSchema)]
struct Deleted {
    id: String,
    deleted: bool,
}

/// A file that is to be delivered.
#[derive(Debug, Deserialize, JsonSchema)]
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

fn shown(file: &File, now: Timestamp) -> ShownFile {
    let document = &file.value;
    let name = &document.file.name;
    ShownFile {
        id: file.id.clone(),
        name: name.clone(),
        file_path: format!("/api/fleet/agents/files/{}/{}", file.id, encoded(name)),
        create_time: Timestamp::from_unix(document.upload_start / 1000),
        status: status(document, now),
        action_id: document.action_id.clone(),
        size: document.file.size,
    }
}

/// What an agent has uploaded, newest first.
async fn uploads(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Uploads>, ApiError> {
    management.find_agent(&id, &caller, Right::ReadAgents).await?;
    let files = management.fleet.files.of_agent(&id).await?;
    let now = management.fleet.clock.now();
    Ok(Json(Uploads { items: files.iter().map(|file| shown(file, now)).collect() }))
}

/// A file, if the caller has the right on every agent that it is from or for.
async fn find_for(
    management: &Management,
    id: &str,
    caller: &Caller,
    right: Right,
) -> Result<File, ApiError> {
    let file = find(management, id).await?;
    if caller.principal.allows(right) {
        return Ok(file);
    }
    let targets = file.value.file.meta.iter().flat_map(|meta| &meta.target_agents);
    let agents: Vec<&String> =
        targets.chain(Some(&file.value.agent_id).filter(|id| !id.is_empty())).collect();
    let is_theirs = |id: &&String| {
        let agent = management.fleet.agents.get(id);
        agent.is_some_and(|agent| caller.may_on(right, &agent.agent.policy_id))
    };
    if agents.is_empty() || !agents.iter().all(is_theirs) {
        return Err(ApiError::not_found("File", id));
    }
    Ok(file)
}

async fn find(management: &Management, id: &str) -> Result<File, ApiError> {
    let found = management.fleet.files.find(id).await?;
    found.ok_or_else(|| ApiError::not_found("File", id))
}

/// The bytes of a file, by its id alone or with its name behind it.
pub(super) async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(path): Path<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let id = path.first().map(|(_, id)| id.as_str()).unwrap_or_default();
    let file = find_for(&management, id, &caller, Right::ReadAgents).await?;
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
async fn delete(
    State(management): State<Management>,
    caller: Caller,
    Path(path): Path<Vec<(String, String)>>,
) -> Result<Json<Deleted>, ApiError> {
    let id = path.first().map(|(_, id)| id.as_str()).unwrap_or_default();
    let file = find_for(&management, id, &caller, Right::ControlAgents).await?;
    let before = json!({"name": file.value.file.name, "agent_id": file.value.agent_id});
    management.fleet.files.delete(file, management.fleet.clock.now()).await?;
    caller.changed("file", id, Some(before), None);
    Ok(Json(Deleted { id: id.to_owned(), deleted: true }))
}

/// Keeps a file for agents, who fetch it by the id that is answered. The body is the file.
async fn put(
    State(management): State<Management>,
    caller: Caller,
    Params(put): Params<Put>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FileAnswer>, ApiError> {
    let size = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let size = size.ok_or_else(|| ApiError::BadRequest("the header Content-Length is needed".to_owned()))?;
    let targets: Vec<String> =
        put.target_agents.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if targets.is_empty() || targets.len() > MOST_TARGETS {
        let text = format!("[request query.target_agents]: 1 to {MOST_TARGETS} ids of agents are needed");
        return Err(ApiError::BadRequest(text));
    }
    if !caller.principal.allows(Right::ControlAgents) {
        for id in &targets {
            management.find_agent(id, &caller, Right::ControlAgents).await?;
        }
    }
    let told = json!({"name": put.name, "size": size, "agents": targets.len()});
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
    caller.changed("file", &file.id, None, Some(told));
    Ok(Json(FileAnswer { item: shown(&file, management.fleet.clock.now()) }))
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
    file.value.file.hash.sha256 = Some(hex::encode(whole.finish().as_ref()));
    Ok(files.finish(file, &transit_hash(digests), now()).await?)
}
