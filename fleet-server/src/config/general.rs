//! The keys that stand in no section, and `fleet`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_service::config::document::{Scalar, Section, read};
use fleet_service::config::value::{Expected, Secret};

use super::logging;

/// The version that the server says it is: agents look at it, and refuse what is older than they are.
pub const DEFAULT_VERSION: &str = "9.6.0";

/// Where the server keeps what it makes.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/fleet-server";

/// The name of the master key among a service's credentials (`LoadCredential=master-key:…`).
const MASTER_KEY_CREDENTIAL: &str = "master-key";

/// Which agent and host the server runs under. Standalone, the original makes an id of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// `fleet.agent.id`
    pub agent_id: String,
    /// `fleet.agent.version`
    pub agent_version: String,
    /// `fleet.host.id`
    pub host_id: String,
    /// `fleet.host.name`
    pub host_name: String,
}

pub(super) struct General {
    pub(super) version: String,
    pub(super) data_dir: PathBuf,
    pub(super) master_key_file: PathBuf,
    pub(super) admin_password: Option<Secret>,
    pub(super) tls_names: Vec<String>,
    pub(super) fleet: Fleet,
}

pub(super) fn read(root: &Section<'_>, environment: &BTreeMap<String, String>) -> General {
    let data_dir = root.get("data_dir", PathBuf::from(DEFAULT_DATA_DIR), read::path);
    let master_key_file = root.optional("master_key_file", read::path);
    let admin_password = root
        .optional("admin_password_file", read::path)
        .and_then(|path| root.secret_file("admin_password_file", &path));
    General {
        version: root.get("version", DEFAULT_VERSION.to_owned(), version),
        master_key_file: master_key_file.unwrap_or_else(|| default_master_key(&data_dir, environment)),
        admin_password,
        tls_names: root.list("tls_names", Vec::new(), super::host),
        fleet: fleet(root),
        data_dir,
    }
}

fn default_master_key(data_dir: &Path, environment: &BTreeMap<String, String>) -> PathBuf {
    let credential = environment
        .get("CREDENTIALS_DIRECTORY")
        .filter(|directory| !directory.is_empty())
        .map(|directory| Path::new(directory).join(MASTER_KEY_CREDENTIAL))
        .filter(|path| path.is_file());
    credential.unwrap_or_else(|| data_dir.join("master.key"))
}

fn fleet(root: &Section<'_>) -> Fleet {
    let text = |key: &str| root.get(key, String::new(), read::text);
    let fleet = Fleet {
        agent_id: text("fleet.agent.id"),
        agent_version: text("fleet.agent.version"),
        host_id: text("fleet.host.id"),
        host_name: text("fleet.host.name"),
    };
    if root.optional("fleet.agent.logging.level", read::one_of(&logging::LEVELS)).is_some() {
        let text = "fleet.agent.logging.level has no effect: set logging.level";
        root.warning("fleet.agent.logging.level", text);
    }
    fleet
}

/// `major.minor.patch`, perhaps with something behind it.
fn version(scalar: &Scalar) -> Result<String, Expected> {
    let text = scalar.text().trim();
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    if parts.len() != 3 || parts.iter().any(|part| part.parse::<u32>().is_err()) {
        return Err(Expected::new("a version of three numbers, such as 9.6.0"));
    }
    Ok(text.to_owned())
}
