//! Addresses of sockets as a person writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:/run/fleet.sock`
    Unix(PathBuf),
    /// `127.0.0.1:49153`, `[::1]:49153` or `localhost:49153`
    Tcp(String),
}

/// A text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address must be unix:/absolute/path or host:port, such as 127.0.0.1:49153")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            // The form of the client's `--endpoint`, unix:///path, is understood too.
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
            return if is_path { Ok(Address::Unix(path.into())) } else { Err(AddressError) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)),
        };
        if !is_host || port.parse::<u16>().is_err() || port.starts_with('+') {
            return Err(AddressError);
        }
        Ok(Address::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};

    #[test]
    fn addresses_are_read_and_written() {
        let unix = Address::Unix("/run/fleet.sock".into());
        assert_eq!("unix:/run/fleet.sock".parse(), Ok(unix.clone()));
        assert_eq!("unix:///run/fleet.sock".parse(), Ok(unix.clone()));
        assert_eq!(unix.to_string(), "unix:/run/fleet.sock");
        for text in ["127.0.0.1:80", "[::1]:80", "localhost:0", "node-1.example.org:65535"] {
            assert_eq!(text.parse(), Ok(Address::Tcp(text.to_owned())));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let texts = [
            "",
            "unix:",
            "unix:relative",
            "unix:/dir/",
            "/run/fleet.sock",
            "localhost",
            "localhost:",
            ":80",
            "localhost:65536",
            "localhost:+1",
            "::1:80",
            "[::1]",
            "[localhost]:80",
            "http://localhost:80",
        ];
        for text in texts {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }
}
