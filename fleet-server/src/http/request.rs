//! The head of a request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// To what: the path, still percent-encoded, without the query.
    pub path: String,
    /// What follows the `?`, if anything does.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Who asks.
    pub peer: Option<IpAddr>,
    /// Whether nobody between could read it.
    pub is_encrypted: bool,
}

impl Request {
    /// The one value of a header, as text. `None` when it is absent, there twice, or not text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        values.next().is_none().then(|| value.to_str().ok())?
    }

    /// Whether the body of the answer may be compressed. Only the plain word counts: who sends it handles it.
    #[must_use]
    pub fn accepts_gzip(&self) -> bool {
        self.header(&http::header::ACCEPT_ENCODING) == Some("gzip")
    }
}
