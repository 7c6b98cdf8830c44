//! Writing an answer.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::http::{Response, ResponseBody, Streamed};

/// Bytes that are written at a time: a few records of TLS.
const CHUNK: usize = 32 * 1024;
/// A turn is given back after this long even when the client is too slow to read.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// Answers up to this size are written in one piece with their head: one record of TLS, one packet, where they
/// are small.
const ONE_PIECE: u64 = 256 * 1024;

/// A time of day in a head (RFC 9110, 5.6.7).
const DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Writes an answer. Each [`CHUNK`] must be taken within `time`, so that who does not read holds nothing for
/// long.
pub(super) async fn response<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut response: Response,
    close: bool,
    time: Duration,
) -> io::Result<()> {
    let turn = response.turn.take();
    let writing = write(writer, response, close, time);
    tokio::pin!(writing);
    if turn.is_some() {
        if let Ok(written) = timeout(LONGEST_TURN, &mut writing).await {
            return written;
        }
        drop(turn);
    }
    writing.await
}

async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    response: Response,
    close: bool,
    time: Duration,
) -> io::Result<()> {
    let length = response.body.length();
    let mut message = head(&response, close)?;
    match response.body {
        ResponseBody::Pieces(pieces) if length <= ONE_PIECE => {
            for piece in pieces {
                message.extend_from_slice(&piece);
            }
            bytes(writer, message.into(), time).await?;
        }
        ResponseBody::Pieces(pieces) => {
            bytes(writer, message.into(), time).await?;
            for piece in pieces {
                bytes(writer, piece, time).await?;
            }
        }
        ResponseBody::Stream(mut streamed) => {
            bytes(writer, message.into(), time).await?;
            stream(writer, &mut streamed, time).await?;
        }
    }
    timeout(time, writer.flush()).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn stream<W: AsyncWrite + Unpin>(
    writer: &mut W,
    streamed: &mut Streamed,
    time: Duration,
) -> io::Result<()> {
    let mut left = streamed.length;
    while let Some(piece) = streamed.pieces.next().await {
        let piece = piece?;
        left = left.checked_sub(piece.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        bytes(writer, piece, time).await?;
    }
    if left == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn bytes<W: AsyncWrite + Unpin>(writer: &mut W, mut rest: Bytes, time: Duration) -> io::Result<()> {
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK));
        timeout(time, writer.write_all(&chunk)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    Ok(())
}

/// The message up to its body, with room for a body that goes with it.
fn head(response: &Response, close: bool) -> io::Result<Vec<u8>> {
    let length = response.body.length();
    let room = match &response.body {
        ResponseBody::Pieces(_) if length <= ONE_PIECE => usize::try_from(length).unwrap_or(0),
        _ => 0,
    };
    let mut message = Vec::with_capacity(256 + room);
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
    // An agent goes by this clock with what its server has put off, whatever its own is set to.
    message.extend_from_slice(b"date: ");
    OffsetDateTime::now_utc().format_into(&mut message, DATE).map_err(io::Error::other)?;
    message.extend_from_slice(b"\r\n");
    if close {
        message.extend_from_slice(b"connection: close\r\n");
    }
    message.extend_from_slice(b"\r\n");
    Ok(message)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use time::format_description::well_known::Rfc2822;

    use super::*;

    const TIME: Duration = Duration::from_secs(1);

    async fn written(answer: Response) -> (io::Result<()>, String) {
        let mut written = Vec::new();
        let outcome = response(&mut written, answer, false, TIME).await;
        (outcome, String::from_utf8(written).unwrap())
    }

    fn streamed(length: u64, pieces: Vec<io::Result<Bytes>>) -> Response {
        Response::empty(StatusCode::OK).with_stream(length, stream::iter(pieces).boxed())
    }

    #[tokio::test]
    async fn a_body_comes_from_a_stream() {
        let pieces = vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::new()), Ok(Bytes::from_static(b"c"))];
        let (outcome, text) = written(streamed(3, pieces)).await;
        outcome.unwrap();
        let (head, rest) = text.split_once("date: ").unwrap();
        let (date, rest) = rest.split_once("\r\n").unwrap();
        assert_eq!((head, rest), ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n", "\r\nabc"));
        let told = OffsetDateTime::parse(date, &Rfc2822).unwrap();
        assert!((OffsetDateTime::now_utc() - told).abs() < Duration::from_secs(60), "{date}");
    }

    #[tokio::test]
    async fn a_stream_that_is_not_what_it_says_breaks_the_connection() {
        let piece = || Ok(Bytes::from_static(b"ab"));
        let short = written(streamed(3, vec![piece()])).await.0;
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (long, text) = written(streamed(3, vec![piece(), piece()])).await;
        assert_eq!(long.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(text.ends_with("\r\n\r\nab"), "{text}");
        let failed = written(streamed(3, vec![piece(), Err(io::ErrorKind::Other.into())])).await.0;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
    }

    #[tokio::test]
    async fn large_pieces_follow_their_head() {
        let large = Bytes::from(vec![b'x'; 300 * 1024]);
        let (outcome, text) =
            written(Response::empty(StatusCode::OK).with_pieces(vec![large, Bytes::from_static(b"y")])).await;
        outcome.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\ncontent-length: 307201\r\n"), "{head}");
        assert!(body.len() == 307_201 && body.ends_with('y'));
    }
}
