//! Where an agent's files lie.

use std::path::{Path, PathBuf};

/// The configuration file's name.
pub const CONFIG_FILE: &str = "fleet-agent.yml";

/// Paths as they were given; what was not, follows from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--path.home`
    pub home: Option<PathBuf>,
    /// `--path.config`
    pub config: Option<PathBuf>,
    /// `--path.data`
    pub data: Option<PathBuf>,
    /// `--path.logs`
    pub logs: Option<PathBuf>,
    /// `--config`
    pub config_file: Option<PathBuf>,
}

/// Where an agent's files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The programs: versions beside each other, and a link to the one that runs.
    pub home: PathBuf,
    /// The directory of what people write.
    pub config: PathBuf,
    /// The file of what people write.
    pub config_file: PathBuf,
    /// What the agent keeps: mode 0700.
    pub data: PathBuf,
    /// Its logs.
    pub logs: PathBuf,
}

impl Paths {
    /// With a home of its own, all else lies there; otherwise where a system keeps such files.
    #[must_use]
    pub fn of(given: &Given) -> Paths {
        let below = |name: &str| given.home.as_ref().map(|home| home.join(name));
        let pick = |given: &Option<PathBuf>, of_home: Option<PathBuf>, system: &str| {
            let path = given.clone().or(of_home).unwrap_or_else(|| PathBuf::from(system));
            // Inputs and policies are told of them, and know no working directory.
            std::path::absolute(&path).unwrap_or(path)
        };
        let config = pick(&given.config, given.home.clone(), "/etc/fleet-agent");
        Paths {
            home: pick(&given.home, None, "/opt/Fleet/Agent"),
            config_file: given.config_file.as_ref().map_or_else(
                || config.join(CONFIG_FILE),
                |file| if file.is_relative() && !file.exists() { config.join(file) } else { file.clone() },
            ),
            config,
            data: pick(&given.data, below("data"), "/var/lib/fleet-agent"),
            logs: pick(&given.logs, below("logs"), "/var/log/fleet-agent"),
        }
    }

    /// The socket by which the running agent is asked and told.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }

    /// The state that survives a restart.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.data.join("state")
    }

    /// What belongs to the collector: its registry and its queues.
    #[must_use]
    pub fn collector(&self) -> PathBuf {
        self.data.join("collect")
    }

    /// What belongs to supervised components.
    #[must_use]
    pub fn components(&self) -> PathBuf {
        self.data.join("components")
    }

    /// What a Fleet Server of this agent keeps, where it may not use its own directory.
    #[must_use]
    pub fn fleet_server(&self) -> PathBuf {
        self.data.join("fleet-server")
    }

    /// Where downloads for upgrades lie.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.data.join("downloads")
    }

    /// The versions that are installed.
    #[must_use]
    pub fn versions(&self) -> PathBuf {
        self.home.join("versions")
    }

    /// The link to the program that runs.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.home.join("fleet-agent")
    }

    /// All of them by the names that policies use: `path.home` and so on.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [
            ("home", self.home.as_path()),
            ("config", self.config.as_path()),
            ("data", self.data.as_path()),
            ("logs", self.logs.as_path()),
        ]
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_holds_all_that_is_not_given() {
        let home = Given { home: Some("/x".into()), logs: Some("/l".into()), ..Given::default() };
        let paths = Paths::of(&home);
        assert_eq!(paths.data, Path::new("/x/data"));
        assert_eq!(paths.config_file, Path::new("/x/fleet-agent.yml"));
        assert_eq!(paths.logs, Path::new("/l"));
        assert_eq!(Paths::of(&Given::default()).data, Path::new("/var/lib/fleet-agent"));
    }
}
