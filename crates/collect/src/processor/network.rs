//! Networks: blocks of addresses and kinds of them, in conditions and in `add_network_direction`.

use std::net::IpAddr;

use serde_json::json;

use super::Processor;
use super::attempt::{self, Attempt};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

/// Some addresses.
#[derive(Debug)]
pub(super) enum Network {
    Block(IpAddr, u8),
    Named(&'static str),
}

const NAMES: [&str; 9] = [
    "loopback",
    "private",
    "public",
    "unicast",
    "multicast",
    "interface_local_multicast",
    "link_local_multicast",
    "link_local_unicast",
    "unspecified",
];

impl Network {
    /// A block such as `10.0.0.0/8`, or a name.
    ///
    /// # Errors
    /// It is neither.
    pub(super) fn read(text: &str) -> Result<Network, String> {
        if let Some(name) = NAMES.iter().find(|name| **name == text) {
            return Ok(Network::Named(name));
        }
        let wrong = || {
            let names = NAMES.join(", ");
            format!("{text:?} is no network: give a block such as 10.0.0.0/8, or one of {names}")
        };
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if length > width {
            return Err(wrong());
        }
        Ok(Network::Block(address, length))
    }
}

/// Whether the address is in one of the networks.
pub(super) fn inside(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| match network {
        Network::Block(block, length) => in_block(address, *block, *length),
        Network::Named(name) => named(address, name),
    })
}

fn in_block(address: IpAddr, block: IpAddr, length: u8) -> bool {
    let (address, block, width) = match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => {
            (u128::from(address.to_bits()), u128::from(block.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(block)) => (address.to_bits(), block.to_bits(), 128),
        _ => return false,
    };
    let shift = u32::from(u8::saturating_sub(width, length));
    address.checked_shr(shift) == block.checked_shr(shift)
}

fn named(address: IpAddr, name: &str) -> bool {
    let private = match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let multicast = |scope: u16| match address {
        // Only the last of these blocks has a meaning like that of a scope.
        IpAddr::V4(address) => scope == 2 && address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.is_multicast() && address.segments()[0] & 0xf == scope,
    };
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    let special = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    match name {
        "loopback" => address.is_loopback(),
        "private" => private,
        "unicast" => !(broadcast || special || link_local),
        "multicast" => address.is_multicast(),
        "interface_local_multicast" => multicast(1),
        "link_local_multicast" => multicast(2),
        "link_local_unicast" => link_local,
        "unspecified" => address.is_unspecified(),
        _ => !(private || link_local || special),
    }
}

#[derive(Debug)]
struct AddDirection {
    source: FieldPath,
    destination: FieldPath,
    target: FieldPath,
    internal: Vec<Network>,
}

impl Attempt for AddDirection {
    /// Nothing, where one of the addresses is missing.
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let is_internal = |field: &FieldPath| match event.text(field) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(address) => Ok(Some(inside(address, &self.internal))),
                Err(_) => Err(format!("field {field} is no address: {text:?}")),
            },
        };
        let (Some(source), Some(destination)) = (is_internal(&self.source)?, is_internal(&self.destination)?)
        else {
            return Ok(());
        };
        let direction = match (source, destination) {
            (true, true) => "internal",
            (true, false) => "outbound",
            (false, true) => "inbound",
            (false, false) => "external",
        };
        event.put(&self.target, json!(direction));
        Ok(())
    }
}

/// `add_network_direction`.
pub(super) fn direction(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let texts = config.texts("internal_networks")?;
    if texts.is_empty() {
        return Err(config.mistake("internal_networks", "is missing: name the networks that are inside"));
    }
    let networks = texts.iter().map(|text| Network::read(text));
    let internal = networks.collect::<Result<_, _>>();
    Ok(attempt::always_telling(AddDirection {
        source: attempt::needed(config, "source")?,
        destination: attempt::needed(config, "destination")?,
        target: attempt::needed(config, "target")?,
        internal: internal.map_err(|problem| config.mistake("internal_networks", problem))?,
    }))
}
