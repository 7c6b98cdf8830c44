//! The configuration of the server: `fleet-server.yml`, `-E key=value`, and a few environment variables.
//!
//! [`load`] reads everything, tells all mistakes at once, and answers a [`Config`] in which each default is
//! filled in. Keys, defaults and bounds are those of Fleet Server 9.6, so that its files work unchanged, and
//! some of our own (`store`, `data_dir`, `management` …). `docs/fleet-server/configuration.md` lists all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_service::config::Warning;
use fleet_service::config::document::{Document, Problems, Section, Sources, read};
use fleet_service::config::value::{Expected, Secret};

pub mod cache;
mod general;
pub mod input;
pub mod instrumentation;
pub mod limits;
pub mod logging;
pub mod management;
pub mod output;
pub mod registry;
pub mod server;
mod source;
pub mod statistics;
pub mod store;
pub mod tls;

pub use general::{DEFAULT_DATA_DIR, DEFAULT_VERSION, Fleet};
pub use source::Source;

/// The file that is read when none is named, from the working directory.
pub const DEFAULT_FILE: &str = "fleet-server.yml";

/// Environment variables that set a key. An override on the command line goes before them.
const VARIABLES: [(&str, &str); 2] =
    [("FLEET_DATA_DIR", "data_dir"), ("FLEET_ADMIN_PASSWORD_FILE", "admin_password_file")];

/// Everything that can be configured, with its defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The version that the server says it is.
    pub version: String,
    /// Where the server keeps what it makes: the authority's certificate (`ca.pem`), the embedded store.
    pub data_dir: PathBuf,
    /// The file of the key that encrypts secrets at rest. It may not be there yet.
    pub master_key_file: PathBuf,
    /// The password that the first administrator gets, instead of a random one.
    pub admin_password: Option<Secret>,
    /// Names and addresses for the certificate that the server makes itself, beside those it finds out.
    pub tls_names: Vec<String>,
    /// Where documents are kept.
    pub store: store::Store,
    /// The management API and the console.
    pub management: management::Management,
    /// The agent and the host that the server runs under.
    pub fleet: Fleet,
    /// Where packages are that nobody has uploaded.
    pub registry: Option<registry::Registry>,
    /// How Elasticsearch would be reached, if the file says so. Nothing reads it yet but the check.
    pub output: Option<output::Elasticsearch>,
    /// The policy that the server's own agent has (`inputs.0.policy.id`); empty: the default one.
    pub policy_id: String,
    /// The API of the agents.
    pub server: server::Server,
    /// What is kept in memory, and for how long.
    pub cache: cache::Cache,
    /// How an index would be followed.
    pub monitor: cache::Monitor,
    /// The log.
    pub logging: logging::Logging,
    /// The statistics endpoint (`http`).
    pub statistics: statistics::Statistics,
}

/// What a configuration is read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// The file's path and content.
    pub file: Option<(&'a Path, &'a [u8])>,
    /// `-E key=value`, the last one wins.
    pub overrides: &'a [String],
    /// The environment's variables.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// The memory that the process may use, in bytes, as [`limits::memory`] finds it. It decides the default
    /// limits.
    pub memory: u64,
}

/// Reads a configuration.
///
/// # Errors
/// All mistakes in it, and the warnings.
pub fn load(input: &Input<'_>) -> Result<(Config, Vec<Warning>), Problems> {
    let (config, document) = read_document(input);
    document.finish().map(|warnings| (config, warnings))
}

/// The keys that a configuration is asked for, for whoever lists them.
#[must_use]
pub fn known_keys(input: &Input<'_>) -> Vec<String> {
    read_document(input).1.known_keys()
}

fn read_document(input: &Input<'_>) -> (Config, Document) {
    let document = Document::open(&Sources {
        file: input.file,
        variables: &VARIABLES,
        overrides: input.overrides,
        environment: input.environment,
        // As in the original: an override below `inputs` drops what the file has there.
        replaced: &["inputs"],
        shorthands: &[("store", "type")],
    });
    let nothing = BTreeMap::new();
    let environment = input.environment.unwrap_or(&nothing);
    let config = read_config(&document.root(), environment, input.memory);
    (config, document)
}

fn read_config(root: &Section<'_>, environment: &BTreeMap<String, String>, memory: u64) -> Config {
    let general = general::read(root, environment);
    let input = input::read(root, memory);
    let output = output::read(root);
    let store = store::read(root, &general.data_dir, output.is_some());
    let management = management::read(root);
    let (agents, people) = (input.server.port, management.port);
    if agents == people && agents != 0 {
        let text = format!("management.port is {people}, which inputs.0.server.port is as well: change one");
        root.mistake("management.port", text);
    }
    Config {
        version: general.version,
        master_key_file: general.master_key_file,
        admin_password: general.admin_password,
        tls_names: general.tls_names,
        fleet: general.fleet,
        data_dir: general.data_dir,
        store,
        management,
        registry: registry::read(root),
        output,
        policy_id: input.policy_id,
        server: input.server,
        cache: input.cache,
        monitor: input.monitor,
        logging: logging::read(root),
        statistics: statistics::read(root),
    }
}

/// A TCP port; 0 means any that is free.
fn port(section: &Section<'_>, key: &str, default: u16) -> u16 {
    section.get(key, default, read::integer(0..=u16::MAX))
}

/// A span of time that the original takes as its default when it is 0.
fn duration_or(section: &Section<'_>, key: &str, default: std::time::Duration) -> std::time::Duration {
    let duration = duration(section, key, default);
    if duration.is_zero() { default } else { duration }
}

/// A span of time. A negative one is taken as 0, and told.
fn duration(section: &Section<'_>, key: &str, default: std::time::Duration) -> std::time::Duration {
    let negative = std::cell::Cell::new(false);
    let value = section.get(key, default, |scalar| {
        negative.set(scalar.text().trim_start().starts_with('-'));
        read::duration(scalar)
    });
    if negative.get() && value.is_zero() {
        section.warning(key, format!("{} is negative, which counts as 0", section.full_key(key)));
    }
    value
}

/// A host to bind or to reach, without brackets.
fn host(scalar: &fleet_service::config::document::Scalar) -> Result<String, Expected> {
    let text = scalar.text().trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let is_address = inner.parse::<std::net::IpAddr>().is_ok();
    if inner.is_empty() || (!is_address && inner.contains([':', '/', ' ', '[', ']'])) {
        return Err(Expected::new("a host name or an IP address, without a port"));
    }
    Ok(inner.to_owned())
}
