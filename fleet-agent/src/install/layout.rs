//! Where an installed agent lies.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::InstallError;
use super::files::read_own;
use crate::paths::{Given, Paths};

/// The name of the service, and the beginning of that of one of several.
const NAME: &str = "fleet-agent";

/// The name of its home, and the beginning of that of one of several.
const HOME: &str = "Agent";

/// What the homes of the agents of a machine lie in.
pub const FOLDER: &str = "Fleet";

/// Where everything of one installed agent lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The name of the service.
    pub service: String,
    /// Where its files lie.
    pub paths: Paths,
    /// The unit file.
    pub unit: PathBuf,
    /// The link by which people call it.
    pub command: PathBuf,
}

/// What an installation was made with; kept in its home, for upgrades and the way back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The name of the service.
    pub service: String,
    /// The user that it runs as; empty: root.
    pub user: String,
    /// Its group.
    pub group: String,
    /// Whether the user was made for it.
    pub made_user: bool,
    /// Whether the group was.
    #[serde(default)]
    pub made_group: bool,
}

impl Record {
    /// The file in the home.
    pub const FILE: &'static str = "install.json";

    /// Whether the service runs as a user of its own.
    #[must_use]
    pub fn is_unprivileged(&self) -> bool {
        !self.user.is_empty()
    }

    /// The same, without the user and the group that another record has, too: they are not to be removed with it.
    #[must_use]
    pub fn without(&self, other: &Record) -> Record {
        Record {
            made_user: self.made_user && self.user != other.user,
            made_group: self.made_group && self.group != other.group,
            ..self.clone()
        }
    }

    /// Reads it; `None`: nothing is installed there.
    #[must_use]
    pub fn read(home: &Path) -> Option<Record> {
        serde_json::from_slice(&read_own(&home.join(Record::FILE)).ok()?).ok()
    }
}

impl Layout {
    /// Below `base`, as one of several agents of the machine if it has a namespace.
    ///
    /// # Errors
    /// The base is not absolute, or the namespace no name.
    pub fn new(base: &Path, namespace: Option<&str>) -> Result<Layout, InstallError> {
        if !base.is_absolute() {
            let given = base.display().to_string();
            return Err(InstallError::Field {
                field: "--base-path",
                given,
                problem: "it must be an absolute path",
            });
        }
        let suffix = match namespace.filter(|name| !name.is_empty()) {
            None => String::new(),
            Some(name)
                if name.len() <= 32
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                format!("-{}", name.to_ascii_lowercase())
            }
            Some(name) => {
                let problem = "it must be 1 to 32 letters, digits and hyphens";
                return Err(InstallError::Field { field: "--namespace", given: name.to_owned(), problem });
            }
        };
        let home = base.join(FOLDER).join(format!("{HOME}{suffix}"));
        Ok(Layout::of(home, format!("{NAME}{suffix}")))
    }

    /// That of the agent which is installed in a home. `None`: none is.
    #[must_use]
    pub fn installed(home: &Path) -> Option<(Layout, Record)> {
        let record = Record::read(home)?;
        // The record is the agent's user's, who must not lead root elsewhere, nor to another agent of the machine.
        let suffix = home.file_name()?.to_str()?.strip_prefix(HOME)?;
        let is_name = suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_own = is_name && record.service.strip_prefix(NAME) == Some(suffix);
        is_own.then(|| (Layout::of(home.to_owned(), record.service.clone()), record))
    }

    /// The unit in which an agent's user is changed as its fleet asks for.
    #[must_use]
    pub fn changing_unit(&self) -> String {
        format!("{}-privileges", self.service)
    }

    /// That of the running program, if it lies in the home of an installed agent.
    #[must_use]
    pub fn of_program() -> Option<Layout> {
        let program = std::env::current_exe().ok()?.canonicalize().ok()?;
        // home/versions/9.6.0/fleet-agent
        Layout::installed(program.ancestors().nth(3)?).map(|(layout, _)| layout)
    }

    fn of(home: PathBuf, service: String) -> Layout {
        let system = |folder: &str| Some(Path::new(folder).join(&service));
        let paths = Paths::of(&Given {
            home: Some(home),
            config: system("/etc"),
            data: system("/var/lib"),
            logs: system("/var/log"),
            config_file: None,
        });
        Layout {
            unit: Path::new("/etc/systemd/system").join(format!("{service}.service")),
            command: Path::new("/usr/bin").join(&service),
            service,
            paths,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn what_the_next_record_has_too_is_not_removed_with_the_one_before() {
        let record = |user: &str, group: &str| Record {
            user: user.to_owned(),
            group: group.to_owned(),
            made_user: true,
            made_group: true,
            ..Record::default()
        };
        let removed = |next: &Record| {
            let leaving = record("a", "g").without(next);
            (leaving.made_user, leaving.made_group)
        };
        assert_eq!(removed(&record("b", "h")), (true, true));
        assert_eq!(removed(&record("b", "g")), (true, false));
        assert_eq!(removed(&record("a", "h")), (false, true));
        assert_eq!(removed(&Record::default()), (true, true), "root's");
    }

    #[test]
    fn several_agents_lie_apart() {
        let one = Layout::new(Path::new("/opt"), None).unwrap();
        let two = Layout::new(Path::new("/opt"), Some("Dev")).unwrap();
        assert_eq!(one.paths.home, Path::new("/opt/Fleet/Agent"));
        assert_eq!(one.paths.data, Path::new("/var/lib/fleet-agent"));
        assert_eq!(two.unit, Path::new("/etc/systemd/system/fleet-agent-dev.service"));
        assert_ne!(one.paths.data, two.paths.data);
        assert!(Layout::new(Path::new("opt"), None).is_err());
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("Agent-dev");
        std::fs::create_dir(&home).unwrap();
        let install = |service: &str| {
            let record = Record { service: service.to_owned(), ..Record::default() };
            std::fs::write(home.join(Record::FILE), serde_json::to_vec(&record).unwrap()).unwrap();
            Layout::installed(&home).map(|(layout, _)| layout)
        };
        assert_eq!(install("fleet-agent-dev").unwrap().unit, two.unit);
        for hostile in ["sshd", "fleet-agent", "fleet-agent-other", "fleet-agent/../../x", ""] {
            assert_eq!(install(hostile), None);
        }
        assert!(Layout::new(Path::new("/opt"), Some("../x")).is_err());
    }

    #[test]
    fn a_record_that_is_no_file_of_its_own_is_none() {
        let home = tempfile::tempdir().unwrap();
        let (record, elsewhere) = (home.path().join(Record::FILE), home.path().join("elsewhere"));
        std::fs::write(&elsewhere, serde_json::to_vec(&Record::default()).unwrap()).unwrap();
        std::fs::copy(&elsewhere, &record).unwrap();
        assert!(Record::read(home.path()).is_some());
        std::fs::remove_file(&record).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &record).unwrap();
        assert_eq!(Record::read(home.path()), None);
        std::fs::remove_file(&record).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &record, Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(Record::read(home.path()), None);
    }
}
