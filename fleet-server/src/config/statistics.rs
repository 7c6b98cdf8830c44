//! `http`: the endpoint that shows statistics of the process.

use std::path::PathBuf;

use fleet_service::config::document::{Section, read};

/// Where statistics are served, without TLS and without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// `None`: nowhere.
    pub address: Option<Address>,
}

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host, without brackets, and a port; 0: any free one.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

pub(super) fn read(root: &Section<'_>) -> Statistics {
    let section = root.section("http");
    let enabled = section.get("enabled", false, read::boolean);
    let port = super::port(&section, "port", 5066);
    let host = section.get("host", "localhost".to_owned(), read::text);
    let address = address(&section, host.trim(), port);
    for key in ["named_pipe.user", "named_pipe.security_descriptor"] {
        if section.optional(key, read::text).is_some() {
            section.mistake(key, format!("http.{key} is for Windows only: remove it"));
        }
    }
    Statistics { address: address.filter(|_| enabled) }
}

fn address(section: &Section<'_>, host: &str, port: u16) -> Option<Address> {
    if let Some(path) = host.strip_prefix("unix://") {
        if !path.starts_with('/') {
            section.mistake("host", "http.host must have an absolute path behind unix://");
        }
        return Some(Address::Unix(PathBuf::from(path)));
    }
    let (name, port) = match host.strip_prefix("http://") {
        None => (host, port),
        Some(rest) => match rest.rsplit_once(':') {
            Some((name, digits)) if !digits.ends_with(']') => {
                let Ok(port) = digits.parse() else {
                    section.mistake("host", "http.host must have a port from 0 to 65535");
                    return None;
                };
                (name, port)
            }
            _ => (rest, port),
        },
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_address = inner.parse::<std::net::IpAddr>().is_ok();
    if inner.is_empty() || (!is_address && inner.contains([':', '/', ' '])) {
        let text = "http.host must be a host name, an address, http://host:port or unix:///path";
        section.mistake("host", format!("{text}, not {host:?}"));
        return None;
    }
    Some(Address::Tcp(inner.to_owned(), port))
}
