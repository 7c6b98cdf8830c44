//! Fetching something small from another server, over HTTP or HTTPS.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fleet_service::tls::TlsError;
use fleet_service::tls::client;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The address is none.
    #[error("{0:?} is not a URL with http:// or https:// and a host")]
    Url(String),
    /// Nobody listens there, or it cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    /// There is nothing to trust it by.
    #[error("TLS cannot be used")]
    Tls(#[source] Box<TlsError>),
    /// What is there does not speak HTTP, or breaks off.
    #[error("the answer cannot be read")]
    Http(#[source] hyper::Error),
    /// It says no. A redirection is not followed.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// It is larger than it may be.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It takes too long.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
}

/// Fetches at most `most` bytes within `time`.
pub(crate) async fn fetch(url: &str, most: usize, time: Duration) -> Result<Bytes, FetchError> {
    timeout(time, fetch_for(url, most)).await.unwrap_or(Err(FetchError::Slow(time)))
}

async fn fetch_for(url: &str, most: usize) -> Result<Bytes, FetchError> {
    let not_a_url = || FetchError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| not_a_url())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(not_a_url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(not_a_url()),
    };
    let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    let address = || format!("{host}:{port}");
    let connect = |source| FetchError::Connect { address: address(), source };
    let tcp = TcpStream::connect((host, port)).await.map_err(connect)?;
    if !is_encrypted {
        return get(tcp, &uri, most).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| not_a_url())?;
    let config = tokio::task::spawn_blocking(client::system).await;
    let config =
        config.map_err(|error| connect(error.into()))?.map_err(|error| FetchError::Tls(Box::new(error)))?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(connect)?;
    get(tls, &uri, most).await
}

async fn get<S>(stream: S, uri: &Uri, most: usize) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let not_a_url = || FetchError::Url(uri.to_string());
    let host = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, host.unwrap_or_default())
        .header(USER_AGENT, concat!("fleet-server/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| not_a_url())?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = response.into_body();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(FetchError::Http)?.into_data().unwrap_or_default();
            if data.len() > most - whole.len() {
                return Err(FetchError::TooLarge(most));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    tokio::pin!(exchange);
    // The connection moves what the exchange waits for, and may end before the exchange has looked at all of it.
    tokio::select! {
        result = &mut exchange => result,
        _ = connection => exchange.await,
    }
}
