//! Fetching something from another server, over HTTP or HTTPS, through a proxy if there is one.

mod proxy;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fleet_service::tls::TlsError;
use fleet_service::tls::client;
use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub(crate) use proxy::Proxy;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none.
    #[error("{0:?} is not a URL with http:// or https:// and a host")]
    Url(String),
    /// Nobody listens there, or it cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The proxy does not let it through.
    #[error("the proxy answers {0}")]
    Proxy(u16),
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
    let request = Request::get(url).body(Bytes::new()).map_err(|_| FetchError::Url(url.to_owned()))?;
    let response = send(request, system, most, time).await?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(FetchError::Status(status)),
    }
}

/// Trusts the authorities of the system.
async fn system() -> Result<Arc<ClientConfig>, FetchError> {
    let config = tokio::task::spawn_blocking(client::system).await;
    let config =
        config.map_err(|error| FetchError::Connect { address: "TLS".into(), source: error.into() })?;
    config.map_err(|error| FetchError::Tls(Box::new(error)))
}

/// Sends a request and answers what came, whatever its status: at most `most` bytes within `time`. `tls` is asked
/// for if the address begins with `https://`.
pub(crate) async fn send<F>(
    request: Request<Bytes>,
    tls: impl FnOnce() -> F,
    most: usize,
    time: Duration,
) -> Result<Response<Bytes>, FetchError>
where
    F: Future<Output = Result<Arc<ClientConfig>, FetchError>>,
{
    timeout(time, send_for(request, tls, None, most)).await.unwrap_or(Err(FetchError::Slow(time)))
}

/// The same, through a proxy if there is one, and with a TLS configuration that is there already.
pub(crate) async fn send_through(
    proxy: Option<&Proxy>,
    request: Request<Bytes>,
    tls: Option<&Arc<ClientConfig>>,
    most: usize,
    time: Duration,
) -> Result<Response<Bytes>, FetchError> {
    let tls = async || match tls {
        Some(config) => Ok(Arc::clone(config)),
        None => system().await,
    };
    timeout(time, send_for(request, tls, proxy, most)).await.unwrap_or(Err(FetchError::Slow(time)))
}

async fn send_for<F>(
    request: Request<Bytes>,
    tls: impl FnOnce() -> F,
    proxy: Option<&Proxy>,
    most: usize,
) -> Result<Response<Bytes>, FetchError>
where
    F: Future<Output = Result<Arc<ClientConfig>, FetchError>>,
{
    let uri = request.uri().clone();
    let not_a_url = || FetchError::Url(uri.to_string());
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(not_a_url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(not_a_url()),
    };
    let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    let first = proxy.map_or((host, port), |proxy| (proxy.host.as_str(), proxy.port));
    let connect = |source| FetchError::Connect { address: format!("{}:{}", first.0, first.1), source };
    let mut tcp = TcpStream::connect(first).await.map_err(connect)?;
    if !is_encrypted {
        let request = match proxy {
            Some(proxy) => for_proxy(request, proxy)?,
            None => in_origin_form(request)?,
        };
        return exchange(tcp, request, most).await;
    }
    if let Some(proxy) = proxy {
        proxy.tunnel(&mut tcp, host, port).await?;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| not_a_url())?;
    let tls = TlsConnector::from(tls().await?).connect(name, tcp).await.map_err(connect)?;
    exchange(tls, in_origin_form(request)?, most).await
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Response<Bytes>, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        let (head, mut body) = response.into_parts();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(FetchError::Http)?.into_data().unwrap_or_default();
            if data.len() > most - whole.len() {
                return Err(FetchError::TooLarge(most));
            }
            whole.extend_from_slice(&data);
        }
        Ok(Response::from_parts(head, whole.freeze()))
    };
    tokio::pin!(exchange);
    // The connection moves what the exchange waits for, and may end before the exchange has looked at all of it.
    tokio::select! {
        result = &mut exchange => result,
        _ = connection => exchange.await,
    }
}

/// The request with a path and a `Host`, as a server that is no proxy gets it (RFC 9112, 3.2.1).
fn in_origin_form(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, FetchError> {
    let (mut head, body) = request.into_parts();
    let not_a_url = || FetchError::Url(head.uri.to_string());
    let host =
        head.uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let host = HeaderValue::try_from(host.unwrap_or_default()).map_err(|_| not_a_url())?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse();
    head.uri = path.map_err(|_| not_a_url())?;
    head.headers.insert(HOST, host);
    let agent = concat!("fleet-server/", env!("CARGO_PKG_VERSION"));
    head.headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    Ok(Request::from_parts(head, Full::new(body)))
}

/// The request with its whole address, as a proxy gets it (RFC 9112, 3.2.2).
fn for_proxy(request: Request<Bytes>, proxy: &Proxy) -> Result<Request<Full<Bytes>>, FetchError> {
    let uri = request.uri().clone();
    let mut request = in_origin_form(request)?;
    *request.uri_mut() = uri;
    if let Some(authorization) = &proxy.authorization {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    Ok(request)
}
