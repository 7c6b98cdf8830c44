//! A proxy between us and another server.

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::FetchError;

/// The largest head of a proxy's answer in bytes.
const LARGEST_HEAD: usize = 8 * 1024;

/// A proxy, spoken to over plain HTTP.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authorization: Option<HeaderValue>,
}

/// Without what it is logged in to with.
impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({}:{})", self.host, self.port)
    }
}

impl Proxy {
    /// As `http://user:password@host:port`; `None`: that is not what the text is.
    pub(crate) fn parse(url: &str) -> Option<Proxy> {
        let uri: Uri = url.parse().ok()?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let authority = uri.authority()?.as_str();
        let authorization = match authority.rsplit_once('@') {
            Some((user, _)) => {
                let user = percent_decode_str(user).collect::<Vec<u8>>();
                let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user))).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Proxy { host, port: uri.port_u16().unwrap_or(80), authorization })
    }

    /// Has the connection go on to `host` (RFC 9110, 9.3.6).
    pub(super) async fn tunnel(&self, tcp: &mut TcpStream, host: &str, port: u16) -> Result<(), FetchError> {
        let connect =
            |source| FetchError::Connect { address: format!("{}:{}", self.host, self.port), source };
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        tcp.write_all(&request).await.map_err(connect)?;
        let mut head = Vec::new();
        // Byte by byte: what follows is not the proxy's.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == LARGEST_HEAD {
                return Err(connect(io::Error::from(io::ErrorKind::InvalidData)));
            }
            head.push(tcp.read_u8().await.map_err(connect)?);
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(&head).ok().and(answer.code);
        match parsed {
            Some(200..=299) => Ok(()),
            Some(code) => Err(FetchError::Proxy(code)),
            None => Err(connect(io::Error::from(io::ErrorKind::InvalidData))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies() {
        let proxy = Proxy::parse("http://user:p%40ss@proxy.example:3128").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!(proxy.authorization.unwrap(), "Basic dXNlcjpwQHNz");
        assert_eq!(Proxy::parse("http://[::1]:1").unwrap().host, "::1");
        for wrong in ["https://proxy.example", "proxy.example:3128", "", "http://"] {
            assert!(Proxy::parse(wrong).is_none(), "{wrong}");
        }
    }
}
