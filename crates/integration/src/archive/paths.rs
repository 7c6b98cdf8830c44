//! Paths as archives spell them.

use super::ArchiveError;

/// The longest path, in bytes: what file systems take.
const LONGEST_PATH: usize = 1024;

/// Divides an entry's path into the top folder and what is below it, which is empty for the folder itself.
pub(super) fn split(path: &str) -> Result<(&str, String), ArchiveError> {
    let bad = |problem| ArchiveError::BadPath { path: path.chars().take(200).collect(), problem };
    if path.len() > LONGEST_PATH {
        return Err(bad("the path is too long"));
    }
    if path.starts_with('/') {
        return Err(bad("the path is absolute: paths begin with <name>-<version>/"));
    }
    if path.chars().any(|letter| letter == '\\' || letter.is_control()) {
        return Err(bad("the path has a backslash or a control character in it"));
    }
    let mut parts = path.trim_end_matches('/').split('/').filter(|part| *part != ".");
    let top = parts.next().unwrap_or_default();
    if top.is_empty() || top.contains(':') {
        return Err(bad("the path has no folder at its beginning"));
    }
    let below: Vec<&str> = parts.collect();
    if top == ".." || below.contains(&"..") {
        return Err(bad("the path leads out of the package (..)"));
    }
    if below.contains(&"") {
        return Err(bad("the path has an empty part (//)"));
    }
    Ok((top, below.join("/")))
}

/// What only the authors of a package need.
pub(super) fn is_for_developers(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "_dev" | ".git" | ".DS_Store" | "__MACOSX"))
}
