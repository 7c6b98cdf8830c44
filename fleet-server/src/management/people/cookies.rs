//! What a browser holds.

use fleet_service::config::value::Secret;
use http::HeaderMap;
use http::header::{COOKIE, HOST, HeaderValue, ORIGIN};

/// The name of a session's cookie.
pub(in super::super) const SESSION: &str = "fleet_session";
/// The header that proves that a request comes from a page of ours.
pub(in super::super) const CSRF: &str = "x-csrf-token";

/// The value of a cookie.
pub(in super::super) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A cookie to set.
#[derive(Debug)]
pub(in super::super) struct Cookie<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) value: &'a Secret,
    /// For which paths.
    pub(in super::super) path: &'a str,
    /// How long the browser keeps it, in seconds; 0 removes it.
    pub(in super::super) seconds: u64,
    /// `Strict` or `Lax` (RFC 6265bis, 5.6.7).
    pub(in super::super) same_site: &'static str,
    /// Sent over TLS alone.
    pub(in super::super) is_secure: bool,
}

impl Cookie<'_> {
    /// As it stands in `Set-Cookie`. Pages cannot read it.
    pub(in super::super) fn header(&self) -> Option<HeaderValue> {
        let Cookie { name, value, path, seconds, same_site, is_secure } = self;
        let secure = if *is_secure { "; Secure" } else { "" };
        let text = format!(
            "{name}={}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}",
            value.reveal()
        );
        HeaderValue::try_from(text).ok().map(|mut header| {
            header.set_sensitive(true);
            header
        })
    }
}

/// Whether a page of somebody else made the browser send this. Programs that are no browsers do not say, and carry
/// nobody's cookies.
pub(in super::super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_none_or(|(_, authority)| !authority.eq_ignore_ascii_case(host))
        }
        _ => false,
    }
}

/// Whether a browser's page sent this, which must not ask its user for a password in a window of its own.
pub(in super::super) fn is_from_page(headers: &HeaderMap) -> bool {
    get(headers, SESSION).is_some() || headers.contains_key("sec-fetch-mode") || headers.contains_key(CSRF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers =
            headers(&[("cookie", "a=1; fleet_session=x=y;b=2"), ("cookie", "fleet_session=z; c=3")]);
        assert_eq!(get(&headers, SESSION), Some("x=y"));
        assert_eq!(get(&headers, "c"), Some("3"));
        assert_eq!(get(&headers, "d"), None);
    }

    #[test]
    fn a_cookie_is_for_the_server_alone() {
        let value = Secret::new("x");
        let cookie = Cookie {
            name: SESSION,
            value: &value,
            path: "/",
            seconds: 60,
            same_site: "Strict",
            is_secure: true,
        };
        let header = cookie.header().unwrap();
        assert_eq!(header, "fleet_session=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
        assert!(header.is_sensitive());
    }

    #[test]
    fn what_other_pages_send_is_known() {
        for (pairs, expected) in [
            (headers(&[]), false),
            (headers(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil")]), false),
            (headers(&[("sec-fetch-site", "none")]), false),
            (headers(&[("sec-fetch-site", "same-site")]), true),
            (headers(&[("sec-fetch-site", "cross-site")]), true),
            (headers(&[("origin", "https://Fleet:5601"), ("host", "fleet:5601")]), false),
            (headers(&[("origin", "https://fleet"), ("host", "fleet:5601")]), true),
            (headers(&[("origin", "null"), ("host", "fleet:5601")]), true),
        ] {
            assert_eq!(is_from_elsewhere(&pairs), expected, "{pairs:?}");
        }
    }
}
