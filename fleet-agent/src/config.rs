//! The configuration file: what people set on one machine, `fleet-agent.yml`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_service::config::document::{Document, Problems, Section, Sources, read};
use serde_json::{Map, Value};

use crate::upgrade::Keys;

/// No configuration has more bytes: four times what the reader of configurations takes.
pub(crate) const LARGEST: u64 = 16 * 1024 * 1024;

/// It is looked every few seconds whether a certificate is to be renewed.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(12);

/// What the file says. Most of what there is to say is said by the policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `agent.logging.level`
    pub log_level: String,
    /// `agent.logging.to_stderr`
    pub to_stderr: bool,
    /// `agent.upgrade`
    pub upgrade: UpgradePolicy,
    /// `agent.otelcol.path`: where an OpenTelemetry collector is.
    pub otelcol: Option<PathBuf>,
    /// `agent.fleet_server.certificate.lifetime`: how long a certificate holds that is made for the agent's own server.
    pub certificate_lifetime: Option<Duration>,
    /// `providers.local.vars`
    pub local: Map<String, Value>,
    /// Keys that mean nothing, to be told.
    pub warnings: Vec<String>,
}

/// How upgrades are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradePolicy {
    /// `agent.upgrade.keys`: who may have signed a package.
    pub keys: Keys,
    /// `agent.upgrade.watcher.grace_period`: a new version must have checked in within it.
    pub grace: Duration,
}

impl Default for UpgradePolicy {
    fn default() -> UpgradePolicy {
        UpgradePolicy { keys: Keys::default(), grace: Duration::from_secs(600) }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It has mistakes.
    #[error("the configuration has mistakes:\n{0}")]
    Mistakes(String),
}

impl Config {
    /// Reads the file, if it is there, and lays `key=value` of the command line over it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path, overrides: &[String], must_exist: bool) -> Result<Config, ConfigError> {
        let bytes = match read_file(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => None,
            Err(source) => return Err(ConfigError::Read { path: path.display().to_string(), source }),
        };
        let environment = texts(std::env::vars_os());
        let sources = Sources {
            file: bytes.as_deref().map(|bytes| (path, bytes)),
            overrides,
            environment: Some(&environment),
            ..Sources::default()
        };
        let document = Document::open(&sources);
        let root = document.root();
        let logging = root.section("agent").section("logging");
        let log_level = logging.get("level", String::new(), read::text);
        let to_stderr = logging.get("to_stderr", false, read::boolean);
        let upgrade = upgrade_policy(&root);
        let otelcol = root.section("agent").section("otelcol").get("path", String::new(), read::text);
        let otelcol = Some(PathBuf::from(otelcol)).filter(|path| !path.as_os_str().is_empty());
        let certificate_lifetime = certificate_lifetime(&root);
        let vars = root.section("providers").section("local").map("vars", read::text);
        let local = vars.into_iter().map(|(name, value)| (name, value.into())).collect();
        for section in crate::standalone::SECTIONS {
            root.accepted(section);
        }
        // The settings that a policy has, too, for an agent without a fleet.
        for section in ["monitoring", "features", "download", "limits", "id"] {
            root.section("agent").accepted(section);
        }
        if let Err(error) = crate::logs::parse(&log_level) {
            logging.error("level", &error);
        }
        let finished = document.finish();
        let warnings = finished.map_err(|Problems { mistakes, .. }| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            ConfigError::Mistakes(lines.join("\n"))
        })?;
        let warnings = warnings.iter().map(ToString::to_string).collect();
        Ok(Config { log_level, to_stderr, upgrade, otelcol, certificate_lifetime, local, warnings })
    }
}

/// Reads a configuration file, of a little more than it may have at most: enough for others to tell that it is too large.
///
/// # Errors
/// It cannot be read, or is a directory, a pipe or the like: those may never end.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened, for that would wait for whoever writes into a pipe.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What of an environment is text. No setting is anything else, but any program may have put it there.
pub(crate) fn texts(variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn certificate_lifetime(root: &Section<'_>) -> Option<Duration> {
    let section = root.section("agent").section("fleet_server").section("certificate");
    let lifetime = section.get("lifetime", Duration::ZERO, read::duration);
    if lifetime.is_zero() {
        return None;
    }
    if lifetime < SHORTEST_LIFETIME {
        let problem =
            "agent.fleet_server.certificate.lifetime: it must be 12s at least, for it is renewed halfway";
        section.mistake("lifetime", problem.to_owned());
    }
    Some(lifetime)
}

fn upgrade_policy(root: &Section<'_>) -> UpgradePolicy {
    let section = root.section("agent").section("upgrade");
    let usual = UpgradePolicy::default();
    let grace = section.section("watcher").get("grace_period", usual.grace, read::duration);
    let given = section.list("keys", Vec::new(), read::text);
    let keys = Keys::parse(given.iter().map(String::as_str)).unwrap_or_else(|problem| {
        section.mistake("keys", format!("agent.upgrade.keys: {problem}"));
        Keys::default()
    });
    UpgradePolicy { keys, grace }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn variables_that_are_no_text_are_passed_over() {
        let variables = [("A", &b"b"[..]), ("C", b"\xff")];
        let variables = variables.map(|(name, value)| (name.into(), OsString::from_vec(value.to_vec())));
        assert_eq!(texts(variables.into_iter()), BTreeMap::from([("A".to_owned(), "b".to_owned())]));
    }

    fn read(text: &str, overrides: &[String]) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet-agent.yml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path, overrides, true)
    }

    #[test]
    fn what_never_ends_is_no_configuration_file() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let large = directory.path().join("large");
        File::create(&large).unwrap().set_len(1 << 40).unwrap();
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let error = fleet_service::error::chain(&Config::read(path, &[], true).unwrap_err());
            assert!(error.contains("not a regular file"), "{error}");
            assert!(crate::standalone::policy(path, 1).unwrap_err().contains("not a regular file"));
        }
        let error = Config::read(&large, &[], true).unwrap_err().to_string();
        assert!(error.contains("larger than"), "{error}");
        assert!(crate::standalone::policy(&large, 1).unwrap_err().contains("larger than"));
    }

    #[test]
    fn what_people_set_is_read_and_mistakes_are_told() {
        let text = "agent:\n  logging.level: debug\n  upgrade.watcher.grace_period: 3s\n  nonsense: 1\nproviders.local.vars:\n  a: b\n";
        let config = read(text, &["agent.logging.to_stderr=true".to_owned()]).unwrap();
        assert_eq!(config.log_level, "debug");
        assert!(config.to_stderr);
        assert_eq!(config.upgrade.grace, Duration::from_secs(3));
        assert_eq!(config.local["a"], "b");
        assert_eq!(config.warnings.len(), 1);
        for (wrong, key) in [
            ("agent.logging.level: loud", "logging.level"),
            ("agent.upgrade.keys: [x]", "upgrade.keys"),
            ("agent.fleet_server.certificate.lifetime: 5s", "certificate.lifetime"),
        ] {
            let error = read(wrong, &[]).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        assert!(Config::read(Path::new("/no/such/file"), &[], true).is_err());
        assert_eq!(Config::read(Path::new("/no/such/file"), &[], false).unwrap(), Config::default());
    }
}
