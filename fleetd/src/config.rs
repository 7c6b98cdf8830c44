//! The options of fleetd: `/etc/fleet/fleet.conf` under the environment (`FLEET_*`).
//!
//! Keys, defaults and forms are those of coreos/fleet 1.0.0. What it ignored in silence, a value that does not
//! parse, keeps fleetd from starting, and all mistakes are told at once.

mod etcd;
mod user;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_service::config::value::Expected;
use fleet_service::config::{Mistake, Secret, Settings, Warning, value};
use fleet_service::listen::Address;

/// The file that is read if no other one is given; it need not be there.
pub const DEFAULT_FILE: &str = "/etc/fleet/fleet.conf";

/// What the names of environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "FLEET_";

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What keeps the state of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// An etcd cluster.
    Etcd,
    /// A database in this process: a cluster of one machine.
    Embedded,
}

/// All options. Each field has the name of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Above 0: log what a developer wants to know.
    pub verbosity: i64,
    /// What keeps the state of the cluster. New in 2.0.
    pub store: StoreKind,
    /// The directory of the embedded store. New in 2.0.
    pub store_path: PathBuf,
    /// URLs of etcd's members.
    pub etcd_servers: Vec<String>,
    /// The user to log in to etcd as; empty for none.
    pub etcd_username: String,
    /// That user's password.
    pub etcd_password: Secret,
    /// The private key of the client certificate.
    pub etcd_keyfile: Option<PathBuf>,
    /// The client certificate.
    pub etcd_certfile: Option<PathBuf>,
    /// The authority that has signed etcd's certificate; the system's authorities if there is none.
    pub etcd_cafile: Option<PathBuf>,
    /// What etcd's keys begin with; it begins and ends with `/`.
    pub etcd_key_prefix: String,
    /// How long to wait for an answer of etcd.
    pub etcd_request_timeout: Duration,
    /// Whether the leader removes etcd's history. New in 2.0.
    pub etcd_compaction: bool,
    /// The time from one full pass of the engine to the next.
    pub engine_reconcile_interval: Duration,
    /// The address that other machines are told; `None`: that of the default route's interface.
    pub public_ip: Option<IpAddr>,
    /// What units can ask for with `MachineMetadata`.
    pub metadata: BTreeMap<String, String>,
    /// After this time without a sign of life a machine is taken for lost.
    pub agent_ttl: Duration,
    /// Entries of a page of the API's lists.
    pub token_limit: u16,
    /// Never lead.
    pub disable_engine: bool,
    /// Do not follow the store's changes; look at it every `engine_reconcile_interval` instead.
    pub disable_watches: bool,
    /// Where unit files are written.
    pub units_directory: PathBuf,
    /// Where what must not outlive this boot is kept; follows from the others, and is no option of its own.
    pub runtime_directory: PathBuf,
    /// Use the systemd of the user instead of the system's.
    pub systemd_user: bool,
    /// Addresses of the API, beside the sockets that systemd passes. New in 2.0.
    pub listen: Vec<Address>,
    /// Whether units end with fleetd when its service is stopped (never when it is restarted). New in 2.0.
    pub stop_units_on_shutdown: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            verbosity: 0,
            store: StoreKind::Etcd,
            store_path: PathBuf::from("/var/lib/fleet"),
            etcd_servers: vec!["http://127.0.0.1:2379".to_owned(), "http://127.0.0.1:4001".to_owned()],
            etcd_username: String::new(),
            etcd_password: Secret::default(),
            etcd_keyfile: None,
            etcd_certfile: None,
            etcd_cafile: None,
            etcd_key_prefix: "/_coreos.com/fleet/".to_owned(),
            etcd_request_timeout: SECOND,
            etcd_compaction: true,
            engine_reconcile_interval: 2 * SECOND,
            public_ip: None,
            metadata: BTreeMap::new(),
            agent_ttl: 30 * SECOND,
            token_limit: 100,
            disable_engine: false,
            disable_watches: false,
            units_directory: PathBuf::from("/run/fleet/units/"),
            runtime_directory: PathBuf::from("/run/fleet"),
            systemd_user: false,
            listen: Vec::new(),
            stop_units_on_shutdown: true,
        }
    }
}

/// Reads the options from the path and text of a file, and from environment variables.
///
/// # Errors
/// All that is wrong.
pub fn load(
    file: Option<(&Path, &str)>,
    environment: &BTreeMap<String, String>,
) -> Result<(Options, Vec<Warning>), Vec<Mistake>> {
    let mut settings = Settings::open(ENVIRONMENT_PREFIX, file, environment);
    let mut options = Options::default();
    let stores = [("etcd", StoreKind::Etcd), ("embedded", StoreKind::Embedded)];
    take(&mut settings, "verbosity", &mut options.verbosity, value::integer(0..=100));
    take(&mut settings, "store", &mut options.store, value::one_of(&stores));
    take(&mut settings, "store_path", &mut options.store_path, value::absolute_path);
    etcd::read(&mut settings, &mut options);
    let interval = value::seconds(10 * MILLISECOND..=DAY);
    take(&mut settings, "engine_reconcile_interval", &mut options.engine_reconcile_interval, interval);
    take(&mut settings, "public_ip", &mut options.public_ip, ip_address);
    take_metadata(&mut settings, &mut options.metadata);
    take(&mut settings, "agent_ttl", &mut options.agent_ttl, value::duration(SECOND..=DAY));
    take(&mut settings, "token_limit", &mut options.token_limit, page_size);
    take(&mut settings, "disable_engine", &mut options.disable_engine, value::boolean);
    take(&mut settings, "disable_watches", &mut options.disable_watches, value::boolean);
    take(&mut settings, "units_directory", &mut options.units_directory, value::absolute_path);
    take(&mut settings, "systemd_user", &mut options.systemd_user, value::boolean);
    take(&mut settings, "listen", &mut options.listen, addresses);
    take(&mut settings, "stop_units_on_shutdown", &mut options.stop_units_on_shutdown, value::boolean);
    settings.deprecated("enable_grpc", "machines meet in the store alone");
    settings.deprecated("verify_units", "units are not signed");
    settings.deprecated("authorized_keys_file", "units are not signed");
    if options.systemd_user
        && let Err(mistake) =
            user::use_directories(&mut options, environment, user::RUNTIME_DIRECTORIES.as_ref())
    {
        settings.mistake("systemd_user", mistake);
    }
    settings.finish().map(|warnings| (options, warnings))
}

/// Sets an option, if it is given and right.
fn take<T>(
    settings: &mut Settings,
    key: &'static str,
    option: &mut T,
    parse: impl FnOnce(&str) -> Result<T, Expected>,
) {
    if let Some(value) = settings.get(key, None, |text| parse(text).map(Some)) {
        *option = value;
    }
}

fn take_metadata(settings: &mut Settings, option: &mut BTreeMap<String, String>) {
    let (pairs, dropped) = settings.get("metadata", Default::default(), |text| Ok(value::metadata(text)));
    *option = pairs;
    for item in dropped {
        settings
            .warning("metadata", format!("metadata {item:?} is ignored: it is not of the form key=value"));
    }
}

fn ip_address(text: &str) -> Result<Option<IpAddr>, Expected> {
    text.trim().parse().map(Some).map_err(|_| Expected::new("an IP address"))
}

fn page_size(text: &str) -> Result<u16, Expected> {
    let most = i64::from(u16::MAX);
    let size = value::integer(1..=most)(text)?;
    u16::try_from(size).map_err(|_| Expected(format!("at most {most}")))
}

fn addresses(text: &str) -> Result<Vec<Address>, Expected> {
    let parse = |item: String| {
        let expected = || Expected(format!("a list of unix:/path and host:port ({item:?} is neither)"));
        item.parse().map_err(|_| expected())
    };
    value::list(text)?.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests;
