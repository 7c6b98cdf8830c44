//! A network, as `address/bits`.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4 addresses are mapped into IPv6 (RFC 4291, 2.5.5.2).
    first: u128,
    mask: u128,
}

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an IP address, or a network such as 10.0.0.0/8")]
pub struct NoNetwork;

/// The bits in front of an IPv4 address that is mapped.
const MAPPED: u32 = 128 - Ipv4Addr::BITS;

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    /// Whether an address is in it, be it written as IPv4 or mapped.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.first
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Network, NoNetwork> {
        let (address, length) = text.split_once('/').map_or((text, None), |(head, tail)| (head, Some(tail)));
        let address: IpAddr = address.trim().parse().map_err(|_| NoNetwork)?;
        let (most, before) = if address.is_ipv4() { (Ipv4Addr::BITS, MAPPED) } else { (128, 0) };
        let length: u32 = length.map_or(Ok(most), |length| length.trim().parse().map_err(|_| NoNetwork))?;
        if length > most {
            return Err(NoNetwork);
        }
        let mask = u128::MAX.checked_shl(128 - length - before).unwrap_or(0);
        Ok(Network { first: bits(address) & mask, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/31", "::ffff:10.1.2.2", "10.1.2.4"),
            ("0.0.0.0/0", "192.0.2.7", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
        assert!("::/0".parse::<Network>().unwrap().contains("192.0.2.7".parse().unwrap()));
        for text in
            ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "example.org", "10.0.0.0/8/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
