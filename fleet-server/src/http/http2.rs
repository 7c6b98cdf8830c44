//! HTTP/2, by hyper.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, MapOk, StreamExt, TryStreamExt};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc;
use tracing::debug;

use super::response::{Outcome, Response, ResponseBody, Streamed};
use super::serve::{Ending, Limits};
use super::transport::Transport;
use super::{Body, Handler, Request};

/// The most requests at a time of one connection. An agent has two; a proxy in front of many has more.
const MOST_STREAMS: u32 = 250;

type Pieces = BoxStream<'static, io::Result<Bytes>>;
/// The turn of an answer is over once HTTP/2 has it: its own flow control holds back what the client does not
/// take.
type Answer = http::Response<StreamBody<MapOk<Pieces, fn(Bytes) -> Frame<Bytes>>>>;

/// Serves a connection until either side ends it.
pub(super) async fn serve<H: Handler>(
    transport: Transport,
    handler: Arc<H>,
    limits: Arc<Limits>,
    peer: Option<IpAddr>,
    ending: Ending,
) {
    let is_encrypted = transport.is_encrypted();
    let time = limits.write_chunk;
    let service = service_fn(move |request: http::Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move {
            let (parts, body) = request.into_parts();
            let request = Request {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                headers: parts.headers,
                peer,
                is_encrypted,
            };
            let response = match handler.handle(request, Body::Http2(body)).await {
                Outcome::Answer(response) => response,
                Outcome::Hold(held) => held.await,
                // A stream of HTTP/2 has no such thing.
                Outcome::Upgrade(_) => Response::empty(StatusCode::NOT_IMPLEMENTED),
            };
            Ok::<Answer, Infallible>(answer(response, time))
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.read_header);
    let connection = builder.serve_connection(TokioIo::new(transport), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(error = &error as &dyn std::error::Error, "a connection of HTTP/2 broke");
    }
}

fn answer(response: Response, time: Duration) -> Answer {
    let length = response.body.length();
    let pieces: Pieces = match response.body {
        ResponseBody::Pieces(pieces) => stream::iter(pieces.into_iter().map(Ok)).boxed(),
        ResponseBody::Stream(streamed) => paced(*streamed, time),
    };
    let frame: fn(Bytes) -> Frame<Bytes> = Frame::data;
    let mut answer = http::Response::new(StreamBody::new(pieces.map_ok(frame)));
    *answer.status_mut() = response.status;
    for (name, value) in response.headers {
        answer.headers_mut().append(name, value);
    }
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    answer
}

/// The pieces of a body, each of which must be taken within `time`: flow control alone would let a client that
/// takes nothing hold what the body holds for as long as it likes.
fn paced(mut streamed: Streamed, time: Duration) -> Pieces {
    let (sender, receiver) = mpsc::channel(1);
    let length = streamed.length;
    tokio::spawn(async move {
        while let Some(piece) = streamed.pieces.next().await {
            if sender.send_timeout(piece, time).await.is_err() {
                return;
            }
        }
    });
    let pieces = stream::unfold((receiver, length), |(mut receiver, left)| async move {
        let piece: io::Result<Bytes> = match receiver.recv().await {
            Some(piece) => piece,
            None if left == 0 => return None,
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let left = left.saturating_sub(piece.as_ref().map_or(left, |piece| piece.len() as u64));
        Some((piece, (receiver, left)))
    });
    pieces.boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    fn streamed(length: u64, pieces: Vec<io::Result<Bytes>>, held: &Arc<()>) -> Streamed {
        let held = Arc::clone(held);
        let pieces = stream::iter(pieces).inspect(move |_| drop(Arc::clone(&held)));
        Streamed { length, pieces: pieces.boxed() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_holds_nothing_for_long() {
        let held = Arc::new(());
        let piece = || Ok(Bytes::from_static(b"ab"));
        let body = streamed(8, vec![piece(), piece(), piece(), piece()], &held);
        let mut pieces = paced(body, TIME);
        tokio::time::sleep(TIME * 2).await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(pieces.next().await.unwrap().is_ok());
        let short = pieces.next().await.unwrap();
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_all_has_all() {
        let held = Arc::new(());
        let body = streamed(3, vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))], &held);
        let pieces: Vec<Bytes> = paced(body, TIME).try_collect().await.unwrap();
        assert_eq!(pieces.concat(), b"abc");
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
