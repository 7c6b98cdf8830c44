//! The body of a request.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::http1::Http1Body;

/// The body of a request, not yet read.
pub enum Body<'a> {
    /// Of HTTP/1.1.
    Http1(Http1Body<'a>),
    /// Of HTTP/2.
    Http2(hyper::body::Incoming),
    /// All there already.
    Whole(Bytes),
}

/// Why a body cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than it may be.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not come in time.
    #[error("the body did not come within {} s", .0.as_secs())]
    Slow(Duration),
    /// The connection broke, or what came is not HTTP.
    #[error("the body cannot be read: {0}")]
    Broken(String),
    /// It is not what its `Content-Encoding` says.
    #[error("the body is not gzip, as its Content-Encoding says: {0}")]
    NotGzip(String),
    /// Encoded in a way that is not understood.
    #[error("Content-Encoding {0:?} is not understood: send gzip, or none")]
    UnknownEncoding(String),
}

impl Body<'_> {
    /// The whole body as it came, if it has at most `most` bytes and comes within `time`.
    pub async fn read(&mut self, most: usize, time: Duration) -> Result<Bytes, BodyError> {
        timeout(time, self.collect(most)).await.unwrap_or(Err(BodyError::Slow(time)))
    }

    /// The whole body, decompressed when it came so. `most_decoded` bounds what it may become.
    pub async fn read_decoded(
        &mut self,
        headers: &HeaderMap,
        most: usize,
        most_decoded: usize,
        time: Duration,
    ) -> Result<Bytes, BodyError> {
        let body = self.read(most, time).await?;
        match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"" | b"identity") => Ok(body),
            Some(b"gzip") => decompress(&body, most_decoded),
            Some(other) => Err(BodyError::UnknownEncoding(String::from_utf8_lossy(other).into_owned())),
        }
    }

    /// The next bytes, or `None` at its end. Whoever reads so sees to bounds and to the time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        match self {
            Body::Http1(body) => body.chunk().await,
            Body::Whole(bytes) if bytes.is_empty() => Ok(None),
            Body::Whole(bytes) => Ok(Some(std::mem::take(bytes))),
            Body::Http2(body) => match body.frame().await {
                None => Ok(None),
                Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
                Some(Err(error)) => Err(BodyError::Broken(error.to_string())),
            },
        }
    }

    async fn collect(&mut self, most: usize) -> Result<Bytes, BodyError> {
        let mut whole = BytesMut::new();
        loop {
            let Some(chunk) = self.chunk().await? else { return Ok(whole.freeze()) };
            if chunk.len() > most - whole.len() {
                return Err(BodyError::TooLarge(most));
            }
            whole.extend_from_slice(&chunk);
        }
    }
}

fn decompress(body: &[u8], most: usize) -> Result<Bytes, BodyError> {
    let mut decoded = Vec::with_capacity((body.len() * 3).min(most));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = MultiGzDecoder::new(body).take(limit);
    reader.read_to_end(&mut decoded).map_err(|error| BodyError::NotGzip(error.to_string()))?;
    if decoded.len() > most {
        return Err(BodyError::TooLarge(most));
    }
    Ok(decoded.into())
}
