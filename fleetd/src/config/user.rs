//! Directories of the user whose systemd is used.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Options;

/// The variable that names the directory.
const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";
/// Where systemd makes each user such a directory, named by the user's number (`pam_systemd(8)`).
pub(super) const RUNTIME_DIRECTORIES: &str = "/run/user";

/// With the user's systemd, what would lie in a directory of the system's lies in one of the user's, unless
/// the configuration says where (XDG Base Directory Specification, 0.8). `shared` holds a directory for each
/// user, for an environment that names none.
///
/// # Errors
/// There is no such directory: the token and the records of two users must not lie in one place.
pub(super) fn use_directories(
    options: &mut Options,
    environment: &BTreeMap<String, String>,
    shared: &Path,
) -> Result<(), String> {
    let directory = |variable: &str| {
        environment.get(variable).map(PathBuf::from).filter(|directory| directory.is_absolute())
    };
    let runtime = match directory(RUNTIME_VARIABLE) {
        Some(runtime) => runtime,
        None => of_this_user(shared)?,
    };
    let defaults = Options::default();
    if options.units_directory == defaults.units_directory {
        options.units_directory = runtime.join("fleet/units");
    }
    options.runtime_directory = runtime.join("fleet");
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    if options.store_path == defaults.store_path
        && let Some(state) = state
    {
        options.store_path = state.join("fleet");
    }
    Ok(())
}

fn of_this_user(shared: &Path) -> Result<PathBuf, String> {
    // The owner of a process's directory is the user that it runs as.
    let user = fs::metadata("/proc/self").map(|process| process.uid());
    let found = user.ok().map(|user| shared.join(user.to_string()));
    found.filter(|directory| directory.is_dir()).ok_or_else(|| {
        format!(
            "the user's systemd needs {RUNTIME_VARIABLE} in the environment, the absolute path of the user's \
             runtime directory, and there is none in {}: log in by a session of systemd's, or \
             `loginctl enable-linger`",
            shared.display()
        )
    })
}
