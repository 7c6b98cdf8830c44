//! Writing an answer.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::http::Response;

/// Bytes that are written at a time: a few records of TLS.
const CHUNK: usize = 32 * 1024;
/// A turn is given back after this long even when the client is too slow to read.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// Writes an answer. Each [`CHUNK`] must be taken within `time`, so that who does not read holds nothing for
/// long.
pub(super) async fn response<W: AsyncWrite + Unpin>(
    writer: &mut W,
    response: Response,
    close: bool,
    time: Duration,
) -> io::Result<()> {
    let mut rest = message(&response, close)?;
    let turn = response.turn;
    let writing = async {
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            timeout(time, writer.write_all(&chunk)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        }
        timeout(time, writer.flush()).await.map_err(|_| io::ErrorKind::TimedOut)?
    };
    tokio::pin!(writing);
    if turn.is_some() {
        if let Ok(written) = timeout(LONGEST_TURN, &mut writing).await {
            return written;
        }
        drop(turn);
    }
    writing.await
}

/// The whole message in one piece: one record of TLS, one packet, where it is small.
fn message(response: &Response, close: bool) -> io::Result<Bytes> {
    let length = response.length();
    let mut message = Vec::with_capacity(256 + length);
    let reason = response.status.canonical_reason().unwrap_or_default();
    write!(message, "HTTP/1.1 {} {reason}\r\n", response.status.as_u16())?;
    for (name, value) in &response.headers {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::SWITCHING_PROTOCOLS];
    if !has_none.contains(&response.status) {
        write!(message, "content-length: {length}\r\n")?;
    }
    if close {
        message.extend_from_slice(b"connection: close\r\n");
    }
    message.extend_from_slice(b"\r\n");
    for piece in &response.body {
        message.extend_from_slice(piece);
    }
    Ok(message.into())
}
