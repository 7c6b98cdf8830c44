//! Becoming another version: download, verify, unpack, turn the link, start again; and back, if the new one fails.
//!
//! A package is `fleet-agent-<version>-linux-<architecture>.tar.gz` below a source, with its SHA-512 beside it
//! (`.sha512`) and its signature (`.sig`: Ed25519 over the package, in base64). In it, in one top folder or none, lie
//! `fleet-agent` and `package.version`.
//!
//! Versions lie beside each other in the agent's home. While a new one proves itself, a [`Marker`] says where it came
//! from; whoever finds that it does not, turns the link back: the new version itself, when it cannot check in, or the
//! one before, which the service runs first at each start, when the new one cannot even start.

mod download;
mod marker;
mod package;
mod switch;
mod verify;

use serde_json::{Value, json};

use crate::paths::Paths;
use crate::version;

pub use download::{Source, fetch};
pub use marker::Marker;
pub use package::unpack;
pub use switch::{guard, switch_back, switch_to};
pub use verify::{Keys, Trust};

/// So long a version that was replaced can be gone back to.
const KEPT: i64 = 7 * 24 * 3600;
/// The file in a version's directory that says when it was replaced, in seconds since 1970.
const REPLACED: &str = "replaced-at";

/// Why there is no upgrade.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// A request failed.
    #[error("{url} cannot be downloaded: {problem}")]
    Download {
        /// What.
        url: String,
        /// Why.
        problem: String,
    },
    /// A step with files failed.
    #[error("{what} failed")]
    File {
        /// The step.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The package is not what it should be.
    #[error("the package is not used: {0}")]
    Package(String),
    /// Nobody known has signed it.
    #[error("the package is not believed: {0}")]
    Signature(String),
    /// It was taken back.
    #[error("it was cancelled")]
    Cancelled,
    /// The installation cannot be changed.
    #[error("the installed version cannot be changed")]
    Install(#[source] crate::install::InstallError),
}

impl UpgradeError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, UpgradeError::Download { .. } | UpgradeError::File { .. })
    }

    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> UpgradeError {
        let what = what.into();
        move |source| UpgradeError::File { what, source }
    }
}

/// How far an upgrade has come.
#[derive(Debug)]
pub enum Step {
    /// So many percent are here.
    Downloading {
        /// Of a hundred.
        percent: f64,
        /// Bytes in a second.
        rate: f64,
    },
    /// It is being unpacked.
    Extracting,
    /// It lies in this directory.
    Ready(std::path::PathBuf),
    /// It cannot be done.
    Failed {
        /// The state that it was in.
        at: &'static str,
        /// Why.
        error: UpgradeError,
    },
}

/// Whether the running program lies where it can replace itself.
#[must_use]
pub fn is_possible(paths: &Paths) -> bool {
    let running = std::env::current_exe().and_then(|program| program.canonicalize());
    let versions = paths.versions().canonicalize();
    matches!((running, versions), (Ok(program), Ok(versions)) if program.starts_with(&versions))
}

/// Versions that the agent can go back to at this time: `{version, valid_until}`.
#[must_use]
pub fn rollbacks(paths: &Paths, now: i64) -> Vec<Value> {
    let known = kept(paths).into_iter().filter(|(_, _, until)| *until > now);
    known
        .map(|(number, _, until)| json!({"version": number, "valid_until": crate::clock::text_of(until)}))
        .collect()
}

/// Versions that were replaced: number, directory, and until when they are kept.
fn kept(paths: &Paths) -> Vec<(String, std::path::PathBuf, i64)> {
    let entries = std::fs::read_dir(paths.versions()).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let directory = entry.path();
            let number = version::read(&directory.join(version::FILE))?;
            let replaced: i64 =
                std::fs::read_to_string(directory.join(REPLACED)).ok()?.trim().parse().ok()?;
            Some((number, directory, replaced.saturating_add(KEPT)))
        })
        .collect();
    found.sort();
    found
}

/// The directory of a version that can be gone back to at this time.
#[must_use]
pub fn kept_version(paths: &Paths, number: &str, now: i64) -> Option<std::path::PathBuf> {
    kept(paths)
        .into_iter()
        .find(|(kept, _, until)| kept == number && *until > now)
        .map(|(_, directory, _)| directory)
}

/// Removes versions whose time is over.
pub fn tidy(paths: &Paths, now: i64) {
    for (number, directory, _) in kept(paths).into_iter().filter(|(_, _, until)| *until <= now) {
        match std::fs::remove_dir_all(&directory) {
            Ok(()) => tracing::info!(version = number, "a version that was replaced is removed"),
            Err(error) => {
                tracing::warn!(%error, version = number, "a version that was replaced cannot be removed");
            }
        }
    }
}
