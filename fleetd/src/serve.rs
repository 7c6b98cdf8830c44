//! HTTP over the listeners.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_service::listen::{Listener, Stream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::api::{Answer, Api, BODY_MAX};
use crate::exporter::Exporter;

/// At most this many connections at once; further ones wait in the socket's backlog.
const CONNECTIONS_MAX: usize = 512;
/// A client that has not sent a request's head in this time is cut off, an idle one too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// A client that has not sent a request's body in this time is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What is served: the API of the current configuration, which a reload replaces.
#[derive(Clone, Debug)]
pub struct Site {
    /// The API.
    pub api: watch::Receiver<Arc<Api>>,
    /// `/metrics`.
    pub exporter: Arc<Exporter>,
    /// The `Server` header.
    pub server: HeaderValue,
}

/// Serves connections of `listener` until `stop`; then lets those under way finish.
pub async fn serve(listener: Arc<Listener>, site: Site, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accept = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        let (site, stop) = (site.clone(), stop.clone());
        connections.spawn(async move {
            serve_connection(stream, site, stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: Stream, site: Site, stop: CancellationToken) {
    let service = service_fn(|request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.respond(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "connection ended");
    }
}

impl Site {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let head = request.method() == Method::HEAD;
        let mut response = match request.uri().path() {
            "/metrics" => self.exporter.response(),
            _ => self.answer(request).await,
        };
        response.headers_mut().insert(header::SERVER, self.server.clone());
        if head {
            *response.body_mut() = Bytes::new();
        }
        response.map(Full::new)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Bytes> {
        debug!(method = %request.method(), uri = %request.uri(), "request");
        let (head, body) = request.into_parts();
        let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
        let body = match collected {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("the body is larger than {BODY_MAX} bytes");
                return Answer::failure(StatusCode::PAYLOAD_TOO_LARGE, message).into_response();
            }
            Ok(Err(_)) => {
                return Answer::failure(StatusCode::BAD_REQUEST, "the body was cut off").into_response();
            }
            Err(_) => {
                return Answer::failure(StatusCode::REQUEST_TIMEOUT, "the body took too long")
                    .into_response();
            }
        };
        let api = Arc::clone(&self.api.borrow());
        // The client may hang up; what it asked for is done all the same, not half.
        let answer = tokio::spawn(async move { api.answer(Request::from_parts(head, body)).await });
        match answer.await {
            Ok(answer) => answer.into_response(),
            Err(error) => {
                tracing::error!(%error, "a request's handler failed");
                Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, "").into_response()
            }
        }
    }
}
