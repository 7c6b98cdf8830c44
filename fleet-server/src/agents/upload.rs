//! `/api/fleet/uploads`: files that agents send, in chunks.

use std::borrow::Cow;
use std::time::Duration;

use fleet_policy::documents::FileHash;
use fleet_policy::files::{Begin, CHUNK, File, FileError, Receiving, is_sha256};
use fleet_protocol::agent::{UploadBeginRequest, UploadBeginResponse, UploadFinishRequest, UploadHash};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderName, StatusCode};
use tokio::time::timeout;
use tracing::info;

use super::error::ApiError;
use super::{AgentsApi, auth, object};
use crate::http::{Body, BodyError, Request, Response};

const X_CHUNK_SHA2: HeaderName = HeaderName::from_static("x-chunk-sha2");

impl AgentsApi {
    /// `POST /api/fleet/uploads`
    pub(super) async fn upload_begin(
        &self,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Response, ApiError> {
        // Whose key it must be is told in the body.
        auth::key(request)?;
        let body = self.read_body(&self.limits.upload_start, request, body).await?;
        let asked: UploadBeginRequest<'_> = object(&body)?;
        let agent_id = asked.agent_id.as_deref().filter(|id| !id.is_empty());
        let agent_id = agent_id.ok_or_else(|| ApiError::BadRequest("agent_id is missing".to_owned()))?;
        let agent = auth::agent(&self.fleet, agent_id, request).await?;
        let file = asked.file.as_ref();
        let file = file.ok_or_else(|| ApiError::BadRequest("file is missing".to_owned()))?;
        let begin = Begin {
            name: text(&file.name),
            size: u64::try_from(file.size.unwrap_or(0)).unwrap_or(0),
            mime_type: text(&file.mime_type),
            compression: text(&file.compression),
            hash: hash(file.hash.as_ref()),
            src: text(&asked.src),
            agent_id: &agent.id,
            action_id: text(&asked.action_id),
            namespaces: Vec::new(),
            contents: asked.contents,
            targets: None,
        };
        let file = self.fleet.files.begin(begin, self.fleet.clock.now()).await?;
        info!(agent = &*agent.id, upload = file.id, size = file.value.file.size, "an agent uploads a file");
        let answer = UploadBeginResponse { upload_id: &file.id, chunk_size: CHUNK };
        Ok(Response::json(StatusCode::OK, serde_json::to_vec(&answer).unwrap_or_default()))
    }

    /// `PUT /api/fleet/uploads/{id}/{chunk}`
    pub(super) async fn upload_chunk(
        &self,
        id: &str,
        number: &str,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Response, ApiError> {
        let file = self.upload(id, request).await?;
        let number = number.parse::<u32>();
        let number =
            number.map_err(|_| ApiError::BadRequest("the chunk's number is no number".to_owned()))?;
        let sha2 = request.header(&X_CHUNK_SHA2);
        let sha2 =
            sha2.ok_or_else(|| ApiError::BadRequest("the header X-Chunk-SHA2 is missing".to_owned()))?;
        if let Some(encoding) = request.headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(BodyError::UnknownEncoding(encoding).into());
        }
        let most = self.limits.upload_chunk.limit.max_body;
        let announced = request.header(&CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > most) {
            return Err(BodyError::TooLarge(most).into());
        }
        let time = self.settings.read;
        let receiving = self.fleet.files.receive(file, number, sha2, self.fleet.clock.now());
        let receiving = timeout(time, receiving).await.map_err(|_| ApiError::Busy)??;
        receive(receiving, body, time).await?;
        Ok(Response::empty(StatusCode::OK))
    }

    /// `POST /api/fleet/uploads/{id}`
    pub(super) async fn upload_finish(
        &self,
        id: &str,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Response, ApiError> {
        let file = self.upload(id, request).await?;
        let body = self.read_body(&self.limits.upload_end, request, body).await?;
        let asked: UploadFinishRequest<'_> = object(&body)?;
        let transit = asked.transithash.as_ref().map(|hash| text(&hash.sha256)).unwrap_or_default();
        if !is_sha256(transit) {
            return Err(ApiError::BadRequest(
                "transithash.sha256 must have 64 hexadecimal digits".to_owned(),
            ));
        }
        self.fleet.files.finish(file, transit, self.fleet.clock.now()).await?;
        info!(upload = id, "a file has arrived");
        Ok(Response::empty(StatusCode::OK))
    }

    /// The upload with this id, if it is the agent's whose key the request has.
    async fn upload(&self, id: &str, request: &Request) -> Result<File, ApiError> {
        let key = auth::key(request)?;
        let found = self.fleet.files.find(id).await.map_err(FileError::from)?;
        if let Some(file) = found.filter(|file| !file.value.agent_id.is_empty()) {
            auth::agent(&self.fleet, &file.value.agent_id, request).await?;
            return Ok(file);
        }
        auth::owner(&self.fleet, &key).await?;
        Err(ApiError::NoUpload)
    }
}

/// Takes the body, a piece at a time, into the store.
async fn receive(mut receiving: Receiving<'_>, body: &mut Body<'_>, time: Duration) -> Result<(), ApiError> {
    let all = async {
        while let Some(bytes) = body.chunk().await? {
            receiving.push(&bytes).await?;
        }
        receiving.end().await.map_err(ApiError::from)
    };
    timeout(time, all).await.map_err(|_| BodyError::Slow(time))?
}

fn text<'a>(field: &'a Option<Cow<'_, str>>) -> &'a str {
    field.as_deref().unwrap_or_default()
}

fn hash(given: Option<&UploadHash<'_>>) -> FileHash {
    let of = |field: &Option<Cow<'_, str>>| Some(text(field).to_owned()).filter(|hash| !hash.is_empty());
    given.map_or_else(FileHash::default, |hash| FileHash { sha256: of(&hash.sha256), md5: of(&hash.md5) })
}
