//! A cgroup of its own for each machine, in every hierarchy.
//!
//! Without it the systemds of several machines fight over one tree. The names also say, after a crash of the
//! harness, which processes are its own (see `reap.sh`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::HarnessError;
use crate::wait::{NotYet, wait_for};

const ROOT: &str = "/sys/fs/cgroup";

/// One cgroup, in each hierarchy of the host (one in v2; many in v1 and in the hybrid layout).
#[derive(Debug)]
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the cgroup, or takes the one that is there.
    pub(crate) fn make(slot: u8, name: &str) -> Result<Self, HarnessError> {
        let mut directories = Vec::new();
        for hierarchy in hierarchies()? {
            let slot = hierarchy.join(format!("fleet-tests-{slot}"));
            let own = slot.join(name);
            for (parent, child) in [(&hierarchy, &slot), (&slot, &own)] {
                std::fs::create_dir_all(child).map_err(HarnessError::file("create", child))?;
                inherit_cpuset(parent, child)?;
            }
            directories.push(own);
        }
        Ok(Self { directories })
    }

    /// A shell prefix that moves itself into the cgroup and becomes the given program.
    pub(crate) fn enter(&self) -> Vec<String> {
        let mut script = String::new();
        for directory in &self.directories {
            // 0 stands for the writer itself.
            script.push_str(&format!("echo 0 >{}/cgroup.procs && ", directory.display()));
        }
        script.push_str("exec \"$@\"");
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// Stops every process in it where it stands, or lets them go on.
    pub(crate) async fn freeze(&self, frozen: bool) -> Result<(), HarnessError> {
        let find = |file: &str| self.directories.iter().map(|d| d.join(file)).find(|path| path.exists());
        if let Some(switch) = find("cgroup.freeze") {
            write(&switch, if frozen { "1" } else { "0" })?;
            let wanted = if frozen { "frozen 1" } else { "frozen 0" };
            return settled(&switch.with_file_name("cgroup.events"), wanted).await;
        }
        let Some(switch) = find("freezer.state") else {
            return Err(HarnessError::Unavailable("this kernel has no cgroup freezer".to_owned()));
        };
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        write(&switch, wanted)?;
        settled(&switch, wanted).await
    }
}

async fn settled(file: &Path, wanted: &str) -> Result<(), HarnessError> {
    wait_for(format!("{} says {wanted}", file.display()), Duration::from_secs(10), async || {
        let text = std::fs::read_to_string(file).map_err(HarnessError::file("read", file))?;
        if text.lines().any(|line| line == wanted) { Ok(()) } else { Err(NotYet::saw(text)) }
    })
    .await
}

fn write(path: &Path, text: &str) -> Result<(), HarnessError> {
    std::fs::write(path, text).map_err(HarnessError::file("write", path))
}

fn hierarchies() -> Result<Vec<PathBuf>, HarnessError> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    let entries = std::fs::read_dir(root).map_err(HarnessError::file("read", root))?;
    for entry in entries.flatten() {
        let path = entry.path();
        // `cpu` and its like may be symbolic links to `cpu,cpuacct`.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    Ok(found)
}

/// In v1 a new cpuset is empty and takes no process until it is filled.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<(), HarnessError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(file), child.join(file));
        if !to.exists() || parent.join("cgroup.controllers").exists() {
            continue;
        }
        let text = std::fs::read_to_string(&from).map_err(HarnessError::file("read", &from))?;
        write(&to, &text)?;
    }
    Ok(())
}
