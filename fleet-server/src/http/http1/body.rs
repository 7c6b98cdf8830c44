//! Reading the body of a request.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::http::BodyError;
use crate::http::transport::Transport;

/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;
/// The longest line of a chunked body: a chunk's size with its extensions, or a trailer.
const LONGEST_LINE: usize = 1024;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// After so many bytes.
    Known(u64),
    /// In chunks that say how long they are.
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// So many bytes, and then the end.
    Bytes(u64),
    /// So many bytes of a chunk, and then its line end.
    Chunk(u64),
    /// A line with the size of a chunk.
    Size,
    /// Lines up to an empty one.
    Trailer,
    /// Nothing.
    End,
}

/// The body of a request of HTTP/1.1.
pub struct Http1Body<'a> {
    transport: &'a mut Transport,
    buffer: &'a mut BytesMut,
    state: &'a mut State,
}

struct State {
    rest: Rest,
    /// The client waits for a sign before it sends.
    expects_continue: bool,
    broken: bool,
}

/// Owns what a body is read with, so that what a handler has left of it can be dropped.
pub(super) struct Owner<'a> {
    transport: &'a mut Transport,
    buffer: &'a mut BytesMut,
    state: State,
}

impl<'a> Owner<'a> {
    pub(super) fn new(
        transport: &'a mut Transport,
        buffer: &'a mut BytesMut,
        length: Length,
        expects_continue: bool,
    ) -> Owner<'a> {
        let rest = match length {
            Length::Known(0) => Rest::End,
            Length::Known(bytes) => Rest::Bytes(bytes),
            Length::Chunked => Rest::Size,
        };
        Owner { transport, buffer, state: State { rest, expects_continue, broken: false } }
    }
}

impl Http1Body<'_> {
    /// The next part of the body, or `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let result = self.try_chunk().await;
        self.state.broken |= result.is_err();
        result
    }

    async fn try_chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.state.expects_continue && self.state.rest != Rest::End {
            self.state.expects_continue = false;
            self.transport
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .map_err(|error| broken(&error))?;
            self.transport.flush().await.map_err(|error| broken(&error))?;
        }
        loop {
            match self.state.rest {
                Rest::End => return Ok(None),
                Rest::Bytes(rest) => {
                    let bytes = self.take(rest).await?;
                    let rest = rest - bytes.len() as u64;
                    self.state.rest = if rest == 0 { Rest::End } else { Rest::Bytes(rest) };
                    return Ok(Some(bytes));
                }
                Rest::Chunk(0) => {
                    if !self.line().await?.is_empty() {
                        return Err(malformed("a chunk is longer than it says"));
                    }
                    self.state.rest = Rest::Size;
                }
                Rest::Chunk(rest) => {
                    let bytes = self.take(rest).await?;
                    self.state.rest = Rest::Chunk(rest - bytes.len() as u64);
                    return Ok(Some(bytes));
                }
                Rest::Size => {
                    let line = self.line().await?;
                    self.state.rest = match size(&line)? {
                        0 => Rest::Trailer,
                        size => Rest::Chunk(size),
                    };
                }
                Rest::Trailer => {
                    if self.line().await?.is_empty() {
                        self.state.rest = Rest::End;
                    }
                }
            }
        }
    }

    /// At least one byte, and no more than `most`.
    async fn take(&mut self, most: u64) -> Result<Bytes, BodyError> {
        if self.buffer.is_empty() {
            self.buffer.reserve(CHUNK.min(usize::try_from(most).unwrap_or(CHUNK)));
            self.fill().await?;
        }
        let length = self.buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn line(&mut self) -> Result<Bytes, BodyError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                let line = line.slice(..end);
                return Ok(if line.ends_with(b"\r") { line.slice(..end - 1) } else { line });
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(malformed("a line of a chunked body is too long"));
            }
            self.buffer.reserve(LONGEST_LINE);
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), BodyError> {
        match self.transport.read_buf(self.buffer).await {
            Ok(0) => Err(broken(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }
}

impl Owner<'_> {
    pub(super) fn borrow(&mut self) -> Http1Body<'_> {
        Http1Body { transport: self.transport, buffer: self.buffer, state: &mut self.state }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.transport.is_encrypted()
    }

    /// Reads and drops the rest of the body, if that is little. `false`: the connection cannot be used again.
    pub(super) async fn discard(&mut self, most: usize, time: Duration) -> bool {
        let mut body = self.borrow();
        // A client that waits for a sign has sent nothing yet, and will not once it is answered.
        if body.state.rest != Rest::End && body.state.expects_continue {
            return false;
        }
        let all = async {
            let mut left = most;
            while let Ok(chunk) = body.chunk().await {
                let Some(chunk) = chunk else { return true };
                let Some(rest) = left.checked_sub(chunk.len()) else { return false };
                left = rest;
            }
            false
        };
        let is_read = timeout(time, all).await.unwrap_or(false);
        is_read && !self.state.broken
    }
}

fn size(line: &[u8]) -> Result<u64, BodyError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    size.ok_or_else(|| malformed("the size of a chunk is no number"))
}

fn broken(error: &io::Error) -> BodyError {
    BodyError::Broken(error.to_string())
}

fn malformed(text: &str) -> BodyError {
    BodyError::Broken(text.to_owned())
}
