//! Requests to the provider.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_service::tls::{Pem, client};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::ClientConfig;
use tokio::sync::OnceCell;

use crate::upstream::{FetchError, send};

/// The largest answer of a provider in bytes: its keys are some kilobytes.
const LARGEST: usize = 1024 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends requests, and follows no redirection: that could lead to where only we can reach.
#[derive(Debug)]
pub(super) struct Http {
    ca: Option<PathBuf>,
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Http {
    /// Trusts the authorities in this file, or the system's.
    pub(super) fn new(ca: Option<PathBuf>) -> Http {
        Http { ca, tls: OnceCell::new() }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let tls = || async { self.tls.get_or_try_init(|| self.read_tls()).await.cloned() };
        let answer = send(request.map(Bytes::from), tls, LARGEST, PATIENCE).await?;
        Ok(answer.map(Vec::from))
    }

    async fn read_tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        let authorities: Vec<Pem> = self.ca.iter().cloned().map(Pem::File).collect();
        let read = tokio::task::spawn_blocking(move || client::trusting(&authorities)).await;
        let read =
            read.map_err(|error| FetchError::Connect { address: "TLS".into(), source: error.into() })?;
        read.map_err(|error| FetchError::Tls(Box::new(error)))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
