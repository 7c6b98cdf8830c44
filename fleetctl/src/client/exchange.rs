//! Requests to the API and its answers, over a connection or in this process.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::transport::TransportError;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Whoever answers requests.
#[async_trait::async_trait]
pub(crate) trait Exchange: Send + Sync {
    /// Sends one request and reads its answer.
    async fn send(&self, method: &Method, path: &str, body: Option<Bytes>) -> Result<Answer, TransportError>;

    /// How many requests may be under way at the same time.
    fn concurrency(&self) -> usize;
}
