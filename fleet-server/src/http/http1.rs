//! HTTP/1.1, for connections that mostly wait.

mod body;
mod head;
mod write;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

pub(super) use body::Http1Body;
use body::Owner;
use head::{Head, HeadError};

use super::response::{Outcome, Response, TakeOver, Upgrade};
use super::serve::{Ending, Limits};
use super::transport::Transport;
use super::{Body, Handler};

/// The room for a request's head and what comes with it, at first.
const FIRST_READ: usize = 2048;
/// A body that nobody wanted is read on up to this, so that the connection can be used again.
const MOST_UNWANTED: usize = 64 * 1024;

/// At the end of a connection this much is read at most.
const MOST_LINGERING: usize = 16 * 1024 * 1024;

/// One connection.
pub(super) struct Connection<H> {
    transport: Transport,
    handler: Arc<H>,
    limits: Arc<Limits>,
    peer: Option<IpAddr>,
    /// What was read and not yet used. Without memory while the connection waits.
    buffer: BytesMut,
    ending: Ending,
}

/// What to do with the connection.
enum Next {
    Request,
    Close,
    Upgrade(TakeOver),
}

impl<H: Handler> Connection<H> {
    pub(super) fn new(
        transport: Transport,
        handler: Arc<H>,
        limits: Arc<Limits>,
        peer: Option<IpAddr>,
        ending: Ending,
    ) -> Connection<H> {
        Connection { transport, handler, limits, peer, buffer: BytesMut::new(), ending }
    }

    /// Serves requests until either side ends it.
    pub(super) async fn run(mut self) {
        loop {
            match self.one().await {
                Ok(Next::Request) => {}
                Ok(Next::Upgrade(then)) => return then(self.transport, self.buffer.freeze()).await,
                Ok(Next::Close) | Err(_) => break,
            }
        }
        let _ = timeout(self.limits.linger, self.end()).await;
    }

    /// Ends the connection so that the last answer arrives: what the client still sends is read for a while,
    /// because closing a socket with unread bytes in it resets the connection and takes the answer with it.
    async fn end(&mut self) -> io::Result<()> {
        self.transport.shutdown().await?;
        let mut left = MOST_LINGERING;
        let mut unwanted = vec![0; 16 * 1024];
        loop {
            match self.transport.read(&mut unwanted).await? {
                0 => return Ok(()),
                count if count > left => return Ok(()),
                count => left -= count,
            }
        }
    }

    /// Waits for a request and answers it. What it needs meanwhile is in a box of its own, so that a connection
    /// that waits is small.
    async fn one(&mut self) -> io::Result<Next> {
        if self.buffer.is_empty() && !self.wait_for_byte().await? {
            return Ok(Next::Close);
        }
        let (held, close) = match Box::pin(self.exchange()).await? {
            Exchanged::Done(next) => return Ok(next),
            Exchanged::Held(held, close) => (held, close),
        };
        let Some(response) = self.hold(held).await? else { return Ok(Next::Close) };
        Box::pin(self.answer(response, close)).await
    }

    /// Whether a request begins; `false`: the client has ended the connection, or it was idle for too long.
    async fn wait_for_byte(&mut self) -> io::Result<bool> {
        self.buffer = BytesMut::new();
        let mut byte = [0];
        let read = tokio::select! {
            read = timeout(self.limits.idle, self.transport.read(&mut byte)) => read,
            () = self.ending.end.cancelled() => return Ok(false),
        };
        match read {
            Ok(Ok(1)) => {
                self.buffer.reserve(FIRST_READ);
                self.buffer.extend_from_slice(&byte);
                Ok(true)
            }
            Ok(Ok(_)) | Err(_) => Ok(false),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Waits for a held answer. `None`: the client went away.
    async fn hold(&mut self, mut held: BoxFuture<'static, Response>) -> io::Result<Option<Response>> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            let mut byte = [0];
            tokio::select! {
                response = &mut held => return Ok(Some(response)),
                read = self.transport.read(&mut byte) => match read? {
                    0 => return Ok(None),
                    _ => self.buffer.extend_from_slice(&byte),
                },
            }
        }
        // The next request has come already: nobody can tell any more whether the client is there.
        Ok(Some(held.await))
    }

    async fn exchange(&mut self) -> io::Result<Exchanged> {
        let head = match timeout(self.limits.read_header, self.read_head()).await {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => return self.refuse(error).await,
            Err(_) => return self.refuse(HeadError::Slow).await,
        };
        let close = !head.keep_alive;
        let Connection { transport, handler, buffer, .. } = self;
        let mut body = Owner::new(transport, buffer, head.length, head.expects_continue);
        let mut request = head.request;
        request.peer = self.peer;
        request.is_encrypted = body.is_encrypted();
        let outcome = handler.handle(request, Body::Http1(body.borrow())).await;
        let close = close || !body.discard(MOST_UNWANTED, self.limits.read).await;
        match outcome {
            Outcome::Answer(response) => self.answer(response, close).await.map(Exchanged::Done),
            Outcome::Hold(held) => Ok(Exchanged::Held(held, close)),
            Outcome::Upgrade(Upgrade { response, then }) => {
                write::response(&mut self.transport, response, false, self.limits.write_chunk).await?;
                Ok(Exchanged::Done(Next::Upgrade(then)))
            }
        }
    }

    async fn read_head(&mut self) -> Result<Head, HeadError> {
        loop {
            if let Some((head, length)) = head::parse(&self.buffer, self.limits.max_header_bytes)? {
                self.buffer.advance(length);
                return Ok(head);
            }
            if self.transport.read_buf(&mut self.buffer).await.map_err(HeadError::Io)? == 0 {
                return Err(HeadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    async fn refuse(&mut self, error: HeadError) -> io::Result<Exchanged> {
        let status = match error {
            HeadError::Io(error) => return Err(error),
            HeadError::Slow => StatusCode::REQUEST_TIMEOUT,
            HeadError::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            HeadError::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        let text = format!("{error}\n");
        let response = Response::empty(status).with_body("text/plain; charset=utf-8", text.into());
        self.answer(response, true).await.map(Exchanged::Done)
    }

    async fn answer(&mut self, response: Response, close: bool) -> io::Result<Next> {
        let close = close || response.close || self.ending.drain.is_cancelled();
        let written = write::response(&mut self.transport, response, close, self.limits.write_chunk);
        written.await?;
        Ok(if close { Next::Close } else { Next::Request })
    }
}

enum Exchanged {
    Done(Next),
    Held(BoxFuture<'static, Response>, bool),
}
