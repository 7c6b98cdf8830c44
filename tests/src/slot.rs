//! A slot: the number that keeps clusters of different processes apart.
//!
//! A slot's subnet, bridge, network namespaces, cgroups and directory carry its number. A lock file says who has
//! it. A guardian process holds that lock together with the test process and cleans up as soon as the test
//! process lets go, however that comes about: the kernel closes the guardian's pipe even after `kill -9`.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::error::HarnessError;
use crate::wait::{NotYet, wait_for};

/// The slot of the developer's cluster (`make dev`), which outlives the process that boots it.
pub const DEV_SLOT: u8 = 0;

/// How many clusters one host runs at a time; others wait for their turn.
const SLOTS: u8 = 16;

/// What stays between runs: base trees and lock files.
pub(crate) const STATE: &str = "/var/lib/fleet-tests";

const REAP: &str = include_str!("reap.sh");

/// A number that no other cluster on this host has, and what hangs on it.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    guardian: Option<Child>,
}

impl Slot {
    /// Takes the first free slot, waiting for one if all are in use, and clears what a killed run left in it.
    ///
    /// # Errors
    /// When no slot becomes free within ten minutes, or the host refuses the slot's directory.
    pub async fn acquire() -> Result<Self, HarnessError> {
        let (number, lock) = wait_for("a free slot for a cluster", Duration::from_mins(10), async || {
            // A lock that is held is waited for; one that cannot be had at all is an error.
            let first = (1..=SLOTS).find_map(|number| match try_lock(number) {
                Ok(lock) => lock.map(|lock| Ok((number, lock))),
                Err(error) => Some(Err(error)),
            });
            first.ok_or_else(|| NotYet::saw(format!("all {SLOTS} in use")))
        })
        .await??;
        Self::guarded(number, lock)
    }

    /// Takes the developer's slot. Nothing guards it: [`reap`] ends what is in it.
    ///
    /// # Errors
    /// When the host refuses the slot's directory.
    pub fn developer() -> Result<Self, HarnessError> {
        prepare(DEV_SLOT)?;
        Ok(Self { number: DEV_SLOT, guardian: None })
    }

    fn guarded(number: u8, lock: File) -> Result<Self, HarnessError> {
        reap(number)?;
        prepare(number)?;
        // Waits for the end of its input, which is the end of this process at the latest.
        let script = format!("trap '' INT TERM HUP; cat >/dev/null\n{REAP}");
        let guardian = Command::new("bash")
            .args(["-c", &script, "fleet-tests-guardian", &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::from(lock))
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| HarnessError::Spawn { command: "bash".to_owned(), source })?;
        Ok(Self { number, guardian: Some(guardian) })
    }

    /// Its number.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its directory: in memory, gone with the slot.
    pub fn directory(&self) -> PathBuf {
        slot_directory(self.number)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(mut guardian) = self.guardian.take() {
            drop(guardian.stdin.take());
            guardian.wait().ok();
        }
    }
}

/// Ends everything of a slot: machines, etcd, mounts, network, files.
///
/// # Errors
/// When bash cannot be run.
pub fn reap(number: u8) -> Result<(), HarnessError> {
    let status = Command::new("bash")
        .args(["-c", REAP, "fleet-tests-reap", &number.to_string()])
        .stdin(Stdio::null())
        .status()
        .map_err(|source| HarnessError::Spawn { command: "bash".to_owned(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(HarnessError::Unexpected(format!("cleaning slot {number} ended with {status}")))
}

/// The directory of a slot, in use or not.
pub fn slot_directory(number: u8) -> PathBuf {
    Path::new("/run/fleet-tests").join(number.to_string())
}

fn try_lock(number: u8) -> Result<Option<File>, HarnessError> {
    let folder = Path::new(STATE).join("slots");
    std::fs::create_dir_all(&folder).map_err(HarnessError::file("create", &folder))?;
    let path = folder.join(number.to_string());
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(HarnessError::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(source)) => Err(HarnessError::File { action: "lock", path, source }),
    }
}

/// The slot's directory lies in memory: what the machines write there is gone with them, and costs no disk.
fn prepare(number: u8) -> Result<(), HarnessError> {
    let path = slot_directory(number);
    std::fs::create_dir_all(&path).map_err(HarnessError::file("create", &path))?;
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "mode=755", &format!("fleet-tests-{number}")])
        .arg(&path)
        .status()
        .map_err(|source| HarnessError::Spawn { command: "mount".to_owned(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(HarnessError::Unexpected(format!("mounting {} ended with {status}", path.display())))
}
