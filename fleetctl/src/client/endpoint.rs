//! Where the API is: the meaning of `--endpoint`.

use std::path::PathBuf;

use thiserror::Error;

/// An endpoint of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// What to connect to.
    pub(crate) address: Address,
    /// The base of every request's URL, as errors show it; that of fleetd's API ends in `/fleet/v1/`.
    pub(crate) base_url: String,
    /// The path part of `base_url`.
    pub(crate) base_path: String,
    /// The value of the `Host` header.
    pub(crate) authority: String,
}

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A TCP port.
    Tcp { host: String, port: u16, tls: bool },
}

/// An endpoint that makes no sense. The words are the original's where it had some.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum EndpointError {
    #[error("URL scheme undefined")]
    NoScheme,
    #[error("unable to connect to host {host:?} with scheme {scheme:?}")]
    HostOfSocket { host: String, scheme: String },
    #[error("unsupported URL scheme {scheme:?}: use unix, http or https")]
    UnknownScheme { scheme: String },
    #[error("the path of the socket is missing: use unix:///var/run/fleet.sock")]
    NoPath,
    #[error("the host of the endpoint is missing")]
    NoHost,
    #[error("{port:?} is not a port")]
    BadPort { port: String },
    #[error("an endpoint has no {part}")]
    Extra { part: &'static str },
}

impl Endpoint {
    /// Reads a URL: `unix:///path`, `file:///path`, `http://host[:port][/base]` or `https://…`.
    pub(crate) fn parse(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse_of(url, "/fleet/v1/")
    }

    /// Reads a URL of an API whose paths all begin with `api` (after the base that the URL may have).
    pub(crate) fn parse_of(url: &str, api: &str) -> Result<Endpoint, EndpointError> {
        let (scheme, rest) = scheme_of(url).ok_or(EndpointError::NoScheme)?;
        if rest.contains(['?', '#']) {
            return Err(EndpointError::Extra { part: "query or fragment" });
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        match scheme.as_str() {
            "unix" | "file" => socket(&scheme, authority, path, api),
            "http" => tcp(authority, path, false, api),
            "https" => tcp(authority, path, true, api),
            _ => Err(EndpointError::UnknownScheme { scheme }),
        }
    }
}

/// Splits off a scheme: letters, then letters, digits, `+`, `-` or `.`, then a colon (RFC 3986, 3.1).
fn scheme_of(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let sound = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    sound.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn socket(scheme: &str, host: &str, path: &str, api: &str) -> Result<Endpoint, EndpointError> {
    if !host.is_empty() {
        return Err(EndpointError::HostOfSocket { host: host.to_owned(), scheme: scheme.to_owned() });
    }
    if path.is_empty() {
        return Err(EndpointError::NoPath);
    }
    Ok(Endpoint {
        address: Address::Unix(PathBuf::from(path)),
        base_url: format!("http://domain-sock{api}"),
        base_path: api.to_owned(),
        authority: "domain-sock".to_owned(),
    })
}

fn tcp(authority: &str, path: &str, tls: bool, api: &str) -> Result<Endpoint, EndpointError> {
    if authority.contains('@') {
        return Err(EndpointError::Extra { part: "user" });
    }
    let (host, port) = split_port(authority)?;
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    let base: String =
        path.split('/').filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect();
    let base_path = format!("{base}{api}");
    let scheme = if tls { "https" } else { "http" };
    Ok(Endpoint {
        address: Address::Tcp { host, port, tls },
        base_url: format!("{scheme}://{authority}{base_path}"),
        base_path,
        authority: authority.to_owned(),
    })
}

/// Splits `host:port`, `host`, `[v6]:port` or `[v6]`. The host comes without brackets.
pub(crate) fn split_port(authority: &str) -> Result<(String, Option<u16>), EndpointError> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Some(port.parse().map_err(|_| EndpointError::BadPort { port: port.to_owned() })?),
        None => None,
    };
    Ok((host.to_owned(), port))
}

/// Percent-encodes a segment of a path or a value of a query: all but the unreserved characters (RFC 3986, 2.3).
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets() {
        for url in ["unix:///var/run/fleet.sock", "file:///var/run/fleet.sock", "unix:/var/run/fleet.sock"] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.address, Address::Unix(PathBuf::from("/var/run/fleet.sock")));
            assert_eq!(endpoint.base_url, "http://domain-sock/fleet/v1/");
        }
    }

    #[test]
    fn hosts_ports_and_bases() {
        for (url, host, port, tls, base) in [
            ("http://127.0.0.1:49153", "127.0.0.1", 49153, false, "http://127.0.0.1:49153/fleet/v1/"),
            ("http://a", "a", 80, false, "http://a/fleet/v1/"),
            ("https://a", "a", 443, true, "https://a/fleet/v1/"),
            ("http://a/base/", "a", 80, false, "http://a/base/fleet/v1/"),
            ("http://a:1/x//y", "a", 1, false, "http://a:1/x/y/fleet/v1/"),
            ("http://[::1]:8080", "::1", 8080, false, "http://[::1]:8080/fleet/v1/"),
            ("https://[::1]", "::1", 443, true, "https://[::1]/fleet/v1/"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.address, Address::Tcp { host: host.to_owned(), port, tls }, "{url}");
            assert_eq!(endpoint.base_url, base, "{url}");
        }
    }

    #[test]
    fn senseless_endpoints_say_why() {
        for (url, text) in [
            ("foo", "URL scheme undefined"),
            ("", "URL scheme undefined"),
            ("/var/run/fleet.sock", "URL scheme undefined"),
            ("unix://var/run/fleet.sock", "unable to connect to host \"var\" with scheme \"unix\""),
            ("ftp://a", "unsupported URL scheme \"ftp\": use unix, http or https"),
            ("unix://", "the path of the socket is missing: use unix:///var/run/fleet.sock"),
            ("http://:80", "the host of the endpoint is missing"),
            ("http://a:x", "\"x\" is not a port"),
            ("http://a:70000", "\"70000\" is not a port"),
            ("http://u:p@a", "an endpoint has no user"),
            ("http://a/?x=1", "an endpoint has no query or fragment"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap_err().to_string(), text, "{url}");
        }
    }

    #[test]
    fn names_are_percent_encoded() {
        assert_eq!(percent_encode("foo@1.service"), "foo%401.service");
        assert_eq!(percent_encode("a\\x2d:b/ü"), "a%5Cx2d%3Ab%2F%C3%BC");
    }
}
