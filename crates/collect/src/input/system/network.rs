//! The metricset `network`: traffic of each interface, and of the host as a whole.

use std::time::Duration;

use super::delta::growth;
use super::document::Document;
use super::metricset::Metricset;
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    bytes: u64,
    packets: u64,
    errors: u64,
    dropped: u64,
}

/// Counters of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interface {
    name: String,
    received: Traffic,
    sent: Traffic,
}

/// `/proc/net/dev`: two lines of titles, then `name: ` and 16 numbers for each interface.
fn parse(dev: &[u8]) -> impl Iterator<Item = Interface> {
    text::lines(dev).filter_map(|line| {
        // The name of an alias may have a colon in it, what follows the last one may not.
        let colon = line.iter().rposition(|byte| *byte == b':')?;
        let mut words = text::words(&line[colon + 1..]);
        let mut numbers = [0_u64; 16];
        for number in &mut numbers {
            *number = text::next(&mut words)?;
        }
        let traffic = |at: usize| Traffic {
            bytes: numbers[at],
            packets: numbers[at + 1],
            errors: numbers[at + 2],
            dropped: numbers[at + 3],
        };
        let name = text::text(line[..colon].trim_ascii());
        Some(Interface { name, received: traffic(0), sent: traffic(8) })
    })
}

/// What went through all interfaces between two measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Growth {
    ingress_bytes: u64,
    ingress_packets: u64,
    egress_bytes: u64,
    egress_packets: u64,
}

/// An interface that is new, or whose counters were set back, adds nothing: what it counted before is not known.
fn grown(before: &[Interface], now: &[Interface]) -> Growth {
    let mut sum = Growth::default();
    for interface in now {
        let Some(old) = before.iter().find(|old| old.name == interface.name) else { continue };
        let add = |sum: &mut u64, before: u64, now: u64| {
            *sum = sum.saturating_add(growth(before, now).unwrap_or(0));
        };
        add(&mut sum.ingress_bytes, old.received.bytes, interface.received.bytes);
        add(&mut sum.ingress_packets, old.received.packets, interface.received.packets);
        add(&mut sum.egress_bytes, old.sent.bytes, interface.sent.bytes);
        add(&mut sum.egress_packets, old.sent.packets, interface.sent.packets);
    }
    sum
}

/// `network`.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Lower case; empty: all.
    interfaces: Vec<String>,
    before: Option<Vec<Interface>>,
    buffer: Vec<u8>,
}

impl Network {
    /// Of these interfaces, in whatever case; none: all of them.
    pub(super) fn new(interfaces: &[String]) -> Network {
        let interfaces = interfaces.iter().map(|name| name.to_lowercase()).collect();
        Network { interfaces, ..Network::default() }
    }

    fn is_wanted(&self, interface: &Interface) -> bool {
        self.interfaces.is_empty() || self.interfaces.contains(&interface.name.to_lowercase())
    }
}

impl Metricset for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        root.read(&format!("{}/dev", root.network()), &mut self.buffer)?;
        let now: Vec<Interface> = parse(&self.buffer).filter(|interface| self.is_wanted(interface)).collect();
        let mut documents: Vec<Document> = now.iter().map(document).collect();
        if let Some(before) = &self.before {
            documents.push(host_document(&grown(before, &now)));
        }
        self.before = Some(now);
        Ok(documents)
    }
}

fn document(interface: &Interface) -> Document {
    let mut document = Document::default();
    document.set("system.network.name", interface.name.as_str());
    for (direction, traffic) in [("in", &interface.received), ("out", &interface.sent)] {
        document.set(&format!("system.network.{direction}.bytes"), traffic.bytes);
        document.set(&format!("system.network.{direction}.packets"), traffic.packets);
        document.set(&format!("system.network.{direction}.errors"), traffic.errors);
        document.set(&format!("system.network.{direction}.dropped"), traffic.dropped);
    }
    document
}

fn host_document(growth: &Growth) -> Document {
    let mut document = Document::default();
    document.set("host.network.ingress.bytes", growth.ingress_bytes);
    document.set("host.network.ingress.packets", growth.ingress_packets);
    document.set("host.network.egress.bytes", growth.egress_bytes);
    document.set("host.network.egress.packets", growth.egress_packets);
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interface(name: &str, received: u64, sent: u64) -> Interface {
        let traffic = |bytes| Traffic { bytes, ..Traffic::default() };
        Interface { name: name.to_owned(), received: traffic(received), sent: traffic(sent) }
    }

    #[test]
    fn only_what_is_known_before_and_after_counts() {
        let before = [interface("a", 100, 10), interface("gone", 5, 5), interface("reset", 1_000, 9)];
        let now = [interface("a", 150, 10), interface("new", 7_000, 1), interface("reset", 10, 10)];
        let expected = Growth { ingress_bytes: 50, egress_bytes: 1, ..Growth::default() };
        assert_eq!(grown(&before, &now), expected);
    }

    #[test]
    fn a_counter_of_32_bits_goes_on_after_its_end() {
        let before = [interface("a", u64::from(u32::MAX) - 9, 0)];
        assert_eq!(grown(&before, &[interface("a", 90, 0)]).ingress_bytes, 100);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "([ a-z:]{0,9}:( [0-9x]{1,21}){0,18}\n){0,8}") {
            let interfaces: Vec<Interface> = parse(text.as_bytes()).collect();
            grown(&interfaces, &interfaces);
        }
    }
}
