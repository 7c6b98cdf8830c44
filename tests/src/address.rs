//! Who has which address on a cluster's bridge.

use std::fmt;
use std::net::Ipv4Addr;

/// An address in the subnet of a slot: `10.94.<slot>.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    slot: u8,
    host: u8,
}

impl Address {
    /// The bridge, which is this host.
    pub(crate) fn bridge(slot: u8) -> Self {
        Self { slot, host: 1 }
    }

    /// The nth machine, counted from 1.
    pub(crate) fn machine(slot: u8, number: u8) -> Self {
        Self { slot, host: 10 + number }
    }

    /// The nth etcd member, counted from 1.
    pub(crate) fn etcd(slot: u8, number: u8) -> Self {
        Self { slot, host: 240 + number }
    }

    /// The address itself.
    pub fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 94, self.slot, self.host)
    }

    /// A hardware address of its own: a machine that comes back after a power cut keeps its own, so nobody's
    /// neighbour table is stale.
    pub(crate) fn hardware(self) -> String {
        format!("02:94:00:00:{:02x}:{:02x}", self.slot, self.host)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}
