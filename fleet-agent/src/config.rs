//! The configuration file: what people set on one machine, `fleet-agent.yml`.

use std::collections::BTreeMap;
use std::path::Path;

use fleet_service::config::document::{Document, Problems, Sources, read};
use serde_json::{Map, Value};

/// What the file says. Most of what there is to say is said by the policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `agent.logging.level`
    pub log_level: String,
    /// `agent.logging.to_stderr`
    pub to_stderr: bool,
    /// `providers.local.vars`
    pub local: Map<String, Value>,
    /// Keys that mean nothing, to be told.
    pub warnings: Vec<String>,
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
        let bytes = match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => None,
            Err(source) => return Err(ConfigError::Read { path: path.display().to_string(), source }),
        };
        let environment: BTreeMap<String, String> = std::env::vars().collect();
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
        let vars = root.section("providers").section("local").map("vars", read::text);
        let local = vars.into_iter().map(|(name, value)| (name, value.into())).collect();
        if let Err(error) = crate::logs::parse(&log_level) {
            logging.error("level", &error);
        }
        let finished = document.finish();
        let warnings = finished.map_err(|Problems { mistakes, .. }| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            ConfigError::Mistakes(lines.join("\n"))
        })?;
        let warnings = warnings.iter().map(ToString::to_string).collect();
        Ok(Config { log_level, to_stderr, local, warnings })
    }
}
