//! What says that an agent is to run with other privileges, and proves itself with them.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::paths::Paths;
use crate::state::replace;

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
        serde_json::from_slice(&std::fs::read(LevelChange::path(paths)).ok()?).ok()
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
