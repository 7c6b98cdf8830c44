//! The facts of the machine: what `add_host_metadata` adds to events, what the variables `${host.*}` of policies mean,
//! and what an agent says of itself when it enrols.
//!
//! All of it is read in a moment and may change while the machine runs (addresses, its name): whoever needs it
//! reads it again.

mod network;
mod os;

pub use os::Os;

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

/// What a machine is, in the words of the common schema's `host.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name in lower case.
    pub name: String,
    /// Its name as the kernel has it.
    pub hostname: String,
    /// Stays the same as long as the system is not installed anew: `/etc/machine-id`.
    pub id: Option<String>,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// The operating system.
    pub os: Os,
    /// Addresses of all interfaces but the loopback.
    pub ip: Vec<IpAddr>,
    /// Hardware addresses of the same, `00-16-3E-00-00-01`, sorted.
    pub mac: Vec<String>,
    /// Whether the machine is a container.
    pub containerized: bool,
}

impl Facts {
    /// Reads the facts of this machine, files below `root`: `/`, or where the host's root is mounted.
    #[must_use]
    pub fn read(root: &Path) -> Facts {
        let uname = rustix::system::uname();
        let hostname = uname.nodename().to_string_lossy().into_owned();
        let network::Addresses { ip, mac } = network::addresses();
        Facts {
            name: hostname.to_lowercase(),
            hostname,
            id: id(root),
            architecture: uname.machine().to_string_lossy().into_owned(),
            os: Os::read(root, &uname.release().to_string_lossy()),
            ip,
            mac,
            containerized: is_container(root),
        }
    }

    /// The fields below `host`. Whoever wants no addresses leaves `ip` and `mac` empty.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("name", json!(self.name));
        set("hostname", json!(self.hostname));
        set("architecture", json!(self.architecture));
        set("containerized", json!(self.containerized));
        set("os", Value::Object(self.os.fields()));
        if let Some(id) = &self.id {
            set("id", json!(id));
        }
        if !self.ip.is_empty() {
            set("ip", json!(self.ip));
        }
        if !self.mac.is_empty() {
            set("mac", json!(self.mac));
        }
        fields
    }
}

/// A small file as a text; an empty one is none.
fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn id(root: &Path) -> Option<String> {
    // The word that images have there which are to get an id at their first start.
    let is_set = |id: &String| id != "uninitialized";
    ["etc/machine-id", "var/lib/dbus/machine-id"]
        .iter()
        .find_map(|file| line(&root.join(file)).filter(is_set))
}

/// Containers leave marks: files of their engines, a name that systemd was given, the control group of the first
/// process.
fn is_container(root: &Path) -> bool {
    let marks = [".dockerenv", "run/.containerenv", "run/systemd/container"];
    if marks.iter().any(|mark| root.join(mark).exists()) {
        return true;
    }
    let groups = fs::read_to_string(root.join("proc/1/cgroup")).unwrap_or_default();
    ["/docker", "/kubepods", "/lxc/", "/libpod", "containerd"].iter().any(|mark| groups.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = Facts::read(Path::new("/"));
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(facts.hostname, hostname.trim());
        assert_eq!(facts.os.kernel, fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
        assert_eq!(facts.architecture, std::env::consts::ARCH);
        assert!(facts.ip.iter().all(|address| !address.is_loopback()));
        let fields = facts.fields();
        assert_eq!(fields["os"]["type"], "linux");
        assert_eq!(fields["name"], hostname.trim().to_lowercase());
    }

    #[test]
    fn an_id_is_one_that_was_given() {
        let root = machine(&[("etc/machine-id", "uninitialized\n"), ("var/lib/dbus/machine-id", "abc\n")]);
        assert_eq!(id(root.path()).as_deref(), Some("abc"));
        let empty = machine(&[("etc/machine-id", "\n")]);
        assert_eq!(id(empty.path()), None);
        assert!(!Facts::read(empty.path()).fields().contains_key("id"));
    }

    #[test]
    fn containers_are_told_by_their_marks() {
        assert!(!is_container(machine(&[("proc/1/cgroup", "0::/init.scope\n")]).path()));
        for (path, text) in [
            (".dockerenv", ""),
            ("run/.containerenv", ""),
            ("run/systemd/container", "systemd-nspawn"),
            ("proc/1/cgroup", "12:pids:/docker/0123\n0::/\n"),
            ("proc/1/cgroup", "0::/kubepods.slice/x.scope\n"),
        ] {
            assert!(is_container(machine(&[(path, text)]).path()), "{path}");
        }
    }
}
