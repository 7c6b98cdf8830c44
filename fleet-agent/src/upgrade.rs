//! Becoming another version.

use serde_json::Value;

use crate::paths::Paths;

/// How far an upgrade has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It cannot be done.
    Failed(String),
}

/// Whether this program lies where it can replace itself.
#[must_use]
pub fn is_possible(paths: &Paths) -> bool {
    let running = std::env::current_exe().and_then(|program| program.canonicalize());
    running.is_ok_and(|program| program.starts_with(paths.versions()))
}

/// Versions that are still here: `{version, valid_until}`.
#[must_use]
pub fn rollbacks(_paths: &Paths) -> Vec<Value> {
    Vec::new()
}
