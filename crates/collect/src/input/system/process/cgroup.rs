//! The control groups of a process: limits and use, as `cgroups(7)` describes both versions.

use super::super::document::Document;
use crate::procfs::root::Root;
use crate::procfs::text;

/// Where both versions are mounted, as a rule.
const MOUNT: &str = "sys/fs/cgroup";

/// Adds what the control groups of a process say; nothing if there are none.
pub(super) fn describe(root: &Root, process: &str, buffer: &mut Vec<u8>, document: &mut Document) {
    if root.read(&format!("{process}/cgroup"), buffer).is_err() {
        return;
    }
    let memberships: Vec<Membership> = text::lines(buffer).filter_map(Membership::parse).collect();
    let of = |controller: &str| {
        memberships.iter().find(|group| group.controllers.iter().any(|name| name == controller))
    };
    let unified = memberships.iter().find(|group| group.controllers.is_empty());
    let is_second = of("memory").is_none() && of("cpu").is_none();
    let Some(main) = (if is_second { unified } else { of("cpu").or(of("memory")) }) else { return };
    document.set("system.process.cgroup.cgroups_version", if is_second { 2 } else { 1 });
    main.name("system.process.cgroup", document);
    let mut files = Files { root, buffer };
    if is_second {
        second(&mut files, main, document);
    } else {
        first(&mut files, &of, document);
    }
}

/// A line of `/proc/<pid>/cgroup`: `4:cpu,cpuacct:/a/group`, and `0::/a/group` in version 2.
struct Membership {
    controllers: Vec<String>,
    path: String,
}

impl Membership {
    fn parse(line: &[u8]) -> Option<Membership> {
        let line = String::from_utf8_lossy(line);
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        // A group outside of the reader's own namespace is seen as `/../x`, and cannot be found.
        let is_here = path.starts_with('/') && !path.split('/').any(|part| part == "..");
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        is_here.then(|| Membership { controllers, path: path.to_owned() })
    }

    fn name(&self, prefix: &str, document: &mut Document) {
        let id = self.path.rsplit('/').next().filter(|id| !id.is_empty()).unwrap_or("/");
        document.set(&format!("{prefix}.id"), id);
        document.set(&format!("{prefix}.path"), self.path.as_str());
    }
}

/// Reads the files of groups.
struct Files<'a> {
    root: &'a Root,
    buffer: &'a mut Vec<u8>,
}

impl Files<'_> {
    fn read(&mut self, folder: &str, file: &str) -> Option<&[u8]> {
        self.root.read(&format!("{MOUNT}{folder}/{file}"), self.buffer).ok()?;
        Some(self.buffer)
    }

    /// A file that is a number. `max` and `-1`, no limit, are none.
    fn number(&mut self, folder: &str, file: &str) -> Option<u64> {
        text::number(self.read(folder, file)?.trim_ascii())
    }

    /// The numbers of these names in a file of names and numbers.
    fn named<const N: usize>(&mut self, folder: &str, file: &str, names: [&str; N]) -> [Option<u64>; N] {
        let mut numbers = [None; N];
        let Some(content) = self.read(folder, file) else { return numbers };
        for line in text::lines(content) {
            let mut words = text::words(line);
            let Some(name) = words.next() else { continue };
            if let Some(index) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                numbers[index] = text::next(&mut words);
            }
        }
        numbers
    }
}

fn second(files: &mut Files<'_>, group: &Membership, document: &mut Document) {
    let folder = group.path.trim_end_matches('/');
    for controller in ["cpu", "memory", "blkio"] {
        group.name(&format!("system.process.cgroup.{controller}"), document);
    }
    let [usage, periods, throttled, time] =
        files.named(folder, "cpu.stat", ["usage_usec", "nr_periods", "nr_throttled", "throttled_usec"]);
    let nanoseconds = |micros: Option<u64>| micros.map(|micros| micros.saturating_mul(1000));
    document.maybe("system.process.cgroup.cpuacct.total.ns", nanoseconds(usage));
    document.maybe("system.process.cgroup.cpu.stats.periods", periods);
    document.maybe("system.process.cgroup.cpu.stats.throttled.periods", throttled);
    document.maybe("system.process.cgroup.cpu.stats.throttled.ns", nanoseconds(time));
    if let Some(content) = files.read(folder, "cpu.max") {
        let mut words = text::words(content).map(text::number);
        document.maybe("system.process.cgroup.cpu.cfs.quota.us", words.next().flatten());
        document.maybe("system.process.cgroup.cpu.cfs.period.us", words.next().flatten());
    }
    document.maybe("system.process.cgroup.cpu.cfs.shares", files.number(folder, "cpu.weight"));
    document.maybe("system.process.cgroup.memory.mem.usage.bytes", files.number(folder, "memory.current"));
    document.maybe("system.process.cgroup.memory.mem.usage.max.bytes", files.number(folder, "memory.peak"));
    document.maybe("system.process.cgroup.memory.mem.limit.bytes", files.number(folder, "memory.max"));
    let [failures] = files.named(folder, "memory.events", ["max"]);
    document.maybe("system.process.cgroup.memory.mem.failures", failures);
    if let Some(content) = files.read(folder, "io.stat") {
        document.set("system.process.cgroup.blkio.total.bytes", sum(content, [b"rbytes=", b"wbytes="]));
        document.set("system.process.cgroup.blkio.total.ios", sum(content, [b"rios=", b"wios="]));
    }
}

/// The values of these keys in a file of `key=value`, added up over all devices.
fn sum(content: &[u8], keys: [&[u8]; 2]) -> u64 {
    let value = |word: &[u8]| keys.iter().find_map(|key| text::number(word.strip_prefix(*key)?));
    text::words(content).filter_map(value).fold(0, u64::saturating_add)
}

fn first<'a>(files: &mut Files<'_>, of: &impl Fn(&str) -> Option<&'a Membership>, document: &mut Document) {
    let mut controller = |name: &str| {
        let group = of(name)?;
        group.name(&format!("system.process.cgroup.{name}"), document);
        Some(format!("/{name}{}", group.path.trim_end_matches('/')))
    };
    let (cpu, cpuacct) = (controller("cpu"), controller("cpuacct"));
    let (memory, blkio) = (controller("memory"), controller("blkio"));
    let mut set =
        |name: &str, value: Option<u64>| document.maybe(&format!("system.process.cgroup.{name}"), value);
    if let Some(folder) = cpu {
        set("cpu.cfs.period.us", files.number(&folder, "cpu.cfs_period_us"));
        set("cpu.cfs.quota.us", files.number(&folder, "cpu.cfs_quota_us"));
        set("cpu.cfs.shares", files.number(&folder, "cpu.shares"));
        let names = ["nr_periods", "nr_throttled", "throttled_time"];
        let [periods, throttled, time] = files.named(&folder, "cpu.stat", names);
        set("cpu.stats.periods", periods);
        set("cpu.stats.throttled.periods", throttled);
        set("cpu.stats.throttled.ns", time);
    }
    if let Some(folder) = cpuacct {
        set("cpuacct.total.ns", files.number(&folder, "cpuacct.usage"));
    }
    if let Some(folder) = memory {
        set("memory.mem.usage.bytes", files.number(&folder, "memory.usage_in_bytes"));
        set("memory.mem.usage.max.bytes", files.number(&folder, "memory.max_usage_in_bytes"));
        set("memory.mem.limit.bytes", files.number(&folder, "memory.limit_in_bytes"));
        set("memory.mem.failures", files.number(&folder, "memory.failcnt"));
    }
    if let Some(folder) = blkio {
        let [bytes] = files.named(&folder, "blkio.throttle.io_service_bytes", ["Total"]);
        let [requests] = files.named(&folder, "blkio.throttle.io_serviced", ["Total"]);
        set("blkio.total.bytes", bytes);
        set("blkio.total.ios", requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    fn described(files: &[(&str, &str)]) -> Value {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let mut document = Document::default();
        describe(&Root::new(folder.path()), "proc/7", &mut Vec::new(), &mut document);
        document.value()
    }

    #[test]
    fn version_two_is_one_group() {
        let said = described(&[
            ("proc/7/cgroup", "0::/system.slice/web.service\n"),
            (
                "sys/fs/cgroup/system.slice/web.service/cpu.stat",
                "usage_usec 5\nnr_periods 2\nnr_throttled 1\nthrottled_usec 3\n",
            ),
            ("sys/fs/cgroup/system.slice/web.service/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/web.service/memory.current", "4096\n"),
            ("sys/fs/cgroup/system.slice/web.service/memory.max", "max\n"),
            (
                "sys/fs/cgroup/system.slice/web.service/io.stat",
                "8:0 rbytes=10 wbytes=5 rios=2 wios=1\n8:16 rbytes=1 wbytes=0 rios=1 wios=0\n",
            ),
        ]);
        let group = |rest: Value| {
            let mut group = json!({"id": "web.service", "path": "/system.slice/web.service"});
            group.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            group
        };
        let expected = group(json!({
            "cgroups_version": 2,
            "cpu": group(json!({"cfs": {"period": {"us": 100_000}}, "stats": {"periods": 2, "throttled": {"periods": 1, "ns": 3000}}})),
            "cpuacct": {"total": {"ns": 5000}},
            "memory": group(json!({"mem": {"usage": {"bytes": 4096}}})),
            "blkio": group(json!({"total": {"bytes": 16, "ios": 4}})),
        }));
        assert_eq!(said["system"]["process"]["cgroup"], expected);
    }

    #[test]
    fn version_one_is_a_group_for_each_controller() {
        let said = described(&[
            ("proc/7/cgroup", "5:memory:/a\n4:cpu,cpuacct:/b/c\n0::/\n"),
            ("sys/fs/cgroup/cpu/b/c/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/b/c/cpu.shares", "1024\n"),
            ("sys/fs/cgroup/cpuacct/b/c/cpuacct.usage", "99\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8192\n"),
        ]);
        let expected = json!({
            "id": "c",
            "path": "/b/c",
            "cgroups_version": 1,
            "cpu": {"id": "c", "path": "/b/c", "cfs": {"shares": 1024}},
            "cpuacct": {"id": "c", "path": "/b/c", "total": {"ns": 99}},
            "memory": {"id": "a", "path": "/a", "mem": {"limit": {"bytes": 8192}}},
        });
        assert_eq!(said["system"]["process"]["cgroup"], expected);
    }

    #[test]
    fn groups_elsewhere_are_left_out() {
        assert_eq!(described(&[("proc/7/cgroup", "0::/../../etc\nx\n::\n")]), json!({}));
        assert_eq!(described(&[]), json!({}));
    }
}
