//! What says that an agent is to run with other privileges, and proves itself with them.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::paths::Paths;
use crate::state::{read_kept, replace};

/// More than any has, in bytes.
const LARGEST: u64 = 64 * 1024;

/// The agent's service changes its user as its fleet asked, or has failed to. It lies in the agent's home, and holds
/// nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelChange {
    /// The action that asked for it.
    pub action_id: String,
    /// The user that it is to run as.
    pub user: String,
    /// Its group.
    pub group: String,
    /// Why it was given up; empty: it was not.
    #[serde(default)]
    pub given_up: String,
}

impl LevelChange {
    fn path(paths: &Paths) -> PathBuf {
        paths.home.join("privileges.json")
    }

    /// Reads it. One that cannot be read is none.
    #[must_use]
    pub fn read(paths: &Paths) -> Option<LevelChange> {
        serde_json::from_slice(&read_kept(&LevelChange::path(paths), LARGEST).ok()?).ok()
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, paths: &Paths) -> io::Result<()> {
        replace(&LevelChange::path(paths), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// Removes it: the server has, or will be, told what came of it.
    pub fn remove(paths: &Paths) {
        // It may be gone.
        let _ = std::fs::remove_file(LevelChange::path(paths));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Given;

    #[test]
    fn whoever_has_the_home_does_not_hold_up_who_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::of(&Given { home: Some(home.path().to_owned()), ..Given::default() });
        let path = LevelChange::path(&paths);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let of_thread = paths.clone();
        std::thread::spawn(move || tell.send(LevelChange::read(&of_thread)));
        assert_eq!(told.recv_timeout(std::time::Duration::from_secs(10)), Ok(None), "a pipe");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(LevelChange::read(&paths), None, "a device");
        std::fs::remove_file(&path).unwrap();
        let named = |name: &str| name.to_owned();
        let change =
            LevelChange { action_id: named("a"), user: named("u"), group: named("g"), given_up: named("") };
        change.write(&paths).unwrap();
        assert_eq!(LevelChange::read(&paths), Some(change));
    }
}
