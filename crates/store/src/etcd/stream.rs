//! The byte stream below a connection, plain or TLS, with a look at what comes in: when the last bytes came,
//! how the first ones looked, and the TLS error that ended it. HTTP/2 above it hides all three. It can also
//! be cut: hyper has no other way to end a connection with requests under way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many of the first bytes are kept: enough to tell HTTP/1 and TLS from HTTP/2.
const FIRST: usize = 8;

/// What was seen of the other side.
#[derive(Debug)]
pub(super) struct Seen {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    last_read: Instant,
    first: Vec<u8>,
    tls_error: Option<rustls::Error>,
}

impl Seen {
    fn new() -> Seen {
        Seen { inner: Mutex::new(Inner { last_read: Instant::now(), first: Vec::new(), tls_error: None }) }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anything arrived since then.
    pub(super) fn since(&self, instant: Instant) -> bool {
        self.with(|inner| inner.last_read >= instant)
    }

    /// Nothing ever arrived.
    pub(super) fn is_silent(&self) -> bool {
        self.with(|inner| inner.first.is_empty())
    }

    /// The other side answered in HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        self.with(|inner| inner.first.starts_with(b"HTTP/1."))
    }

    /// The other side answered with a TLS alert record (RFC 8446, section 5.1: type 21, version 3.x).
    pub(super) fn is_tls(&self) -> bool {
        self.with(|inner| inner.first.starts_with(&[21, 3]))
    }

    /// The TLS error that ended the stream after its handshake. In TLS 1.3 that is where a refused client
    /// certificate shows.
    pub(super) fn tls_error(&self) -> Option<rustls::Error> {
        self.with(|inner| inner.tls_error.clone())
    }
}

/// A TCP or TLS stream that notes what it sees.
#[derive(Debug)]
pub(super) struct Stream {
    kind: Kind,
    seen: Arc<Seen>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A stream without TLS. It fails as soon as `cut` is cancelled.
    pub(super) fn plain(stream: TcpStream, cut: CancellationToken) -> Stream {
        Stream::new(Kind::Plain(stream), cut)
    }

    /// A stream with TLS, after its handshake.
    pub(super) fn tls(stream: TlsStream<TcpStream>, cut: CancellationToken) -> Stream {
        Stream::new(Kind::Tls(Box::new(stream)), cut)
    }

    fn new(kind: Kind, cut: CancellationToken) -> Stream {
        Stream { kind, seen: Arc::new(Seen::new()), cut: Box::pin(cut.cancelled_owned()) }
    }

    /// What is seen of the other side, from now on too.
    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    fn note(&self, result: &Poll<io::Result<()>>, read: &[u8]) {
        match result {
            Poll::Ready(Ok(())) if !read.is_empty() => self.seen.with(|inner| {
                inner.last_read = Instant::now();
                let missing = FIRST - inner.first.len();
                inner.first.extend(read.iter().take(missing));
            }),
            Poll::Ready(Err(error)) => {
                if let Some(error) = tls_error(error) {
                    self.seen.with(|inner| inner.tls_error = Some(error.clone()));
                }
            }
            _ => {}
        }
    }
}

/// The TLS error inside of an I/O error.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // HTTP/2 is always reading: this wakes it.
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let result = match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Kind::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        self.note(&result, buffer.filled().get(before..).unwrap_or_default());
        result
    }
}

/// Takes a write to a closed connection for done. Why it was closed is still to be read: a TLS alert that
/// names the refused certificate, or an answer in another protocol. The read tells it, or the end.
fn forgive<T>(result: Poll<io::Result<T>>, done: T) -> Poll<io::Result<T>> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    match result {
        Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
            Poll::Ready(Ok(done))
        }
        result => result,
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Kind::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        forgive(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Kind::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        forgive(result, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(stream) => stream.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_flush(context),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        forgive(result, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
