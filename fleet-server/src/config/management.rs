//! `management`: the API of people and scripts, and the console.

mod network;
mod people;

use std::net::IpAddr;

use fleet_service::config::document::Section;
use fleet_service::config::value::Expected;

use super::tls::{ListenerTls, read_listener};

pub use network::{Network, NoNetwork};
pub use people::{Audit, CALLBACK, Oidc, Sessions};

/// Where the management API is served.
#[derive(Clone, Debug)]
pub struct Management {
    /// The address to bind. Loopback, until somebody says otherwise.
    pub host: String,
    /// The port; 0: any free one.
    pub port: u16,
    /// The certificate.
    pub tls: ListenerTls,
    /// The proxies in front of the server that are believed.
    pub trusted_proxies: Vec<Network>,
    /// How long people stay signed in.
    pub sessions: Sessions,
    /// How much of what they do is kept.
    pub audit: Audit,
    /// Who else vouches for them.
    pub oidc: Option<Oidc>,
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
        trusted_proxies: section.list("trusted_proxies", Vec::new(), |scalar| {
            scalar.text().trim().parse().map_err(|error: NoNetwork| Expected::new(error.to_string()))
        }),
        sessions: people::read_sessions(&section.section("sessions")),
        audit: people::read_audit(&section.section("audit")),
        oidc: people::read_oidc(&section.section("oidc")),
    }
}
