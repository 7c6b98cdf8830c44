//! An answer that comes in pieces for as long as the server has something to say.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;

use super::transport::TransportError;

/// A server that says nothing for so long is gone: it sends something every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The pieces of an answer.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(super) status: StatusCode,
    pub(super) body: Incoming,
    pub(super) endpoint: String,
}

impl Pieces {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The next piece; nothing: the answer is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| TransportError::Timeout {
                endpoint: self.endpoint.clone(),
                seconds: SILENCE_MAX.as_secs_f64(),
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| TransportError::Body { source: source.into() })?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }
}
