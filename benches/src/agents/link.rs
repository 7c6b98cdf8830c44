//! A connection of a simulated agent: HTTP/1.1 over TLS, as the real agent speaks it, with little memory and little
//! processor time, so that many agents fit beside the server that is measured.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::BenchError;

/// The name in the server's certificate by which agents know it.
const NAME: &str = "localhost";
/// Room for an answer at first: the most of them fit.
const FIRST_READ: usize = 1024;
/// No answer is larger: a policy of megabytes is not what is measured here.
const LARGEST: usize = 16 << 20;
const MOST_HEADERS: usize = 32;

/// How a server is reached.
#[derive(Clone)]
pub(super) struct Target {
    connector: TlsConnector,
    port: u16,
}

/// One connection.
pub(super) struct Link {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) is_gzip: bool,
    /// The server ends the connection.
    pub(super) is_last: bool,
    pub(super) body: Bytes,
}

struct Head {
    length: usize,
    body: usize,
    answer: Answer,
}

impl Target {
    /// The server on this host whose authority is in the file `ca`.
    pub(super) fn new(ca: &Path, port: u16) -> Result<Target, BenchError> {
        let wrong = |error: &dyn std::fmt::Display| BenchError::Wrong(format!("{}: {error}", ca.display()));
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Every handshake is a whole one, as with agents that start.
        config.resumption = Resumption::disabled();
        Ok(Target { connector: TlsConnector::from(Arc::new(config)), port })
    }

    /// Connects. `number` chooses one of the loopback addresses: one alone has too few ports for many agents that
    /// come back soon.
    pub(super) async fn connect(&self, number: usize) -> io::Result<Link> {
        let last = u8::try_from(number % 16 + 1).unwrap_or(1);
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, last], self.port))).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        // A handshake needs much more than the connection afterwards does.
        let stream = Box::pin(self.connector.connect(name, stream)).await?;
        Ok(Link { stream, buffer: BytesMut::new() })
    }
}

impl Link {
    /// Sends a request, in one piece.
    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await?;
        self.stream.flush().await
    }

    /// Waits for the answer to it.
    pub(super) async fn answer(&mut self) -> io::Result<Answer> {
        let mut head = None;
        loop {
            if head.is_none() {
                head = parse(&self.buffer)?;
            }
            let Some(Head { length, body, .. }) = &head else {
                self.fill(FIRST_READ).await?;
                continue;
            };
            let missing = (length + body).saturating_sub(self.buffer.len());
            if missing > 0 {
                self.fill(missing).await?;
                continue;
            }
            if let Some(Head { length, body, mut answer }) = head.take() {
                let whole = std::mem::take(&mut self.buffer).freeze();
                answer.body = whole.slice(length..length + body);
                if whole.len() > length + body {
                    return Err(io::Error::other("more came than the answer"));
                }
                return Ok(answer);
            }
        }
    }

    async fn fill(&mut self, room: usize) -> io::Result<()> {
        self.buffer.reserve(room);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() > LARGEST => {
            return Err(io::Error::other("an endless head"));
        }
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    let mut answer = Answer { status, is_gzip: false, is_last: false, body: Bytes::new() };
    let mut body = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            body = std::str::from_utf8(header.value).ok().and_then(|text| text.parse::<usize>().ok());
        } else if header.name.eq_ignore_ascii_case("content-encoding") {
            answer.is_gzip = header.value == b"gzip";
        } else if header.name.eq_ignore_ascii_case("connection") {
            answer.is_last = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    match body.filter(|body| *body <= LARGEST) {
        Some(body) => Ok(Some(Head { length, body, answer })),
        None => {
            Err(io::Error::other(format!("an answer of status {status} without a length that can be read")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_is_read() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-encoding: gzip\r\nConnection: close\r\n\r\nhello";
        let head = parse(text).unwrap().unwrap();
        assert_eq!(&text[head.length..], b"hello");
        assert_eq!((head.body, head.answer.status), (5, 200));
        assert!(head.answer.is_gzip && head.answer.is_last);
        assert!(parse(&text[..40]).unwrap().is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
