//! The metricset `load`: load averages.

use std::time::Duration;

use super::cpu::Processors;
use super::document::Document;
use super::metricset::Metricset;
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// `load`.
#[derive(Debug, Default)]
pub(super) struct Load {
    buffer: Vec<u8>,
}

impl Metricset for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        let cores = match root.read("sys/devices/system/cpu/online", &mut self.buffer) {
            Ok(()) => online(&self.buffer).max(1),
            // Not there where only `/proc` is: then the larger file says it.
            Err(_) => {
                root.read("proc/stat", &mut self.buffer)?;
                Processors::parse(&self.buffer).count() as u64
            }
        };
        root.read("proc/loadavg", &mut self.buffer)?;
        let mut document = Document::default();
        document.set("system.load.cores", cores);
        for (minutes, word) in ["1", "5", "15"].into_iter().zip(text::words(&self.buffer)) {
            let Some(load) = text::real(word) else { continue };
            document.share(&format!("system.load.{minutes}"), load);
            document.share(&format!("system.load.norm.{minutes}"), load / cores as f64);
        }
        Ok(vec![document])
    }
}

/// How many processors a list of ranges names: `0-3,8`.
fn online(list: &[u8]) -> u64 {
    let count = |range: &[u8]| {
        let mut ends = range.split(|byte| *byte == b'-');
        let first = text::number(ends.next()?)?;
        let last = ends.next().map_or(Some(first), text::number)?;
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim_ascii().split(|byte| *byte == b',').filter_map(count).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_ranges() {
        assert_eq!(online(b"0-3,8\n"), 5);
        assert_eq!(online(b"0"), 1);
        assert_eq!(online(b"3-1,x,0-18446744073709551615"), 0);
    }
}
