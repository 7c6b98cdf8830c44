//! What says that an agent is to run with other privileges, and proves itself with them.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::files::read_own;
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
        // Root reads it while the agent of a user runs.
        serde_json::from_slice(&read_own(&LevelChange::path(paths)).ok()?).ok()
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
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;
    use crate::paths::Given;

    #[test]
    fn what_a_user_puts_in_the_place_of_it_neither_leads_root_elsewhere_nor_holds_it_up() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::of(&Given { home: Some(root.path().to_owned()), ..Given::default() });
        let change = LevelChange {
            action_id: "a".to_owned(),
            user: "u".to_owned(),
            group: "g".to_owned(),
            given_up: String::new(),
        };
        change.write(&paths).unwrap();
        assert_eq!(LevelChange::read(&paths), Some(change));
        let (path, elsewhere) = (LevelChange::path(&paths), root.path().join("elsewhere"));
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(LevelChange::read(&paths), None);
        std::fs::remove_file(&path).unwrap();
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(LevelChange::read(&paths), None);
    }
}
