//! One connection: bytes in, messages out, until its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::framing::{Framing, Splitter};
use super::shared::{NoRoom, Shared};
use crate::outlet::Closed;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// How connections are read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) framing: Framing,
    /// The longest message.
    pub(super) most: usize,
    /// How long nothing may come before a connection is closed.
    pub(super) idle: Duration,
}

/// Why a connection ended before its client ended it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// Too much is held.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The input stops.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Reads until the client is done. While the output has no room nothing is read, which the client's side notices.
pub(super) async fn serve<S: AsyncRead + Unpin>(
    mut socket: S,
    source: &str,
    reading: &Reading,
    shared: &Arc<Shared>,
) -> Result<(), Ended> {
    let mut splitter = Splitter::new(reading.framing.clone(), reading.most);
    let mut buffer = BytesMut::new();
    let mut room = None;
    let mut batch = shared.context.batch();
    let ended = loop {
        shared.grow(&mut room, buffer.len() + CHUNK)?;
        buffer.reserve(CHUNK);
        let mut chunk = (&mut socket).take(CHUNK as u64);
        let read = tokio::select! {
            biased;
            read = tokio::time::timeout(reading.idle, chunk.read_buf(&mut buffer)) => read,
            () = shared.context.stop.cancelled() => return Err(Closed.into()),
        };
        match read {
            Err(_) => break Err(Ended::Idle(reading.idle)),
            Ok(Err(error)) => break Err(Ended::Broken(error)),
            Ok(Ok(0)) => break Ok(()),
            Ok(Ok(_)) => {}
        }
        while let Some(frame) = splitter.next(&mut buffer) {
            let bytes = trimmed(&reading.framing, &frame.bytes);
            shared.push(&mut batch, bytes, frame.truncated, source).await?;
        }
        shared.flush(&mut batch).await?;
        if buffer.is_empty() {
            // What a long message took is given back; a connection that is quiet holds nothing.
            buffer = BytesMut::new();
        }
    };
    if let Some(frame) = splitter.finish(&mut buffer) {
        shared.push(&mut batch, trimmed(&reading.framing, &frame.bytes), frame.truncated, source).await?;
        shared.flush(&mut batch).await?;
    }
    ended
}

/// Where lines end with a line feed, what stands before it may be a carriage return.
fn trimmed<'a>(framing: &Framing, bytes: &'a [u8]) -> &'a [u8] {
    match framing {
        Framing::Delimiter(delimiter) if delimiter != b"\n" => bytes,
        _ => bytes.strip_suffix(b"\r").unwrap_or(bytes),
    }
}
