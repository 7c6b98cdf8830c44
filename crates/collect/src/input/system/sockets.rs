//! The metricset `socket_summary`: how many sockets there are, by kind and state.

use std::time::Duration;

use super::document::Document;
use super::metricset::{Metricset, Pace};
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// The states of a TCP socket as `/proc/net/tcp` numbers them, from 1 on, by the names of the documents. What is closed
/// (7), or not yet a connection (12), has no field.
const STATES: [Option<&str>; 11] = [
    Some("established"),
    Some("syn_sent"),
    Some("syn_recv"),
    Some("fin_wait1"),
    Some("fin_wait2"),
    Some("time_wait"),
    None,
    Some("close_wait"),
    Some("last_ack"),
    Some("listening"),
    Some("closing"),
];
const LISTENING: usize = 9;

/// How many sockets are in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: u64,
    states: [u64; STATES.len()],
}

impl Counts {
    /// Counts a line of `/proc/net/tcp`: a number with a colon, two addresses, the state in hexadecimal. The title has
    /// no colon.
    fn add(&mut self, line: &[u8]) {
        let mut words = text::words(line);
        if !words.next().is_some_and(|word| word.ends_with(b":")) {
            return;
        }
        let state = words.nth(2).and_then(|word| std::str::from_utf8(word).ok());
        let Some(state) = state.and_then(|word| usize::from_str_radix(word, 16).ok()) else { return };
        self.all = self.all.saturating_add(1);
        if let Some(count) = state.checked_sub(1).and_then(|index| self.states.get_mut(index)) {
            *count = count.saturating_add(1);
        }
    }
}

/// Of IPv4 and IPv6 together. A kernel without IPv6 has no table of it.
fn count(root: &Root, table: &str) -> Result<Counts, ReadError> {
    let mut counts = Counts::default();
    root.lines(table, |line| counts.add(line))?;
    // Nothing is lost where it cannot be read.
    let _ = root.lines(&format!("{table}6"), |line| counts.add(line));
    Ok(counts)
}

/// What `/proc/net/sockstat` says of a protocol, `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1`.
fn statistic(sockstat: &[u8], protocol: &[u8], name: &[u8]) -> Option<u64> {
    let line = text::lines(sockstat).find_map(|line| line.strip_prefix(protocol))?;
    let mut words = text::words(line);
    words.find(|word| *word == name)?;
    text::next(&mut words)
}

/// `socket_summary`.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    buffer: Vec<u8>,
}

impl Metricset for Sockets {
    fn name(&self) -> &'static str {
        "socket_summary"
    }

    fn pace(&self) -> Pace {
        Pace::Slow
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        let network = root.network();
        let tcp = count(root, &format!("{network}/tcp"))?;
        let udp = count(root, &format!("{network}/udp"))?;
        root.read(&format!("{network}/sockstat"), &mut self.buffer)?;
        let page = rustix::param::page_size() as u64;
        let memory = |protocol: &[u8]| {
            statistic(&self.buffer, protocol, b"mem").map(|pages| pages.saturating_mul(page))
        };

        let mut document = Document::default();
        document.set("system.socket.summary.all.count", tcp.all.saturating_add(udp.all));
        document.set("system.socket.summary.all.listening", tcp.states[LISTENING]);
        document.maybe("system.socket.summary.tcp.memory", memory(b"TCP:"));
        document.maybe("system.socket.summary.tcp.all.orphan", statistic(&self.buffer, b"TCP:", b"orphan"));
        document.set("system.socket.summary.tcp.all.count", tcp.all);
        for (state, count) in STATES.iter().zip(tcp.states) {
            if let Some(state) = state {
                document.set(&format!("system.socket.summary.tcp.all.{state}"), count);
            }
        }
        document.maybe("system.socket.summary.udp.memory", memory(b"UDP:"));
        document.set("system.socket.summary.udp.all.count", udp.all);
        Ok(vec![document])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statistics_are_found_by_name() {
        let text = b"sockets: used 9\nTCP: inuse 5 orphan 2 tw 0 alloc 6 mem 7\nUDP: inuse 1\n";
        assert_eq!(statistic(text, b"TCP:", b"mem"), Some(7));
        assert_eq!(statistic(text, b"UDP:", b"mem"), None);
        assert_eq!(statistic(text, b"RAW:", b"mem"), None);
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in " *[0-9]{1,3}:? [0-9A-F:]{0,9} [0-9A-F:]{0,9} [0-9A-Fx]{1,20} .*") {
            let mut counts = Counts::default();
            counts.add(line.as_bytes());
            prop_assert!(counts.states.iter().sum::<u64>() <= counts.all);
        }
    }
}
