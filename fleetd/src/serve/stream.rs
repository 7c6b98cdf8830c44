//! A connection whose other end cannot hold it for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A client that takes nothing of its answer for this time is cut off.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long a closed connection still takes, and drops, what its client sends.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// A stream that bounds two waits which the client decides on.
///
/// * *Writing*: a client that does not read its answer is cut off.
/// * *Closing*: a client that still sends when it has its answer (its body is too large) would lose that
///   answer, because the kernel resets a connection that is closed with unread data. So the sending half is
///   closed first, and what still comes is dropped until the client closes too.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    timer: Pin<Box<Sleep>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A write waits for the client; the timer runs.
    Stalled,
    /// The sending half is closed; the timer runs.
    Lingering,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bounded<S> {
    pub(super) fn new(stream: S) -> Bounded<S> {
        Bounded { stream, timer: Box::pin(tokio::time::sleep(Duration::ZERO)), state: State::Open }
    }

    fn start_timer(&mut self, state: State, most: Duration) {
        self.timer.as_mut().reset(Instant::now() + most);
        self.state = state;
    }

    /// Passes on how a write went, unless the client has let it wait for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match (written.is_ready(), self.state) {
            // Once lingering, always: hyper flushes again and again while it closes.
            (_, State::Lingering) => return written,
            (true, _) => {
                self.state = State::Open;
                return written;
            }
            (false, State::Open) => self.start_timer(State::Stalled, STALL_MAX),
            (false, State::Stalled) => {}
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }

    /// Drops what comes, until the end of it.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut dropped = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state != State::Lingering {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.start_timer(State::Lingering, LINGER_MAX);
        }
        // The timer goes first: a client that sends without end must not keep the task busy.
        if self.timer.as_mut().poll(context).is_pending() {
            ready!(self.drain(context));
        }
        Poll::Ready(Ok(()))
    }
}
