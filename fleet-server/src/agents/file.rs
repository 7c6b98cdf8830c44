//! `GET /api/fleet/file/{id}`: files that are for this agent.

use std::io;
use std::ops::Range;

use fleet_policy::documents::{FileDocument, FileStatus};
use fleet_policy::files::FileError;
use futures_util::StreamExt;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderName, HeaderValue, StatusCode};
use tracing::warn;

use super::error::ApiError;
use super::limit::Leave;
use super::{AgentsApi, auth, range};
use crate::http::{Request, Response};

const X_FILE_SHA2: HeaderName = HeaderName::from_static("x-file-sha2");
/// Who asks for a file of a library.
const X_PRODUCT_ORIGIN: HeaderName = HeaderName::from_static("x-elastic-product-origin");
const LIBRARY_CLIENT: &str = "endpoint-security";

impl AgentsApi {
    /// The leave is given back when the last byte is written.
    pub(super) async fn file(&self, id: &str, request: &Request, leave: Leave) -> Result<Response, ApiError> {
        let agent = auth::owner(&self.fleet, &auth::key(request)?).await?;
        if request.query.split('&').any(|pair| pair.starts_with("source=")) {
            // There are no libraries here; who may not ask for them is told so first.
            let is_client = request.header(&X_PRODUCT_ORIGIN) == Some(LIBRARY_CLIENT);
            return Err(if is_client { FileError::NotFound.into() } else { ApiError::FileForbidden });
        }
        let found = self.fleet.files.find(id).await.map_err(FileError::from)?;
        let file = found.filter(|file| is_for(&file.value, &agent.id)).ok_or(FileError::NotFound)?;
        let details = &file.value.file;
        let asked = request.headers.get_all(RANGE);
        let range =
            range::of(&asked, details.size).map_err(|range::NotSatisfiable| ApiError::Range(details.size))?;
        let (status, wanted) = match &range {
            Some(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
            None => (StatusCode::OK, 0..details.size),
        };
        let length = wanted.end - wanted.start;
        let pieces = self.fleet.files.read(&file, wanted).await?.map(move |piece| {
            let _held = &leave;
            piece.map_err(|error| {
                warn!(error = &error as &dyn std::error::Error, "a file breaks off on its way to an agent");
                io::Error::other(error)
            })
        });
        let response = Response::empty(status).with_stream(length, pieces.boxed());
        Ok(with_headers(response, &file.value, range.as_ref()))
    }
}

fn is_for(document: &FileDocument, agent_id: &str) -> bool {
    let targets = document.file.meta.as_ref().map(|meta| meta.target_agents.as_slice()).unwrap_or_default();
    document.file.status == FileStatus::Ready && targets.iter().any(|id| id == agent_id)
}

fn with_headers(mut response: Response, document: &FileDocument, range: Option<&Range<u64>>) -> Response {
    let details = &document.file;
    let part = range.map(|range| format!("bytes {}-{}/{}", range.start, range.end - 1, details.size));
    let headers = [
        (CONTENT_TYPE, Some(details.mime_type.clone())),
        (CONTENT_RANGE, part),
        (X_FILE_SHA2, details.hash.sha256.clone()),
        (ACCEPT_RANGES, Some("bytes".to_owned())),
    ];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response = response.with_header(name, value);
        }
    }
    response
}
