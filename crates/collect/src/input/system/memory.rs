//! The metricset `memory`: `/proc/meminfo` and `/proc/vmstat`.

use std::time::Duration;

use super::delta::ratio;
use super::document::Document;
use super::metricset::Metricset;
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// `memory`.
#[derive(Debug, Default)]
pub(super) struct Memory {
    buffer: Vec<u8>,
}

impl Metricset for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        let mut document = Document::default();
        root.read("proc/meminfo", &mut self.buffer)?;
        main_memory(&Table(&self.buffer), &mut document);
        huge_pages(&Table(&self.buffer), &mut document);
        // Kernels without swap or with counters switched off have little or nothing here.
        if root.read("proc/vmstat", &mut self.buffer).is_ok() {
            counters(&Table(&self.buffer), &mut document);
        }
        Ok(vec![document])
    }
}

/// All of the machine's memory in bytes, if it is known.
pub(super) fn total(meminfo: &[u8]) -> Option<u64> {
    Table(meminfo).bytes(b"MemTotal:")
}

/// Lines of a name, a number and perhaps a unit.
struct Table<'a>(&'a [u8]);

impl Table<'_> {
    fn number(&self, name: &[u8]) -> Option<u64> {
        let mut words = text::lines(self.0)
            .map(text::words)
            .find_map(|mut words| (words.next()? == name).then_some(words))?;
        text::next(&mut words)
    }

    /// What is given in kilobytes.
    fn bytes(&self, name: &[u8]) -> Option<u64> {
        self.number(name)?.checked_mul(1024)
    }
}

fn main_memory(table: &Table<'_>, document: &mut Document) {
    let (total, free) = (table.bytes(b"MemTotal:"), table.bytes(b"MemFree:"));
    let cached = table.bytes(b"Cached:");
    document.maybe("system.memory.total", total);
    document.maybe("system.memory.free", free);
    document.maybe("system.memory.cached", cached);
    if let (Some(total), Some(free)) = (total, free) {
        used("system.memory.used", total, free, document);
        // Kernels before 3.14 do not say what is available.
        let estimate =
            free.saturating_add(table.bytes(b"Buffers:").unwrap_or(0)).saturating_add(cached.unwrap_or(0));
        let available = table.bytes(b"MemAvailable:").unwrap_or(estimate);
        document.set("system.memory.actual.free", available);
        used("system.memory.actual.used", total, available, document);
    }
    if let (Some(total), Some(free)) = (table.bytes(b"SwapTotal:"), table.bytes(b"SwapFree:")) {
        document.set("system.memory.swap.total", total);
        document.set("system.memory.swap.free", free);
        used("system.memory.swap.used", total, free, document);
    }
}

fn used(name: &str, total: u64, free: u64, document: &mut Document) {
    let used = total.saturating_sub(free);
    document.set(&format!("{name}.bytes"), used);
    document.share(&format!("{name}.pct"), ratio(used, total));
}

fn huge_pages(table: &Table<'_>, document: &mut Document) {
    let (Some(total), Some(free)) = (table.number(b"HugePages_Total:"), table.number(b"HugePages_Free:"))
    else {
        return;
    };
    let reserved = table.number(b"HugePages_Rsvd:").unwrap_or(0);
    let size = table.bytes(b"Hugepagesize:").unwrap_or(0);
    // A page that is promised cannot be had by anyone else: it counts as used.
    let used = total.saturating_sub(free).saturating_add(reserved);
    document.set("system.memory.hugepages.total", total);
    document.set("system.memory.hugepages.free", free);
    document.set("system.memory.hugepages.reserved", reserved);
    document.maybe("system.memory.hugepages.surplus", table.number(b"HugePages_Surp:"));
    document.set("system.memory.hugepages.default_size", size);
    document.set("system.memory.hugepages.used.bytes", used.saturating_mul(size));
    document.share("system.memory.hugepages.used.pct", ratio(used, total));
}

/// Counters of `/proc/vmstat` by the fields that they go to.
const COUNTERS: [(&[u8], &str); 11] = [
    (b"pswpin", "system.memory.swap.in.pages"),
    (b"pswpout", "system.memory.swap.out.pages"),
    (b"swap_ra", "system.memory.swap.readahead.pages"),
    (b"swap_ra_hit", "system.memory.swap.readahead.cached"),
    (b"thp_swpout", "system.memory.hugepages.swap.out.pages"),
    (b"thp_swpout_fallback", "system.memory.hugepages.swap.out.fallback"),
    (b"pgscan_direct", "system.memory.page_stats.pgscan_direct.pages"),
    (b"pgscan_kswapd", "system.memory.page_stats.pgscan_kswapd.pages"),
    (b"pgsteal_direct", "system.memory.page_stats.pgsteal_direct.pages"),
    (b"pgsteal_kswapd", "system.memory.page_stats.pgsteal_kswapd.pages"),
    (b"pgfree", "system.memory.page_stats.pgfree.pages"),
];

fn counters(table: &Table<'_>, document: &mut Document) {
    // One pass: the file has some 150 lines.
    for line in text::lines(table.0) {
        let mut words = text::words(line);
        let Some(name) = words.next() else { continue };
        if let Some((_, field)) = COUNTERS.iter().find(|(counter, _)| *counter == name) {
            document.maybe(field, text::next(&mut words));
        }
    }
    for kind in ["direct", "kswapd"] {
        let counter = |verb: &str| table.number(format!("{verb}_{kind}").as_bytes());
        if let (Some(scanned @ 1..), Some(stolen)) = (counter("pgscan"), counter("pgsteal")) {
            document
                .share(&format!("system.memory.page_stats.{kind}_efficiency.pct"), ratio(stolen, scanned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "((MemTotal:|MemFree:|SwapTotal:|SwapFree:|HugePages_Total:|HugePages_Free:|Hugepagesize:|pgscan_direct|pgsteal_direct)( [0-9x]{0,21}){0,3}\n){0,12}") {
            let mut document = Document::default();
            main_memory(&Table(text.as_bytes()), &mut document);
            huge_pages(&Table(text.as_bytes()), &mut document);
            counters(&Table(text.as_bytes()), &mut document);
        }
    }
}
