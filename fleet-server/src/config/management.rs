//! `management`: the API of people and scripts, and the console.

use std::net::IpAddr;

use fleet_service::config::document::Section;

use super::tls::{ListenerTls, read_listener};

/// Where the management API is served.
#[derive(Clone, Debug)]
pub struct Management {
    /// The address to bind. Loopback, until somebody says otherwise.
    pub host: String,
    /// The port; 0: any free one.
    pub port: u16,
    /// The certificate.
    pub tls: ListenerTls,
}

impl Management {
    /// Whether it may be asked without TLS: where nobody between can listen, unless a certificate is given.
    #[must_use]
    pub fn allows_plain(&self) -> bool {
        let is_loopback = self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match self.tls {
            ListenerTls::Own => is_loopback,
            ListenerTls::Off => true,
            ListenerTls::Given(_) => false,
        }
    }
}

pub(super) fn read(root: &Section<'_>) -> Management {
    let section = root.section("management");
    Management {
        host: section.get("host", "127.0.0.1".to_owned(), super::host),
        port: super::port(&section, "port", 5601),
        tls: read_listener(&section.section("ssl")),
    }
}
