//! Where to listen: `host:port` as policies write it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, Mistake};

/// A host and a port, and which kind of address is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    port: u16,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

/// A host that has no address of the kind that is meant.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unresolved {
    /// It has none at all.
    #[error("{0} has no address")]
    Nothing(String),
    /// The name cannot be looked up.
    #[error("{host} cannot be looked up: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Host {
    /// `host` and `network` (`tcp`, `tcp4`, `udp6`, ...).
    pub(super) fn read(config: &Config) -> Result<Host, Mistake> {
        let network = config.text("network")?.unwrap_or_default();
        let family = match network.as_str() {
            "" | "tcp" | "udp" => Family::Any,
            "tcp4" | "udp4" => Family::V4,
            "tcp6" | "udp6" => Family::V6,
            _ => {
                let mistake = config.mistake("network", "must be tcp, tcp4, tcp6, udp, udp4 or udp6");
                config.or(Family::Any, Err(mistake))?
            }
        };
        let text = config.text("host")?.ok_or_else(|| {
            config.mistake("host", "is missing: say where to listen, such as localhost:9514 or 0.0.0.0:9514")
        })?;
        let wrong = || config.mistake("host", format!("{text:?} is not host:port, such as localhost:9514"));
        let (name, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        Ok(Host { name: name.to_owned(), port, family })
    }

    /// The addresses to try, in this order, until one can be listened on.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Unresolved> {
        let (v4, v6) = ((Ipv4Addr::UNSPECIFIED, self.port).into(), (Ipv6Addr::UNSPECIFIED, self.port).into());
        if self.name.is_empty() {
            // The one of IPv6 takes IPv4 too, where there is IPv6.
            return Ok(match self.family {
                Family::Any => vec![v6, v4],
                Family::V4 => vec![v4],
                Family::V6 => vec![v6],
            });
        }
        let found = tokio::net::lookup_host((self.name.as_str(), self.port)).await;
        let found = found.map_err(|source| Unresolved::Lookup { host: self.name.clone(), source })?;
        let fits = |address: &SocketAddr| match self.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let mut found: Vec<SocketAddr> = found.filter(fits).collect();
        // Senders that are told `localhost` try 127.0.0.1, whatever comes first here.
        found.sort_by_key(SocketAddr::is_ipv6);
        found.dedup();
        if found.is_empty() { Err(Unresolved::Nothing(self.name.clone())) } else { Ok(found) }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.contains(':') {
            write!(formatter, "[{}]:{}", self.name, self.port)
        } else {
            write!(formatter, "{}:{}", self.name, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(settings: &serde_json::Value) -> Result<Host, Mistake> {
        Host::read(&Config::new(settings.as_object().unwrap()))
    }

    #[tokio::test]
    async fn hosts_have_addresses() {
        let addresses = async |settings: serde_json::Value| {
            let found = host(&settings).unwrap().addresses().await.unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(addresses(json!({"host": ":514"})).await, "[::]:514 0.0.0.0:514");
        assert_eq!(addresses(json!({"host": ":514", "network": "udp4"})).await, "0.0.0.0:514");
        assert_eq!(addresses(json!({"host": "[::1]:514"})).await, "[::1]:514");
        assert_eq!(addresses(json!({"host": "127.0.0.1:0"})).await, "127.0.0.1:0");
        let found = addresses(json!({"host": "localhost:1"})).await;
        assert!(found.starts_with("127.0.0.1:1"), "{found}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |settings| host(&settings).unwrap_err().to_string();
        assert!(error(json!({})).starts_with("host: is missing"));
        assert!(error(json!({"host": "localhost"})).contains("is not host:port"));
        assert!(error(json!({"host": "localhost:70000"})).contains("is not host:port"));
        assert!(error(json!({"host": ":1", "network": "unix"})).starts_with("network: must be"));
    }
}
