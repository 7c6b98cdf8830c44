//! What is known of the machine: for the server (names of the Elastic Common Schema), and for variables.

mod full_name;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rustix::system::{sysinfo, uname};
use serde_json::{Map, Value, json};

use crate::paths::Paths;
use crate::policy::Facts;

/// So many addresses are told at most: a machine of containers has thousands.
const MOST_ADDRESSES: usize = 100;

/// What is known of the machine, as it was when it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its name.
    pub hostname: String,
    /// The name that it is called by, if that is not the same: its full one, when a policy wants that.
    pub full_name: Option<String>,
    /// Its id, from `/etc/machine-id`.
    pub id: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Addresses with the length of their network's prefix.
    pub ip: Vec<String>,
    /// Hardware addresses.
    pub mac: Vec<String>,
    os: BTreeMap<String, String>,
}

impl Machine {
    /// Reads it. What cannot be read is empty.
    #[must_use]
    pub fn read() -> Machine {
        let names = uname();
        let info = sysinfo();
        let (ip, mac) = addresses();
        Machine {
            hostname: names.nodename().to_string_lossy().into_owned(),
            full_name: None,
            id: fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned(),
            architecture: names.machine().to_string_lossy().into_owned(),
            kernel: names.release().to_string_lossy().into_owned(),
            memory: u64::from(info.mem_unit).saturating_mul(info.totalram),
            ip,
            mac,
            os: os_release(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        }
    }

    /// The same machine, called by its full name, or by its own.
    #[must_use]
    pub fn called(self, full_name: Option<String>) -> Machine {
        Machine { full_name, ..self }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.full_name.as_deref().unwrap_or(&self.hostname)
    }

    /// The addresses at which other machines may reach it: neither those of the machine alone nor of one link.
    pub fn reachable_at(&self) -> impl Iterator<Item = String> {
        let addresses = self.ip.iter().filter_map(|ip| ip.split('/').next()?.parse::<IpAddr>().ok());
        let reachable = addresses.filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        });
        reachable.map(|ip| ip.to_string())
    }

    fn os(&self, key: &str) -> &str {
        self.os.get(key).map_or("", String::as_str)
    }

    fn family(&self) -> &str {
        const FAMILIES: [(&str, &[&str]); 5] = [
            ("debian", &["debian", "ubuntu", "linuxmint", "raspbian"]),
            ("redhat", &["rhel", "centos", "fedora", "amzn", "ol", "rocky", "almalinux"]),
            ("suse", &["sles", "suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed"]),
            ("arch", &["arch", "archarm", "manjaro"]),
            ("alpine", &["alpine"]),
        ];
        let mut likes = std::iter::once(self.os("ID")).chain(self.os("ID_LIKE").split_whitespace());
        let found = likes.find_map(|like| FAMILIES.iter().find(|(_, ids)| ids.contains(&like)));
        found.map_or("linux", |(family, _)| family)
    }

    /// What a server is told: `elastic.agent`, `host`, `os`.
    #[must_use]
    pub fn metadata(&self, agent_id: &str, log_level: &str, upgradeable: bool) -> Value {
        let version = crate::version::current();
        json!({
            "elastic": {"agent": {
                "id": agent_id,
                "version": version,
                "snapshot": version.contains("SNAPSHOT"),
                "build.original": format!("{version} (fleet {})", env!("CARGO_PKG_VERSION")),
                "upgradeable": upgradeable,
                "log_level": log_level,
                "complete": false,
                "unprivileged": !rustix::process::geteuid().is_root(),
                "fips": false,
            }},
            "host": {
                "architecture": self.architecture,
                "hostname": self.hostname,
                "name": self.name(),
                "id": self.id,
                "ip": self.ip,
                "mac": self.mac,
                "memory": self.memory,
            },
            "os": {
                "family": self.family(),
                "kernel": self.kernel,
                "platform": self.os("ID"),
                "version": self.os("VERSION"),
                "name": self.os("NAME"),
                "full": self.os_full_name(),
            },
        })
    }

    fn os_full_name(&self) -> String {
        let version = if self.os("VERSION").is_empty() { self.os("VERSION_ID") } else { self.os("VERSION") };
        format!("{} {version}", self.os("NAME")).trim().to_owned()
    }

    /// What policies may refer to: `host`, `agent`, `env`, `path`, and `local` from the configuration file.
    #[must_use]
    pub fn facts(&self, agent_id: &str, paths: &Paths) -> Facts {
        let bare = |ip: &String| ip.split('/').next().unwrap_or_default().to_owned();
        let environment: Map<String, Value> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?.into())))
            .collect();
        let path: Map<String, Value> =
            paths.named().map(|(name, path)| (name.to_owned(), path.to_string_lossy().into())).collect();
        let tree = [
            (
                "host",
                json!({
                    "name": self.name(),
                    "id": self.id,
                    "platform": "linux",
                    "architecture": self.architecture,
                    "ip": self.ip.iter().map(bare).collect::<Vec<_>>(),
                    "mac": self.mac,
                    "os_family": self.family(),
                    "os_platform": self.os("ID"),
                    "os_version": self.os("VERSION"),
                    "os_full": self.os_full_name(),
                    "kernel": self.kernel,
                }),
            ),
            (
                "agent",
                json!({
                    "id": agent_id,
                    "version": {
                        "version": crate::version::current(),
                        "commit": "",
                        "build_time": "",
                        "snapshot": false,
                    },
                    "unprivileged": !rustix::process::geteuid().is_root(),
                }),
            ),
            ("env", Value::Object(environment)),
            ("path", Value::Object(path)),
            ("local", json!({})),
        ];
        Facts::new(tree.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// The assignments of `/etc/os-release` (os-release(5)).
fn os_release(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let unquote = |value: &str| {
        let value = value.trim();
        let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        inner.unwrap_or(value).replace("\\\"", "\"").replace("\\$", "$")
    };
    lines.map(|(key, value)| (key.trim().to_owned(), unquote(value))).collect()
}

fn addresses() -> (Vec<String>, Vec<String>) {
    let (mut ips, mut macs) = (Vec::new(), Vec::new());
    for interface in getifaddrs().into_iter().flatten() {
        if !interface.flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(address) = interface.address else { continue };
        if let Some(mac) = address.as_link_addr().and_then(nix::sys::socket::LinkAddr::addr) {
            let text = mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
            if mac != [0; 6] && !macs.contains(&text) {
                macs.push(text);
            }
            continue;
        }
        let mask = interface.netmask;
        let v4 = address.as_sockaddr_in().map(|ip| {
            let bits = mask
                .as_ref()
                .and_then(|mask| mask.as_sockaddr_in())
                .map(|mask| mask.ip().to_bits().count_ones());
            format!("{}/{}", ip.ip(), bits.unwrap_or(32))
        });
        let v6 = address.as_sockaddr_in6().map(|ip| {
            let bits = mask
                .as_ref()
                .and_then(|mask| mask.as_sockaddr_in6())
                .map(|mask| mask.ip().to_bits().count_ones());
            format!("{}/{}", ip.ip(), bits.unwrap_or(128))
        });
        ips.extend(v4.or(v6));
    }
    ips.truncate(MOST_ADDRESSES);
    macs.truncate(MOST_ADDRESSES);
    (ips, macs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_in_the_names_of_the_schema() {
        let machine = Machine::read();
        let metadata = machine.metadata("a", "info", false);
        assert_eq!(metadata["elastic"]["agent"]["id"], "a");
        assert!(!machine.hostname.is_empty() && machine.memory > 0 && !machine.kernel.is_empty());
        assert!(machine.ip.iter().any(|ip| ip.starts_with("127.0.0.1/")), "{:?}", machine.ip);
    }

    #[test]
    fn releases_are_read_with_their_quotes() {
        let os = os_release("ID=debian\nVERSION=\"12 (bookworm)\"\n# c\nNAME='Debian GNU/Linux'\n");
        let machine = Machine { os, ..Machine::default() };
        let facts = machine.facts("a", &Paths::of(&crate::paths::Given::default()));
        assert_eq!(facts.get("host.os_version"), Some(&json!("12 (bookworm)")));
        assert_eq!(facts.get("host.os_family"), Some(&json!("debian")));
        assert_eq!(machine.os_full_name(), "Debian GNU/Linux 12 (bookworm)");
    }
}
