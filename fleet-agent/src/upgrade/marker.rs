//! What says that a new version is proving itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::UpgradeError;
use crate::paths::Paths;
use crate::state::{read_kept, replace};

/// So often a new version may be started before it has proven itself.
const MOST_STARTS: u32 = 3;

/// More than any marker has, in bytes.
const LARGEST: u64 = 64 * 1024;

/// A new version is proving itself, or has failed to. It holds nothing secret: versions of any age read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The version that it came from.
    pub from_version: String,
    /// Where that lies.
    pub from: PathBuf,
    /// The version that it went to.
    pub to_version: String,
    /// Where that lies.
    pub to: PathBuf,
    /// The action that asked for it; empty: somebody at the machine did.
    pub action_id: String,
    /// Until when the new one must have checked in, seconds since 1970: for versions before this one, which look after
    /// a new one by the time of day.
    pub deadline: i64,
    /// How often the service started it.
    #[serde(default)]
    pub starts: u32,
    /// Why it was given up; empty: it was not.
    #[serde(default)]
    pub given_up: String,
}

impl Marker {
    fn path(paths: &Paths) -> PathBuf {
        paths.versions().join("upgrade.json")
    }

    /// Reads it. One that cannot be read is none.
    #[must_use]
    pub fn read(paths: &Paths) -> Option<Marker> {
        serde_json::from_slice(&read_kept(&Marker::path(paths), LARGEST).ok()?).ok()
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, paths: &Paths) -> Result<(), UpgradeError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        replace(&Marker::path(paths), &text).map_err(UpgradeError::file("writing the upgrade's marker"))
    }

    /// Removes it: the new version has proven itself, or the old one has said what happened.
    pub fn remove(paths: &Paths) {
        // It may be gone.
        let _ = std::fs::remove_file(Marker::path(paths));
    }

    /// Whether that program is the new version.
    #[must_use]
    pub fn is_new(&self, program: &Path) -> bool {
        let to = self.to.canonicalize();
        to.is_ok_and(|to| program.canonicalize().is_ok_and(|program| program.starts_with(to)))
    }

    /// Why the new version is to be left at its start, if it is.
    #[must_use]
    pub fn ended_too_often(&self) -> Option<String> {
        (self.starts > MOST_STARTS).then(|| {
            format!("version {} ended {MOST_STARTS} times before it had checked in", self.to_version)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_so_many_starts() {
        let marker = Marker {
            from_version: "1".to_owned(),
            from: "/a".into(),
            to_version: "2".to_owned(),
            to: "/b".into(),
            action_id: String::new(),
            deadline: 100,
            starts: 3,
            given_up: String::new(),
        };
        assert_eq!(marker.ended_too_often(), None);
        assert!(Marker { starts: 4, ..marker }.ended_too_often().is_some());
    }
}
