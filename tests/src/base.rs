//! The base tree: a small Debian that every machine has below its own layer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use crate::command::Run;
use crate::error::HarnessError;
use crate::slot::STATE;

/// What a machine needs beside the smallest Debian.
const PACKAGES: &str = "bash,ca-certificates,curl,dbus,dbus-user-session,iproute2,openssh-server,procps,sudo,systemd,systemd-sysv";

const SETUP: &str = include_str!("base_setup.sh");

/// A file tree that machines boot from. It is never written to once it is made: each machine writes into an
/// overlay of its own.
#[derive(Debug, Clone)]
pub struct BaseTree(PathBuf);

impl BaseTree {
    /// The tree for today's recipe: made on first use (under a minute), kept for later runs. Processes that ask
    /// at the same time wait for the one that makes it.
    ///
    /// # Errors
    /// When debootstrap fails, with its output.
    pub async fn get() -> Result<Self, HarnessError> {
        let suite = suite();
        let path = Path::new(STATE).join(format!("base-{}", recipe(&suite)));
        if path.exists() {
            return Ok(Self(path));
        }
        std::fs::create_dir_all(STATE).map_err(HarnessError::file("create", STATE))?;
        let lock_path = Path::new(STATE).join("base.lock");
        let lock = File::create(&lock_path).map_err(HarnessError::file("create", &lock_path))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .map_err(|error| HarnessError::Unexpected(error.to_string()))?
            .map_err(HarnessError::file("lock", &lock_path))?;
        if !path.exists() {
            make(&suite, &path).await?;
        }
        drop(lock);
        Ok(Self(path))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Makes the tree beside its place and moves it there when it is whole.
async fn make(suite: &str, path: &Path) -> Result<(), HarnessError> {
    let partial = path.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(HarnessError::file("remove", &partial))?;
    }
    let target = partial.display().to_string();
    let include = format!("--include={PACKAGES}");
    let quarter_hour = Duration::from_mins(15);
    let mut bootstrap = Run::new(["debootstrap", "--variant=minbase", &include, suite, &target]);
    // A mirror or proxy of the host is the host's affair.
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = std::env::var_os(name) {
            bootstrap = bootstrap.env(name, value);
        }
    }
    bootstrap.bound(quarter_hour).output().await?.success()?;
    Run::new(["chroot", &target, "sh", "-s"]).input(SETUP).output().await?.success()?;
    std::fs::rename(&partial, path).map_err(HarnessError::file("rename", &partial))?;
    forget_others(path)
}

/// Removes the trees of older recipes that no machine lies on.
fn forget_others(current: &Path) -> Result<(), HarnessError> {
    let mounts =
        std::fs::read_to_string("/proc/mounts").map_err(HarnessError::file("read", "/proc/mounts"))?;
    for entry in std::fs::read_dir(STATE).map_err(HarnessError::file("read", STATE))?.flatten() {
        let path = entry.path();
        let is_tree = entry.file_name().to_string_lossy().starts_with("base-");
        if is_tree && path != current && !mounts.contains(&*path.to_string_lossy()) {
            std::fs::remove_dir_all(&path).map_err(HarnessError::file("remove", &path))?;
        }
    }
    Ok(())
}

/// The host's own suite, so that what was linked here runs there.
fn suite() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or_else(|| "bookworm".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn recipe(suite: &str) -> String {
    let mut hasher = Sha1::new();
    for part in [suite, PACKAGES, SETUP] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
