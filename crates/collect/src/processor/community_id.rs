//! `community_id`: one name for the two directions of a network connection, by the Community ID Flow Hashing of
//! Corelight, version 1.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use serde_json::{Value, json};

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

#[derive(Debug)]
struct CommunityId {
    source: (FieldPath, FieldPath),
    destination: (FieldPath, FieldPath),
    number: FieldPath,
    transport: FieldPath,
    icmp: (FieldPath, FieldPath),
    target: FieldPath,
    seed: u16,
}

/// Who spoke to whom. The ports of ICMP are its type and code.
struct FlowTuple {
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    protocol: u8,
    /// The other direction cannot be told from this one.
    one_way: bool,
}

impl Processor for CommunityId {
    /// An event that is not of a connection stays as it is.
    fn run(&self, event: &mut Event) -> Flow {
        if let Some(flow) = self.flow(event) {
            event.put(&self.target, json!(flow.hash(self.seed)));
        }
        Flow::Keep
    }
}

impl CommunityId {
    fn flow(&self, event: &Event) -> Option<FlowTuple> {
        let protocol = self.protocol(event)?;
        let address = |field: &FieldPath| event.text(field)?.parse::<IpAddr>().ok();
        let (source, destination) = (address(&self.source.0)?, address(&self.destination.0)?);
        let number =
            |field: &FieldPath| number(event.get(field)?).and_then(|number| u16::try_from(number).ok());
        let (from, to, one_way) = match protocol {
            TCP | UDP | SCTP => (number(&self.source.1)?, number(&self.destination.1)?, false),
            ICMP | ICMP6 => {
                let kind = number(&self.icmp.0)?;
                match answer(protocol, kind) {
                    Some(answer) => (kind, answer, false),
                    None => (kind, number(&self.icmp.1)?, true),
                }
            }
            _ => (0, 0, false),
        };
        Some(FlowTuple { source: (source, from), destination: (destination, to), protocol, one_way })
    }

    fn protocol(&self, event: &Event) -> Option<u8> {
        if let Some(number) = event.get(&self.number).and_then(number) {
            return u8::try_from(number).ok();
        }
        Some(match event.text(&self.transport)?.to_ascii_lowercase().as_str() {
            "icmp" => ICMP,
            "igmp" => 2,
            "tcp" => TCP,
            "udp" => UDP,
            "gre" => 47,
            "icmpv6" | "ipv6-icmp" => ICMP6,
            "eigrp" => 88,
            "ospf" => 89,
            "pim" => 103,
            "sctp" => SCTP,
            other => other.parse().ok()?,
        })
    }
}

impl FlowTuple {
    fn hash(&self, seed: u16) -> String {
        let has_ports = matches!(self.protocol, TCP | UDP | SCTP | ICMP | ICMP6);
        let ordered = self.one_way || self.source <= self.destination;
        let (first, second) =
            if ordered { (self.source, self.destination) } else { (self.destination, self.source) };
        let mut digest = digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        digest.update(&seed.to_be_bytes());
        for (address, _) in [first, second] {
            match address {
                IpAddr::V4(address) => digest.update(&address.octets()),
                IpAddr::V6(address) => digest.update(&address.octets()),
            }
        }
        digest.update(&[self.protocol, 0]);
        if has_ports {
            digest.update(&first.1.to_be_bytes());
            digest.update(&second.1.to_be_bytes());
        }
        format!("1:{}", STANDARD.encode(digest.finish()))
    }
}

/// The type of the message that answers one of this type, of those that have an answer.
fn answer(protocol: u8, kind: u16) -> Option<u16> {
    // Echo, timestamp, information, router and mask of ICMP; echo, router, neighbour, listener and so on of ICMPv6.
    const ICMP_PAIRS: [(u16, u16); 5] = [(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
    const ICMP6_PAIRS: [(u16, u16); 6] =
        [(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)];
    let pairs: &[(u16, u16)] = if protocol == ICMP { &ICMP_PAIRS } else { &ICMP6_PAIRS };
    pairs.iter().find_map(|(ask, reply)| match kind {
        kind if kind == *ask => Some(*reply),
        kind if kind == *reply => Some(*ask),
        _ => None,
    })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let field = |key: &str, default: &str| {
        Ok(FieldPath::new(&config.text(key)?.unwrap_or_else(|| default.to_owned())))
    };
    let seed = config.number("seed", 0)?;
    Ok(Box::new(CommunityId {
        source: (field("fields.source_ip", "source.ip")?, field("fields.source_port", "source.port")?),
        destination: (
            field("fields.destination_ip", "destination.ip")?,
            field("fields.destination_port", "destination.port")?,
        ),
        number: field("fields.iana_number", "network.iana_number")?,
        transport: field("fields.transport", "network.transport")?,
        icmp: (field("fields.icmp_type", "icmp.type")?, field("fields.icmp_code", "icmp.code")?),
        target: field("target", "network.community_id")?,
        seed: u16::try_from(seed).map_err(|_| config.mistake("seed", "must be 0 to 65535"))?,
    }))
}
