//! Turning the link to another version, and back.

use std::path::Path;

use super::marker::Marker;
use super::{REPLACED, UpgradeError};
use crate::install::turn_link;
use crate::paths::Paths;

/// The link to the version before, which looks after the new one.
fn previous(paths: &Paths) -> std::path::PathBuf {
    paths.home.join("previous")
}

/// Takes up a version, at this time. The marker is there before the link is turned: whatever happens in between, somebody knows.
///
/// # Errors
/// Something cannot be written; the version that runs stays.
pub fn switch_to(paths: &Paths, marker: &Marker, now: i64) -> Result<(), UpgradeError> {
    let replaced = marker.from.join(REPLACED);
    std::fs::write(&replaced, now.to_string()).map_err(UpgradeError::file("writing when it was replaced"))?;
    // A version that is gone back to is replaced no more.
    let _ = std::fs::remove_file(marker.to.join(REPLACED));
    marker.write(paths)?;
    turn_link(&previous(paths), &marker.from.join("fleet-agent")).map_err(UpgradeError::Install)?;
    turn_link(&paths.program(), &marker.to.join("fleet-agent")).map_err(UpgradeError::Install)
}

/// Goes back to the version before.
///
/// # Errors
/// Something cannot be written.
pub fn switch_back(paths: &Paths, mut marker: Marker, reason: String) -> Result<(), UpgradeError> {
    marker.given_up = reason;
    marker.write(paths)?;
    let _ = std::fs::remove_file(marker.from.join(REPLACED));
    turn_link(&paths.program(), &marker.from.join("fleet-agent")).map_err(UpgradeError::Install)
}

/// What the version before does each time that the service starts: it counts, and goes back when it is enough. Returns
/// the reason, if it went back.
///
/// # Errors
/// Something cannot be written.
pub fn guard(paths: &Paths) -> Result<Option<String>, UpgradeError> {
    let Some(mut marker) = Marker::read(paths).filter(|marker| marker.given_up.is_empty()) else {
        return Ok(None);
    };
    if !is_current(paths, &marker.to) {
        return Ok(None);
    }
    marker.starts = marker.starts.saturating_add(1);
    match marker.ended_too_often() {
        None => marker.write(paths).map(|()| None),
        Some(reason) => switch_back(paths, marker, reason.clone()).map(|()| Some(reason)),
    }
}

fn is_current(paths: &Paths, directory: &Path) -> bool {
    marker_points(&paths.program(), directory)
}

fn marker_points(link: &Path, directory: &Path) -> bool {
    std::fs::read_link(link).is_ok_and(|target| target.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::add_version;
    use crate::paths::Given;

    #[test]
    fn a_version_that_keeps_ending_is_left() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::of(&Given { home: Some(home.path().to_owned()), ..Given::default() });
        let program = home.path().join("p");
        std::fs::write(&program, "p").unwrap();
        let from = add_version(&paths, &program, "1.0.0").unwrap();
        let to = add_version(&paths, &program, "2.0.0").unwrap();
        turn_link(&paths.program(), &from.join("fleet-agent")).unwrap();
        assert_eq!(guard(&paths).unwrap(), None);
        let marker = Marker {
            from_version: "1.0.0".to_owned(),
            from: from.clone(),
            to_version: "2.0.0".to_owned(),
            to: to.clone(),
            action_id: "a".to_owned(),
            deadline: 1000,
            starts: 0,
            given_up: String::new(),
        };
        switch_to(&paths, &marker, 1000).unwrap();
        assert!(is_current(&paths, &to));
        let kept: Vec<_> = super::super::rollbacks(&paths, 1000);
        assert_eq!(kept[0]["version"], "1.0.0");
        for _ in 0..3 {
            assert_eq!(guard(&paths).unwrap(), None);
        }
        assert!(guard(&paths).unwrap().unwrap().contains("2.0.0"));
        assert!(is_current(&paths, &from));
        assert!(Marker::read(&paths).unwrap().given_up.contains("3 times"));
        assert_eq!(guard(&paths).unwrap(), None);
        assert!(super::super::rollbacks(&paths, 1000).is_empty());
    }
}
