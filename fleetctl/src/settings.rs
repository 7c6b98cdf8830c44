//! What the flags mean, read once before a command runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::cli::{Environment, Given, GlobalFlags};
use crate::client::TlsFiles;
use crate::output::Console;
use crate::ssh::{Address, Connector, HostKeyChecker, KeySources, KnownHosts, SshError};

/// Default endpoints of the etcd driver: those of fleetd.
const ETCD_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/// The limit of a request to the API, if `--request-timeout` gives no other: a cluster under load may need
/// seconds, and nobody waits longer for one that does not answer.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Through fleetd.
    Api,
    /// Straight in the store.
    Etcd,
}

/// The meaning of the global flags.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) driver: Driver,
    /// The parts of `--endpoint`; at least one.
    pub(crate) endpoints: Vec<String>,
    pub(crate) etcd: EtcdSettings,
    pub(crate) tunnel: Option<Address>,
    pub(crate) tls: TlsFiles,
    /// The limit of a request to the API.
    pub(crate) request_timeout: Duration,
    pub(crate) connector: Connector,
}

/// Settings of the etcd driver.
#[derive(Clone, Debug)]
pub(crate) struct EtcdSettings {
    pub(crate) key_prefix: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) timeout: Duration,
}

/// Flags that contradict each other or make no sense.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    #[error("unrecognized driver {0:?}")]
    Driver(String),
    #[error("--{flag} must be a number of seconds greater than 0, not {value}")]
    Seconds { flag: &'static str, value: f64 },
    #[error("--tunnel")]
    Tunnel {
        #[source]
        source: SshError,
    },
}

impl Settings {
    /// Reads the flags.
    pub(crate) fn read(
        flags: &GlobalFlags,
        given: Given,
        environment: &Environment,
        console: &Arc<Console>,
    ) -> Result<Settings, SettingsError> {
        let driver = driver(flags)?;
        let endpoint =
            if driver == Driver::Etcd && !given.endpoint { ETCD_ENDPOINTS } else { &flags.endpoint };
        let request_timeout = seconds("request-timeout", flags.request_timeout)?;
        let tunnel = Some(flags.tunnel.as_str()).filter(|tunnel| !tunnel.is_empty());
        let tunnel = tunnel.map(|address| Address::parse(address, 22)).transpose();
        Ok(Settings {
            driver,
            endpoints: endpoint.split(',').map(|part| part.trim().to_owned()).collect(),
            etcd: EtcdSettings {
                key_prefix: flags.etcd_key_prefix.clone(),
                username: filled(&flags.etcd_username),
                password: filled(&flags.etcd_password),
                timeout: request_timeout,
            },
            tunnel: tunnel.map_err(|source| SettingsError::Tunnel { source })?,
            tls: TlsFiles {
                ca: filled(&flags.ca_file).map(PathBuf::from),
                certificate: filled(&flags.cert_file).map(PathBuf::from),
                key: filled(&flags.key_file).map(PathBuf::from),
                skip_verify: false,
            },
            request_timeout: if given.request_timeout { request_timeout } else { API_TIMEOUT },
            connector: connector(flags, environment, console)?,
        })
    }
}

fn driver(flags: &GlobalFlags) -> Result<Driver, SettingsError> {
    match flags.driver.as_str() {
        "API" => Ok(Driver::Api),
        "etcd" => Ok(Driver::Etcd),
        // Without a driver the port of the endpoint says which one is meant.
        "" if [":4001", ":2379"]
            .iter()
            .any(|port| flags.endpoint.split(',').any(|url| url.trim_end_matches('/').ends_with(port))) =>
        {
            Ok(Driver::Etcd)
        }
        other => Err(SettingsError::Driver(other.to_owned())),
    }
}

fn connector(
    flags: &GlobalFlags,
    environment: &Environment,
    console: &Arc<Console>,
) -> Result<Connector, SettingsError> {
    let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let known_hosts = KnownHosts::new(expand_home(&flags.known_hosts_file, home.as_deref()));
    let checker = HostKeyChecker::new(known_hosts, Arc::clone(console));
    Ok(Connector {
        user: flags.ssh_username.clone(),
        timeout: seconds("ssh-timeout", flags.ssh_timeout)?,
        checker: flags.strict_host_key_checking.then_some(checker),
        keys: KeySources {
            agent: environment.get("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from),
            directory: home.map(|home| home.join(".ssh")),
        },
    })
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn seconds(flag: &'static str, value: f64) -> Result<Duration, SettingsError> {
    let wrong = SettingsError::Seconds { flag, value };
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong),
    }
}

/// `~` and `~/…` as the user's home, `~name/…` as that user's.
fn expand_home(path: &str, home: Option<&Path>) -> PathBuf {
    let Some(rest) = path.strip_prefix('~') else { return PathBuf::from(path) };
    let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let home = if user.is_empty() { home.map(Path::to_owned) } else { home_of(user) };
    match home {
        Some(home) => home.join(rest),
        None => PathBuf::from(path),
    }
}

/// The home of a user of this machine, from the sixth field of its line (passwd(5)).
fn home_of(user: &str) -> Option<PathBuf> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes() {
        let home = Some(Path::new("/home/me"));
        assert_eq!(expand_home("~/.fleetctl/known_hosts", home), Path::new("/home/me/.fleetctl/known_hosts"));
        assert_eq!(expand_home("~", home), Path::new("/home/me/"));
        assert_eq!(expand_home("~root/x", home), Path::new("/root/x"));
        assert_eq!(expand_home("/a/~b", home), Path::new("/a/~b"));
        assert_eq!(expand_home("~/x", None), Path::new("~/x"));
    }

    #[test]
    fn limits_are_positive_numbers() {
        assert_eq!(seconds("ssh-timeout", 2.5).unwrap(), Duration::from_millis(2500));
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(seconds("ssh-timeout", value).is_err(), "{value}");
        }
    }
}
