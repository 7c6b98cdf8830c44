//! Reading the head of a request.

use std::io;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::body::Length;
use crate::http::Request;

/// The most headers of a request.
const MOST_HEADERS: usize = 64;

/// The head of a request, and what it says of the message.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request,
    pub(super) length: Length,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// It did not come in time.
    #[error("the headers did not come in time")]
    Slow,
    /// It is larger than it may be.
    #[error("the headers are too large")]
    TooLarge,
    /// It is not HTTP.
    #[error("not a request of HTTP/1.1: {0}")]
    Malformed(String),
}

fn malformed(text: &dyn std::fmt::Display) -> HeadError {
    HeadError::Malformed(text.to_string())
}

/// The request that `bytes` begin with, and how long its head is. `None`: there is more to come.
pub(super) fn parse(bytes: &[u8], most: usize) -> Result<Option<(Head, usize)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= most => length,
        Ok(httparse::Status::Partial) if bytes.len() <= most => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(error) => return Err(malformed(&error)),
    };
    let method = parsed.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| malformed(&error))?;
    let (path, query) = target(parsed.path.unwrap_or_default())?;
    let mut map = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| malformed(&error))?;
        let value = HeaderValue::from_bytes(header.value).map_err(|error| malformed(&error))?;
        map.append(name, value);
    }
    let is_1_1 = parsed.version == Some(1);
    if is_1_1 && map.get_all(HOST).iter().count() != 1 {
        return Err(malformed(&"one Host header is needed"));
    }
    let head = Head {
        length: body_length(&map)?,
        keep_alive: keep_alive(&map, is_1_1),
        expects_continue: is_1_1
            && map.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
        request: Request { method, path, query, headers: map, peer: None, is_encrypted: false },
    };
    Ok(Some((head, length)))
}

/// Path and query of a request's target, which a proxy may send with scheme and host.
fn target(text: &str) -> Result<(String, String), HeadError> {
    let from_path = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => text,
    };
    if !from_path.starts_with('/') && from_path != "*" {
        return Err(malformed(&"the target is no path"));
    }
    let (path, query) = from_path.split_once('?').unwrap_or((from_path, ""));
    Ok((path.to_owned(), query.to_owned()))
}

/// How the body's end is found. Anything doubtful is refused: two servers that see different ends can be
/// tricked into seeing different requests.
fn body_length(headers: &HeaderMap) -> Result<Length, HeadError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Length::Known(0)),
        (Some(_), Some(_)) => Err(malformed(&"both Content-Length and Transfer-Encoding")),
        (Some(length), None) => {
            let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let known = digits.and_then(|text| text.parse().ok());
            match (known, lengths.next()) {
                (Some(length), None) => Ok(Length::Known(length)),
                _ => Err(malformed(&"Content-Length is not one number")),
            }
        }
        (None, Some(coding)) => {
            if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
                Ok(Length::Chunked)
            } else {
                Err(malformed(&"a Transfer-Encoding other than chunked"))
            }
        }
    }
}

fn keep_alive(headers: &HeaderMap, is_1_1: bool) -> bool {
    let has = |word: &str| {
        let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    if is_1_1 { !has("close") } else { has("keep-alive") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<(Head, usize)>, HeadError> {
        parse(text.as_bytes(), 8192)
    }

    #[test]
    fn a_whole_head_is_read_and_its_length_told() {
        let text = "POST /api/fleet/agents/1/checkin? HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        let (head, length) = parsed(text).unwrap().unwrap();
        assert_eq!(&text[length..], "abc");
        assert_eq!(
            (head.request.path.as_str(), head.request.query.as_str()),
            ("/api/fleet/agents/1/checkin", "")
        );
        assert_eq!(head.length, Length::Known(3));
        assert!(head.keep_alive && !head.expects_continue);
        for end in 0..length {
            assert!(parsed(&text[..end]).unwrap().is_none(), "{end}");
        }
    }

    #[test]
    fn connections_are_kept_as_each_version_has_it() {
        let keeps = |text: &str| parsed(text).unwrap().unwrap().0.keep_alive;
        assert!(!keeps("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        for headers in [
            "",
            "Host: x\r\nHost: y\r\n",
            "Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            "Host: x\r\nContent-Length: +1\r\n",
            "Host: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n",
            "Host: x\r\nContent-Length: 99999999999999999999\r\n",
        ] {
            let text = format!("POST / HTTP/1.1\r\n{headers}\r\n");
            assert!(matches!(parsed(&text), Err(HeadError::Malformed(_))), "{headers:?}");
        }
        assert!(matches!(parsed("GET x HTTP/1.1\r\nHost: x\r\n\r\n"), Err(HeadError::Malformed(_))));
        assert!(matches!(parsed("hello\r\n\r\n"), Err(HeadError::Malformed(_))));
    }

    #[test]
    fn heads_have_a_bound() {
        let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(9000));
        assert!(matches!(parsed(&large), Err(HeadError::TooLarge)));
        assert!(matches!(parsed(&large[..8500]), Err(HeadError::TooLarge)));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100));
        assert!(matches!(parsed(&many), Err(HeadError::TooLarge)));
    }

    #[test]
    fn a_target_may_name_its_host() {
        let (head, _) = parsed("GET https://x:1/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.request.path.as_str(), head.request.query.as_str()), ("/a", "b=c"));
    }
}
