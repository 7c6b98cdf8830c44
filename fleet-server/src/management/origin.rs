//! Where a request came from when there are proxies in front of this server.
//!
//! A proxy adds the address of whoever asked it to the end of `X-Forwarded-For`. What stands there is believed as far
//! as those who wrote it are: from the end on, while it was added by a proxy that the configuration names.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use super::caller::{Encrypted, Remote};
use crate::config::management::Network;

/// More addresses than this are no chain of proxies.
const LONGEST: usize = 32;

/// The proxies that are believed. Clones share them.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// These, and no others.
    #[must_use]
    pub fn new(networks: &[Network]) -> TrustedProxies {
        TrustedProxies(networks.into())
    }

    fn are_trusted(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Who asked, and whether nobody could listen: `peer` is the other end of the connection.
    pub(super) fn origin(
        &self,
        peer: IpAddr,
        is_encrypted: bool,
        headers: &HeaderMap,
    ) -> (Remote, Encrypted) {
        if !self.are_trusted(peer) {
            return (Remote(peer), Encrypted(is_encrypted));
        }
        let texts = |name: &str| -> Vec<&str> {
            let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(',')).map(str::trim).collect()
        };
        let mut remote = peer;
        for text in texts("x-forwarded-for").into_iter().rev().take(LONGEST) {
            let Some(address) = address(text) else { break };
            remote = address;
            if !self.are_trusted(address) {
                break;
            }
        }
        let last = texts("x-forwarded-proto").pop();
        let is_encrypted = last.map_or(is_encrypted, |scheme| scheme.eq_ignore_ascii_case("https"));
        (Remote(remote), Encrypted(is_encrypted))
    }
}

/// Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn origin(trusted: &[&str], peer: &str, lines: &[(&'static str, &str)]) -> (String, bool) {
        let networks: Vec<Network> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        let (Remote(remote), Encrypted(is_encrypted)) =
            TrustedProxies::new(&networks).origin(peer.parse().unwrap(), false, &headers);
        (remote.to_string(), is_encrypted)
    }

    #[test]
    fn what_a_proxy_adds_is_believed_and_nothing_else() {
        let proxy = ["10.0.0.0/8"];
        for (trusted, peer, forwarded, expected) in [
            (&[][..], "10.0.0.1", "192.0.2.7", "10.0.0.1"),
            (&proxy, "192.0.2.1", "192.0.2.7", "192.0.2.1"),
            (&proxy, "10.0.0.1", "192.0.2.7", "192.0.2.7"),
            // Who asks may write what they like in front.
            (&proxy, "10.0.0.1", "127.0.0.1, 10.0.0.9, 192.0.2.7", "192.0.2.7"),
            (&proxy, "10.0.0.1", "192.0.2.7, 10.0.0.2", "192.0.2.7"),
            (&proxy, "10.0.0.1", "x, 10.0.0.2", "10.0.0.2"),
            (&proxy, "10.0.0.1", "", "10.0.0.1"),
            (&proxy, "10.0.0.1", "192.0.2.7:1234", "192.0.2.7"),
            (&proxy, "10.0.0.1", "[2001:db8::1]:1234", "2001:db8::1"),
            (&proxy, "10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ] {
            let (remote, _) = origin(trusted, peer, &[("x-forwarded-for", forwarded)]);
            assert_eq!(remote, expected, "{peer} {forwarded}");
        }
        let two = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(origin(&proxy, "10.0.0.1", &two).0, "192.0.2.7");
    }

    #[test]
    fn a_proxy_says_whether_it_was_asked_over_tls() {
        let https = [("x-forwarded-proto", "https")];
        assert!(origin(&["10.0.0.1"], "10.0.0.1", &https).1);
        assert!(!origin(&["10.0.0.1"], "10.0.0.2", &https).1);
        assert!(!origin(&["10.0.0.1"], "10.0.0.1", &[("x-forwarded-proto", "https, http")]).1);
    }
}
