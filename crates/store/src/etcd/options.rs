//! How an etcd is reached: the options, checked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::ServerName;

use crate::error::{Error, ErrorKind};

/// The port of an endpoint that names none: etcd's registered client port.
const DEFAULT_PORT: u16 = 2379;

/// How to reach an etcd cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// URLs of members, `http://host:port` or `https://host:port`. Tried from a random one on, so that many
    /// clients spread over the members.
    pub endpoints: Vec<String>,
    /// What every key starts with.
    pub key_prefix: String,
    /// The time within which every call answers or fails.
    pub request_timeout: Duration,
    /// The user to log in as. Needs `password`.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// PEM file with the authorities that may have signed the members' certificates, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate and its chain. Needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file with our certificate's key.
    pub key_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoints: vec!["http://127.0.0.1:2379".to_owned(), "http://127.0.0.1:4001".to_owned()],
            key_prefix: "/_coreos.com/fleet/".to_owned(),
            request_timeout: Duration::from_secs(1),
            username: None,
            password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

// Not derived: a password must not reach a log.
impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("key_prefix", &self.key_prefix)
            .field("request_timeout", &self.request_timeout)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .finish()
    }
}

/// The name and password to log in with.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
}

impl Options {
    /// The endpoints, parsed.
    pub(super) fn parse_endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        if self.endpoints.is_empty() {
            return Err(invalid("etcd_servers is empty: name at least one URL"));
        }
        self.endpoints.iter().map(|url| Endpoint::parse(url)).collect()
    }

    /// The prefix of all keys, with exactly one slash at its end.
    pub(super) fn normal_prefix(&self) -> Result<String, Error> {
        let trimmed = self.key_prefix.trim_end_matches('/');
        if trimmed.contains('\0') {
            return Err(invalid("etcd_key_prefix contains a NUL"));
        }
        Ok(format!("{trimmed}/"))
    }

    /// The request timeout, if it can be kept.
    pub(super) fn checked_timeout(&self) -> Result<Duration, Error> {
        if self.request_timeout.is_zero() {
            return Err(invalid("etcd_request_timeout is 0: give the seconds that a request may take"));
        }
        Ok(self.request_timeout)
    }

    /// Name and password, when both are given.
    pub(super) fn into_credentials(self) -> Result<Option<Credentials>, Error> {
        match (self.username, self.password) {
            (None, None) => Ok(None),
            (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
            (Some(_), None) => Err(invalid("etcd_username is set but etcd_password is not: set both")),
            (None, Some(_)) => Err(invalid("etcd_password is set but etcd_username is not: set both")),
        }
    }
}

/// Where one member listens.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The URL as it is shown.
    pub(super) url: String,
    /// `host:port`, for the requests' authority.
    pub(super) authority: http::uri::Authority,
    /// The host without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// The name that its certificate must carry; `None`: no TLS.
    pub(super) tls_name: Option<ServerName<'static>>,
}

impl Endpoint {
    fn parse(url: &str) -> Result<Endpoint, Error> {
        let fault = |what: String| invalid(format!("etcd_servers: {url:?} {what}"));
        let uri: Uri = url.trim().parse().map_err(|error| {
            Error::caused_by(
                ErrorKind::Invalid,
                format!("etcd_servers: {url:?} is not a URL"),
                Box::new(error),
            )
        })?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(fault(format!("has the scheme {other}: use http or https"))),
            None => return Err(fault(format!("has no scheme: write http://{}", url.trim()))),
        };
        if uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
            return Err(fault("has a path: write only scheme, host and port".to_owned()));
        }
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err(fault("names no host".to_owned()));
        };
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        let authority = format!("{host}:{port}");
        let authority = authority.parse().map_err(|_| fault("names no usable host".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls_name = match tls {
            false => None,
            true => Some(
                ServerName::try_from(host.clone())
                    .map_err(|_| fault("names a host that no certificate can be for".to_owned()))?,
            ),
        };
        Ok(Endpoint { url: url.trim().trim_end_matches('/').to_owned(), authority, host, port, tls_name })
    }

    /// The scheme of its requests.
    pub(super) fn scheme(&self) -> http::uri::Scheme {
        if self.tls_name.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> String {
        Endpoint::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn endpoints_are_parsed() {
        let plain = Endpoint::parse("http://etcd.example:4001/").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.tls_name), ("etcd.example", 4001, None));
        let tls = Endpoint::parse(" https://[::1] ").unwrap();
        assert_eq!((tls.host.as_str(), tls.port, tls.authority.as_str()), ("::1", 2379, "[::1]:2379"));
        assert!(tls.tls_name.is_some());
    }

    #[test]
    fn bad_endpoints_name_the_option_and_the_fix() {
        assert!(fault("127.0.0.1:2379").starts_with("etcd_servers: \"127.0.0.1:2379\""));
        assert!(fault("etcd.example").contains("write http://etcd.example"));
        assert!(fault("ftp://etcd.example").contains("use http or https"));
        assert!(fault("http://etcd.example/v2").contains("has a path"));
    }

    #[test]
    fn half_of_the_credentials_is_a_mistake() {
        let options = Options { username: Some("root".to_owned()), ..Options::default() };
        assert!(options.into_credentials().is_err_and(|error| error.message.contains("etcd_password")));
        let options = Options { password: Some("secret".to_owned()), ..Options::default() };
        assert!(!format!("{options:?}").contains("secret"));
        assert!(options.into_credentials().is_err_and(|error| error.message.contains("etcd_username")));
    }

    #[test]
    fn the_prefix_ends_with_one_slash() {
        let prefix =
            |text: &str| Options { key_prefix: text.to_owned(), ..Options::default() }.normal_prefix();
        assert_eq!(prefix("/fleet").unwrap(), "/fleet/");
        assert_eq!(prefix("/fleet//").unwrap(), "/fleet/");
        assert_eq!(prefix("").unwrap(), "/");
    }
}
