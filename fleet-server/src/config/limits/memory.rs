//! How much memory the process may use.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is assumed where nothing can be found out, in bytes.
const ASSUMED: u64 = 1 << 30;

/// The memory that this process may use, in bytes: what `GOMEMLIMIT` says, as in the original; else the
/// smallest limit of its control groups; and never more than the machine has.
#[must_use]
pub fn available(environment: &BTreeMap<String, String>) -> u64 {
    environment
        .get("GOMEMLIMIT")
        .and_then(|text| parse_size(text))
        .unwrap_or_else(|| of_system(Path::new("/")))
}

/// What the files of `/proc` and `/sys` under this root say.
fn of_system(root: &Path) -> u64 {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").as_deref().and_then(total);
    let group = read("proc/self/cgroup").and_then(|text| of_groups(&root.join("sys/fs/cgroup"), &text));
    match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (Some(size), None) | (None, Some(size)) => size,
        (None, None) => ASSUMED,
    }
}

/// `MemTotal` of `/proc/meminfo`, which is in KiB.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The smallest limit of the groups that `/proc/self/cgroup` names, and of those above them.
fn of_groups(mount: &Path, groups: &str) -> Option<u64> {
    let mut smallest: Option<u64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (base, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Inside a container the path may be the host's, and missing here: then the mount itself is the group.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = fs::read_to_string(base.join(group).join(file)).unwrap_or_default();
            if let Ok(limit) = text.trim().parse() {
                smallest = Some(smallest.map_or(limit, |smallest| smallest.min(limit)));
            }
        }
    }
    smallest
}

/// A size as Go's runtime reads it: a number, and `B`, `KiB`, `MiB`, `GiB` or `TiB`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_smallest_limit_counts() {
        let gib = 1_u64 << 30;
        let v2 = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let v1 = ("proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/x\n");
        let cases: [(&[(&str, &str)], u64); 9] = [
            (&[], ASSUMED),
            (&[MEMINFO], 8 * gib),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n")], 8 * gib),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a.slice/b.service/memory.max", "1073741824\n")], gib),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a.slice/memory.max", "1073741824\n")], gib),
            // The path of the host, seen from inside a container.
            (&[MEMINFO, v2, ("sys/fs/cgroup/memory.max", "1073741824\n")], gib),
            (&[MEMINFO, v1, ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824")], gib),
            // "No limit" of the first version is a number that no machine has.
            (
                &[MEMINFO, v1, ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712")],
                8 * gib,
            ),
            (&[MEMINFO, ("proc/self/cgroup", "nonsense\n0\n")], 8 * gib),
        ];
        for (files, expected) in cases {
            assert_eq!(of_system(root(files).path()), expected, "{files:?}");
        }
    }

    #[test]
    fn the_variable_goes_before_the_system() {
        let variable = |text: &str| BTreeMap::from([("GOMEMLIMIT".to_owned(), text.to_owned())]);
        assert_eq!(available(&variable("512MiB")), 512 << 20);
        assert_eq!(available(&variable("2GiB")), 2 << 30);
        assert_eq!(available(&variable("1000")), 1000);
        assert_eq!(available(&variable("1000B")), 1000);
        for other in ["off", "", "2GB", "99999999999TiB"] {
            assert_eq!(available(&variable(other)), available(&BTreeMap::new()), "{other}");
        }
    }
}
