//! An engine that takes everything and counts: what is measured is who ships, not who stores.
//!
//! It speaks as much of `_bulk` as agent and rsyslog need, and as much of OTLP over HTTP as a collector needs.

use std::convert::Infallible;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::lines::MARK;
use crate::error::BenchError;

/// A request has some MB; of an unpacked one no more is looked at.
const LARGEST: usize = 256 << 20;

const ITEM: &str = r#"{"create":{"_index":"bench","_id":"1","_version":1,"status":201}}"#;
const ABOUT: &str = r#"{"name":"sink","cluster_name":"sink","version":{"number":"8.17.0","lucene_version":"9.12.0"},"tagline":"You Know, for Search"}"#;

/// A sink that listens until the program ends.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    pub(super) port: u16,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    lines: AtomicU64,
    bytes: AtomicU64,
}

impl Sink {
    /// Listens on a free port of 127.0.0.1.
    pub(super) async fn start() -> Result<Sink, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(BenchError::file("bind a port of", "127.0.0.1"))?;
        let port = listener.local_addr().map_err(BenchError::file("ask a port of", "127.0.0.1"))?.port();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&counts)));
                    // Who breaks off, sends again.
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Ok(Sink { port, counts })
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lines of the benchmark that have arrived, ever.
    pub(super) fn lines(&self) -> u64 {
        self.counts.lines.load(Ordering::Relaxed)
    }

    /// Bytes of requests that have arrived, unpacked.
    pub(super) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

async fn answer(
    request: Request<Incoming>,
    counts: Arc<Counts>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let is_bulk = path.ends_with("/_bulk");
    if head.method != Method::POST || !(is_bulk || path == "/v1/logs") {
        return Ok(respond(StatusCode::OK, "application/json", ABOUT));
    }
    let Ok(body) = Limited::new(body, LARGEST).collect().await else {
        return Ok(respond(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", ""));
    };
    let body = body.to_bytes();
    let is_packed = head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let body = if is_packed { unpack(&body) } else { Some(body) };
    let Some(body) = body else { return Ok(respond(StatusCode::BAD_REQUEST, "text/plain", "")) };
    let found = memchr::memmem::find_iter(&body, MARK).count() as u64;
    counts.lines.fetch_add(found, Ordering::Relaxed);
    counts.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    if !is_bulk {
        return Ok(respond(StatusCode::OK, "application/x-protobuf", ""));
    }
    let documents = memchr::memchr_iter(b'\n', &body).count() / 2;
    let items = vec![ITEM; documents].join(",");
    Ok(respond(
        StatusCode::OK,
        "application/json",
        format!("{{\"took\":1,\"errors\":false,\"items\":[{items}]}}"),
    ))
}

fn unpack(packed: &[u8]) -> Option<Bytes> {
    let mut plain = Vec::with_capacity(packed.len() * 8);
    MultiGzDecoder::new(packed).take(LARGEST as u64).read_to_end(&mut plain).ok()?;
    Some(plain.into())
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert("x-elastic-product", hyper::header::HeaderValue::from_static("Elasticsearch"));
    response
}
