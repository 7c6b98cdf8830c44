//! The metricset `diskio`: what `/proc/diskstats` says about each disk and partition.

use std::time::Duration;

use super::delta::{growth, ratio};
use super::document::Document;
use super::metricset::Metricset;
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// The unit of `/proc/diskstats`, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// Counters of one direction; the names are those of the kernel's `Documentation/admin-guide/iostats.rst`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Transfers {
    count: u64,
    merged: u64,
    sectors: u64,
    /// Milliseconds.
    time: u64,
}

impl Transfers {
    fn bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR)
    }

    fn grown(&self, before: &Transfers) -> Option<Transfers> {
        Some(Transfers {
            count: growth(before.count, self.count)?,
            merged: growth(before.merged, self.merged)?,
            sectors: growth(before.sectors, self.sectors)?,
            time: growth(before.time, self.time)?,
        })
    }
}

/// Counters of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    read: Transfers,
    write: Transfers,
    /// Requests on their way now: a level, not a counter.
    in_flight: u64,
    /// Milliseconds with at least one request on its way.
    busy: u64,
    /// Milliseconds, each times the requests on their way.
    weighted: u64,
}

impl Counters {
    fn grown(&self, before: &Counters) -> Option<Counters> {
        Some(Counters {
            read: self.read.grown(&before.read)?,
            write: self.write.grown(&before.write)?,
            in_flight: self.in_flight,
            busy: growth(before.busy, self.busy)?,
            weighted: growth(before.weighted, self.weighted)?,
        })
    }

    fn was_used(&self) -> bool {
        self.read.count > 0 || self.write.count > 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    name: String,
    /// As the kernel's files name the device, `8:0`.
    number: (u64, u64),
    counters: Counters,
    identity: Option<Identity>,
}

/// What does not change while a disk is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Identity {
    serial_number: Option<String>,
    /// Neither a partition nor made of other disks: what it transfers is counted nowhere else.
    is_whole: bool,
}

fn parse(diskstats: &[u8]) -> impl Iterator<Item = Disk> {
    text::lines(diskstats).filter_map(|line| {
        let mut words = text::words(line);
        let number = (text::next(&mut words)?, text::next(&mut words)?);
        let name = text::text(words.next()?);
        let mut transfers = || {
            let mut next = || text::next(&mut words);
            Some(Transfers { count: next()?, merged: next()?, sectors: next()?, time: next()? })
        };
        let (read, write) = (transfers()?, transfers()?);
        let mut next = || text::next(&mut words);
        let counters = Counters { read, write, in_flight: next()?, busy: next()?, weighted: next()? };
        Some(Disk { name, number, counters, identity: None })
    })
}

impl Identity {
    fn read(root: &Root, disk: &Disk) -> Identity {
        // `/` in the name of a device is `!` in `/sys`. A name that leads elsewhere is none.
        let name = disk.name.replace('/', "!");
        if name == ".." || name == "." {
            return Identity::default();
        }
        let block = format!("sys/block/{name}");
        let slaves = std::fs::read_dir(root.path(&format!("{block}/slaves")));
        let is_made_of_others = slaves.is_ok_and(|mut entries| entries.next().is_some());
        let is_memory = ["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind));
        Identity {
            serial_number: serial_number(root, disk.number)
                .or_else(|| root.line(&format!("{block}/device/serial")))
                .or_else(|| root.line(&format!("{block}/serial"))),
            is_whole: root.path(&block).exists() && !is_made_of_others && !is_memory,
        }
    }
}

/// As udev knows it.
fn serial_number(root: &Root, (major, minor): (u64, u64)) -> Option<String> {
    let mut buffer = Vec::new();
    root.read(&format!("run/udev/data/b{major}:{minor}"), &mut buffer).ok()?;
    let value = |key: &[u8]| text::lines(&buffer).find_map(|line| line.strip_prefix(key));
    value(b"E:ID_SERIAL_SHORT=").or_else(|| value(b"E:ID_SERIAL=")).map(text::text)
}

/// `diskio`.
#[derive(Debug, Default)]
pub(super) struct DiskIo {
    /// Empty: all that were ever used.
    devices: Vec<String>,
    before: Option<(Duration, Vec<Disk>)>,
    buffer: Vec<u8>,
}

impl DiskIo {
    /// Of these devices; none: all that have transferred anything since the machine was started.
    pub(super) fn new(devices: Vec<String>) -> DiskIo {
        DiskIo { devices, ..DiskIo::default() }
    }

    fn is_wanted(&self, disk: &Disk) -> bool {
        if self.devices.is_empty() { disk.counters.was_used() } else { self.devices.contains(&disk.name) }
    }

    /// The same disk at the last measurement.
    fn old(&self, disk: &Disk) -> Option<&Disk> {
        let (_, disks) = self.before.as_ref()?;
        disks.iter().find(|old| old.name == disk.name && old.number == disk.number)
    }
}

impl Metricset for DiskIo {
    fn name(&self) -> &'static str {
        "diskio"
    }

    fn measure(&mut self, root: &Root, now: Duration) -> Result<Vec<Document>, ReadError> {
        root.read("proc/diskstats", &mut self.buffer)?;
        let mut disks: Vec<Disk> = parse(&self.buffer).filter(|disk| self.is_wanted(disk)).collect();
        let elapsed = self.before.as_ref().map_or(Duration::ZERO, |(then, _)| now.saturating_sub(*then));
        let mut documents = Vec::with_capacity(disks.len() + 1);
        let (mut read, mut written) = (0_u64, 0_u64);
        for disk in &mut disks {
            let old = self.old(disk);
            let identity =
                old.and_then(|old| old.identity.clone()).unwrap_or_else(|| Identity::read(root, disk));
            let grown = old.and_then(|old| disk.counters.grown(&old.counters));
            if let Some(grown) = grown.filter(|_| identity.is_whole) {
                read = read.saturating_add(grown.read.bytes());
                written = written.saturating_add(grown.write.bytes());
            }
            let mut document = counters(disk, &identity);
            if let Some(grown) = grown.filter(|_| !elapsed.is_zero()) {
                rates(&grown, elapsed, &mut document);
            }
            documents.push(document);
            disk.identity = Some(identity);
        }
        if self.before.is_some() {
            let mut document = Document::default();
            document.set("host.disk.read.bytes", read);
            document.set("host.disk.write.bytes", written);
            documents.push(document);
        }
        self.before = Some((now, disks));
        Ok(documents)
    }
}

fn counters(disk: &Disk, identity: &Identity) -> Document {
    let mut document = Document::default();
    document.set("system.diskio.name", disk.name.as_str());
    document.maybe("system.diskio.serial_number", identity.serial_number.as_deref());
    for (kind, transfers) in [("read", &disk.counters.read), ("write", &disk.counters.write)] {
        document.set(&format!("system.diskio.{kind}.count"), transfers.count);
        document.set(&format!("system.diskio.{kind}.bytes"), transfers.bytes());
        document.set(&format!("system.diskio.{kind}.time"), transfers.time);
    }
    document.set("system.diskio.io.time", disk.counters.busy);
    document.set("system.diskio.io.ops", disk.counters.in_flight);
    document
}

/// What `iostat -x` shows.
fn rates(grown: &Counters, elapsed: Duration, document: &mut Document) {
    let seconds = elapsed.as_secs_f64();
    let milliseconds = seconds * 1000.0;
    let Counters { read, write, busy, weighted, .. } = grown;
    for (kind, transfers) in [("read", read), ("write", write)] {
        let name = |rest: &str| format!("system.diskio.iostat.{kind}.{rest}");
        document.share(&name("per_sec.bytes"), transfers.bytes() as f64 / seconds);
        document.share(&name("request.per_sec"), transfers.count as f64 / seconds);
        document.share(&name("request.merges_per_sec"), transfers.merged as f64 / seconds);
        document.share(&name("await"), ratio(transfers.time, transfers.count));
    }
    let requests = read.count.saturating_add(write.count);
    let bytes = read.bytes().saturating_add(write.bytes());
    document.share("system.diskio.iostat.request.avg_size", ratio(bytes, requests));
    document.share("system.diskio.iostat.queue.avg_size", *weighted as f64 / milliseconds);
    document.share("system.diskio.iostat.await", ratio(read.time.saturating_add(write.time), requests));
    document.share("system.diskio.iostat.service_time", ratio(*busy, requests));
    // The kernel counts to the tick: a busy disk may seem to have worked a little longer than time has passed.
    document.share("system.diskio.iostat.busy", (*busy as f64 * 100.0 / milliseconds).min(100.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transfers() -> impl Strategy<Value = Transfers> {
        let number = 0_u64..u64::from(u32::MAX);
        (number.clone(), number.clone(), number.clone(), number)
            .prop_map(|(count, merged, sectors, time)| Transfers { count, merged, sectors, time })
    }

    proptest! {
        #[test]
        fn rates_are_never_negative_nor_endless(read in transfers(), write in transfers(), busy: u32, weighted: u64, millis in 1_u64..100_000) {
            let grown = Counters { read, write, in_flight: 0, busy: busy.into(), weighted };
            let mut document = Document::default();
            rates(&grown, Duration::from_millis(millis), &mut document);
            let value = document.value();
            let iostat = &value["system"]["diskio"]["iostat"];
            prop_assert!(iostat["busy"].as_f64().unwrap() <= 100.0);
            prop_assert!(iostat["await"].as_f64().unwrap() >= 0.0);
            prop_assert!(iostat["read"]["per_sec"]["bytes"].as_f64().unwrap() >= 0.0);
        }

        #[test]
        fn no_text_is_too_strange(text in "( *[0-9]{1,3} [0-9]{1,3} [a-z./]{1,5}( [0-9]{1,21}){9,17}\n){0,8}") {
            let disks: Vec<Disk> = parse(text.as_bytes()).collect();
            for disk in &disks {
                disk.counters.grown(&disk.counters);
                Identity::read(&Root::new("/nonexistent"), disk);
            }
        }
    }

    #[test]
    fn one_counter_that_was_set_back_spoils_the_interval() {
        let before = Counters { busy: 10, ..Counters::default() };
        assert_eq!(Counters::default().grown(&before), None);
        assert_eq!(before.grown(&before).map(|grown| grown.busy), Some(0));
    }
}
