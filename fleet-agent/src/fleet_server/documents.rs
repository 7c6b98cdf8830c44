//! Where a server of this agent keeps its documents: they must outlive its process, its input and its agent's upgrades.

use std::path::{Path, PathBuf};

use crate::paths::Paths;

/// The variable that says it to a server.
pub const VARIABLE: &str = "FLEET_DATA_DIR";
/// Where a server that runs as root keeps them without another word.
pub const OF_ROOT: &str = "/var/lib/fleet-server";

/// What a server of this agent is told; `None`: nothing, for the environment says it, or it may use its own place.
#[must_use]
pub fn directory(paths: &Paths) -> Option<PathBuf> {
    let is_said = std::env::var_os(VARIABLE).is_some_and(|said| !said.is_empty());
    told(&paths.fleet_server(), is_said, rustix::process::geteuid().is_root())
}

/// An agent that became root's has them where they were before.
fn told(own: &Path, is_said: bool, is_root: bool) -> Option<PathBuf> {
    (!is_said && (!is_root || own.exists())).then(|| own.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lie_where_the_agent_may_keep_them_and_stay_there() {
        let data = tempfile::tempdir().unwrap();
        let own = data.path().join("fleet-server");
        assert_eq!(told(&own, false, false), Some(own.clone()));
        assert_eq!(told(&own, false, true), None);
        assert_eq!(told(&own, true, false), None);
        std::fs::create_dir(&own).unwrap();
        assert_eq!(told(&own, false, true), Some(own));
    }
}
