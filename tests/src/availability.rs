//! Whether real machines can run here.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The programs that the harness starts.
const PROGRAMS: &[&str] = &[
    "debootstrap",
    "etcd",
    "etcdctl",
    "ip",
    "iptables",
    "nsenter",
    "ssh-add",
    "ssh-agent",
    "ssh-keygen",
    "systemd-nspawn",
    "unshare",
];

/// Why real machines cannot run here; `None` when they can.
pub fn why_not() -> Option<String> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0);
    if !root {
        return Some("not root".to_owned());
    }
    let missing: Vec<_> = PROGRAMS.iter().filter(|name| !installed(name)).copied().collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Some(format!("not installed: {missing}; scripts/install-tools installs what is missing"));
    }
    // Root inside a container may be root by name only.
    let namespaces =
        Command::new("unshare").args(["--mount", "--net", "true"]).stderr(Stdio::null()).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        return Some("namespaces may not be made here".to_owned());
    }
    None
}

fn installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists())
}
