//! Archives that somebody sends.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::KIND;
use super::install::told;
use super::shapes::Done;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::{Management, Space};
use crate::packages::{ArchiveKind, InstallSource, LARGEST_ARCHIVE};

/// Archives that come in at a time: each is in memory as a whole.
static PLACES: Semaphore = Semaphore::const_new(2);
/// Whoever finds no place waits for one for so long.
const PLACE_MAX: Duration = Duration::from_secs(20);
/// The longest pause between two pieces of an archive.
const PIECE_MAX: Duration = Duration::from_secs(30);
/// For the whole of it.
const ARCHIVE_MAX: Duration = Duration::from_secs(600);

/// Keeps the archive that is the body, and installs the package in it.
pub(super) async fn upload(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, ApiError> {
    let kind = kind(&headers)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > LARGEST_ARCHIVE) {
        return Err(too_large());
    }
    let place = timeout(PLACE_MAX, PLACES.acquire()).await;
    let _place = place.ok().and_then(Result::ok).ok_or(ApiError::Busy)?;
    let bytes = timeout(ARCHIVE_MAX, receive(body, length.unwrap_or(0))).await;
    let bytes = bytes.unwrap_or_else(|_| Err(slow(ARCHIVE_MAX)))?;
    fits(kind, &bytes)?;
    let now = management.fleet.clock.now();
    let packages = &management.fleet.packages;
    let installed = packages.upload(kind, InstallSource::Upload, bytes, &space.0, now).await?;
    let record = &installed.record;
    caller.changed(KIND, &record.name, None, Some(told(record)));
    management.upgrade_with(record, false, &caller).await;
    Ok(Json(Done::from(record)))
}

fn kind(headers: &HeaderMap) -> Result<ArchiveKind, ApiError> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/zip" | "application/x-zip-compressed" | "application/x-zip" => Ok(ArchiveKind::Zip),
        "application/gzip" | "application/x-gzip" | "application/x-tgz" => Ok(ArchiveKind::TarGz),
        _ => {
            let given: String = given.chars().take(100).collect();
            let text = format!(
                "[request header.content-type]: {given:?} is not a type of archive: send application/zip, or \
                 application/gzip for a .tar.gz"
            );
            Err(ApiError::Body(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

async fn receive(body: Body, length: usize) -> Result<Bytes, ApiError> {
    let mut pieces = body.into_data_stream();
    // What is announced need not come.
    let mut whole = BytesMut::with_capacity(length.min(1 << 20));
    loop {
        let piece = timeout(PIECE_MAX, pieces.next()).await.map_err(|_| slow(PIECE_MAX))?;
        let Some(piece) = piece else { return Ok(whole.freeze()) };
        let piece = piece.map_err(|error| ApiError::BadRequest(format!("the body broke off: {error}")))?;
        if piece.len() > LARGEST_ARCHIVE - whole.len() {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
}

/// Whether it begins as an archive of its kind does.
fn fits(kind: ArchiveKind, bytes: &[u8]) -> Result<(), ApiError> {
    let (is_zip, is_gzip) = (bytes.starts_with(b"PK"), bytes.starts_with(&[0x1f, 0x8b]));
    let text = match kind {
        _ if bytes.is_empty() => "the body is empty: send the archive as the body (curl --data-binary @FILE)",
        ArchiveKind::Zip if is_gzip => "the body is gzip: send Content-Type: application/gzip",
        ArchiveKind::Zip if !is_zip => "the body is not a zip",
        ArchiveKind::TarGz if is_zip => "the body is a zip: send Content-Type: application/zip",
        ArchiveKind::TarGz if !is_gzip => "the body is not gzip",
        _ => return Ok(()),
    };
    Err(ApiError::BadRequest(format!("[request body]: {text}")))
}

fn too_large() -> ApiError {
    let text = format!("[request body]: the archive is larger than {LARGEST_ARCHIVE} bytes");
    ApiError::Body(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn slow(time: Duration) -> ApiError {
    let text = format!("[request body]: nothing came within {} s", time.as_secs());
    ApiError::Body(StatusCode::REQUEST_TIMEOUT, text)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn what_is_not_announced_is_bounded_too() {
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = |count| stream::repeat(Ok::<_, Infallible>(piece.clone())).take(count);
        let whole = receive(Body::from_stream(pieces(100)), 0).await.unwrap();
        assert_eq!(whole.len(), LARGEST_ARCHIVE);
        let refused = receive(Body::from_stream(pieces(1_000_000)), 7).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_sending_is_not_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(receive(body, 7).await.unwrap_err().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
