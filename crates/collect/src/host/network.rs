//! Addresses of the machine.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// A machine with a bridge port for each of its containers has many more interfaces than addresses that tell
/// anything; an event that carries them all is no help.
const MOST: usize = 256;

/// Addresses of all interfaces but the loopback.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) ip: Vec<IpAddr>,
    pub(super) mac: Vec<String>,
}

/// Asks the kernel; what it does not tell, there is not.
pub(super) fn addresses() -> Addresses {
    let Ok(interfaces) = getifaddrs() else { return Addresses::default() };
    let mut ip = Vec::new();
    let mut mac = BTreeSet::new();
    for interface in interfaces.filter(|interface| !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)) {
        if let Some(address) =
            ip_address(&interface).filter(|address| !ip.contains(address) && ip.len() < MOST)
        {
            ip.push(address);
        }
        if let Some(address) = hardware_address(&interface).filter(|_| mac.len() < MOST) {
            mac.insert(address);
        }
    }
    Addresses { ip, mac: mac.into_iter().collect() }
}

fn storage(interface: &InterfaceAddress) -> Option<&SockaddrStorage> {
    interface.address.as_ref().filter(|address| address.family().is_some())
}

fn ip_address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = storage(interface)?;
    if let Some(address) = address.as_sockaddr_in() {
        return Some(address.ip().into());
    }
    address.as_sockaddr_in6().map(|address| address.ip().into())
}

/// As the common schema writes it: upper case, with hyphens. Interfaces without one have zeros.
fn hardware_address(interface: &InterfaceAddress) -> Option<String> {
    let bytes = storage(interface)?.as_link_addr()?.addr().filter(|bytes| *bytes != [0; 6])?;
    Some(bytes.map(|byte| format!("{byte:02X}")).join("-"))
}
